/**
 * Ops by value: that each hands its operands, sizes and options to the kernels as its comment says.
 * The kernels' own arithmetic is tested in ../kernels_*_test.ts; here values are small and worked out by hand or written
 * out as loops.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  add,
  argmax,
  argmin,
  attention,
  avgPool2d,
  blockCausalVisible,
  broadcastTo,
  cast,
  causalVisible,
  clamp,
  concat,
  conv2d,
  type Device,
  disposeAll,
  embedding,
  equal,
  fromArray,
  groupNorm,
  KeyValueCache,
  l2Normalize,
  layerNorm,
  less,
  linear,
  logSoftmax,
  logSoftmaxGather,
  matmul,
  max,
  mean,
  min,
  mul,
  nearestCode,
  packWeight,
  pad,
  permute,
  power,
  scope,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  topK,
  transpose,
  writeSlice,
} from "../../../core/tensor/mod.ts";
import { compare, forAll, Inputs, seed } from "../kernels/check.ts";
import { references } from "../kernels/reference.ts";
import { withDevices } from "../devices.ts";

/** Runs `body` in a scope, reads the tensors it returns, and frees them. */
async function values(body: () => Tensor): Promise<{ shape: readonly number[]; values: number[] }> {
  const tensor = scope(body);
  try {
    const data = tensor.dtype === "f32" ? await tensor.data() : await tensor.ints();
    return { shape: tensor.shape, values: [...data] };
  } finally {
    disposeAll(tensor);
  }
}

const make = (device: Device, shape: number[], data: readonly number[]) => fromArray(device, data, shape);

/** 0, 1, 2, ... in the given shape. */
const count = (device: Device, shape: number[]) =>
  make(device, shape, Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => i));

withDevices("binary ops broadcast like NumPy", async (device) => {
  const got = await values(() => add(make(device, [2, 1, 2], [0, 1, 2, 3]), make(device, [3, 1], [10, 20, 30])));
  assert.deepEqual(got.shape, [2, 3, 2]);
  assert.deepEqual(got.values, [10, 11, 20, 21, 30, 31, 12, 13, 22, 23, 32, 33]);
  const scalar = await values(() => sub(make(device, [], [5]), make(device, [2], [1, 2])));
  assert.deepEqual(scalar, { shape: [2], values: [4, 3] });
});

withDevices("binary ops broadcast any two shapes that fit", async (device) => {
  const operands = fc.record({
    shape: fc.array(fc.constantFrom<number[]>(1, 2, 3, 4), { maxLength: 6 }),
    x: fc.nat(63),
    y: fc.nat(63),
    xLead: fc.nat(6),
    yLead: fc.nat(6),
    seed,
  });
  await forAll(device, operands, { cpu: 100, webgpu: 20 }, async ({ shape, x, y, xLead, yLead, seed }) => {
    const inputs = new Inputs(seed);
    // Each operand lacks leading dimensions and has size 1 in others.
    const held = (bits: number, lead: number) => shape.map((d, i) => (bits >> i) & 1 ? 1 : d).slice(lead);
    const [xShape, yShape] = [held(x, xLead), held(y, yLead)];
    const size = (s: readonly number[]) => s.reduce((p, d) => p * d, 1);
    const [xs, ys] = [inputs.wholeF32(size(xShape), -9, 9), inputs.wholeF32(size(yShape), -9, 9)];
    const got = await values(() => mul(fromArray(device, xs, xShape), fromArray(device, ys, yShape)));
    const rank = Math.max(xShape.length, yShape.length);
    const padded = (s: number[]) => [...new Array<number>(rank - s.length).fill(1), ...s];
    const [xp, yp] = [padded(xShape), padded(yShape)];
    const out = xp.map((d, i) => d === 1 ? yp[i] : d);
    assert.deepEqual(got.shape, out);
    for (let i = 0; i < size(out); i++) {
      let [rest, xi, yi, xStep, yStep] = [i, 0, 0, 1, 1];
      for (let axis = rank - 1; axis >= 0; axis--) {
        const at = rest % out[axis];
        rest = Math.floor(rest / out[axis]);
        if (xp[axis] > 1) xi += at * xStep;
        if (yp[axis] > 1) yi += at * yStep;
        xStep *= xp[axis];
        yStep *= yp[axis];
      }
      assert.equal(got.values[i] + 0, xs[xi] * ys[yi] + 0); // + 0: -0 counts as 0
    }
  });
});

withDevices("comparisons, clamp, power and cast give what their names say", async (device) => {
  const x = [-1, 0, 2];
  assert.deepEqual((await values(() => equal(make(device, [3], x), make(device, [1], [0])))).values, [0, 1, 0]);
  assert.deepEqual((await values(() => less(make(device, [3], x), make(device, [1], [0])))).values, [1, 0, 0]);
  assert.deepEqual((await values(() => clamp(make(device, [3], x), -0.5, 1))).values, [-0.5, 0, 1]);
  const roots = (await values(() => power(make(device, [2], [4, 9]), 0.5))).values;
  assert.ok(Math.abs(roots[0] - 2) < 1e-5 && Math.abs(roots[1] - 3) < 1e-5);
  assert.deepEqual(await values(() => cast(make(device, [2], [2.9, -2.9]), "i32")), { shape: [2], values: [2, -2] });
});

withDevices("reductions take any axis, negative ones, all of them, and keep dimensions when asked", async (device) => {
  const x = () => count(device, [2, 3, 2]);
  assert.deepEqual(await values(() => sum(x(), 1)), { shape: [2, 2], values: [6, 9, 24, 27] });
  assert.deepEqual(await values(() => sum(x(), -1, true)), { shape: [2, 3, 1], values: [1, 5, 9, 13, 17, 21] });
  assert.deepEqual(await values(() => mean(x(), 0)), { shape: [3, 2], values: [3, 4, 5, 6, 7, 8] });
  assert.deepEqual(await values(() => sum(x())), { shape: [], values: [66] });
  assert.deepEqual(await values(() => max(x(), 1, true)), { shape: [2, 1, 2], values: [4, 5, 10, 11] });
  assert.deepEqual(await values(() => min(x())), { shape: [], values: [0] });
  assert.deepEqual(await values(() => argmax(x(), 0)), { shape: [3, 2], values: [1, 1, 1, 1, 1, 1] });
  assert.deepEqual(await values(() => argmin(x())), { shape: [2, 3], values: [0, 0, 0, 0, 0, 0] });
});

withDevices("topK() gives values and indices along the last axis", async (device) => {
  const { values: v, indices } = scope(() => topK(make(device, [2, 4], [1, 9, 9, 3, 0, -1, 5, 2]), 3));
  assert.deepEqual(v.shape, [2, 3]);
  assert.deepEqual([...await v.data()], [9, 9, 3, 5, 2, 0]);
  assert.deepEqual([...await indices.ints()], [1, 2, 3, 2, 3, 0]);
  disposeAll([v, indices]);
});

withDevices("permute(), transpose(), slice() and concat() move elements as named", async (device) => {
  const x = () => count(device, [2, 3, 4]);
  const turned = await values(() => permute(x(), 2, 0, 1));
  assert.deepEqual(turned.shape, [4, 2, 3]);
  assert.deepEqual(turned.values.slice(0, 7), [0, 4, 8, 12, 16, 20, 1]);
  assert.deepEqual(await values(() => permute(permute(x(), 2, 0, 1), 1, 2, 0)), await values(x));
  assert.deepEqual(await values(() => transpose(count(device, [2, 3]))), { shape: [3, 2], values: [0, 3, 1, 4, 2, 5] });
  assert.deepEqual(await values(() => slice(x(), -1, 1, 3)), {
    shape: [2, 3, 2],
    values: [1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22],
  });
  assert.deepEqual((await values(() => slice(x(), 0, 1))).values, Array.from({ length: 12 }, (_, i) => 12 + i));
  assert.deepEqual(await values(() => concat([count(device, [2, 1]), make(device, [2, 2], [7, 8, 9, 10])], 1)), {
    shape: [2, 3],
    values: [0, 7, 8, 1, 9, 10],
  });
  // More than ten parts: their order is that of the list, not of their names.
  const many = await values(() => concat(Array.from({ length: 12 }, (_, i) => make(device, [1], [i])), 0));
  assert.deepEqual(many.values, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  const ints = await values(() =>
    concat([fromArray(device, Int32Array.of(2 ** 30 + 1), [1]), fromArray(device, Int32Array.of(-1), [1])], 0)
  );
  assert.deepEqual(ints.values, [2 ** 30 + 1, -1]);
});

withDevices("concat() takes the same tensor twice", async (device) => {
  const got = await values(() => {
    const x = count(device, [2]);
    return concat([x, x], 0);
  });
  assert.deepEqual(got.values, [0, 1, 0, 1]);
});

withDevices("pad() and broadcastTo() surround and repeat", async (device) => {
  assert.deepEqual(await values(() => pad(count(device, [1, 2]), [[1, 0], [0, 2]], -1)), {
    shape: [2, 4],
    values: [-1, -1, -1, -1, 0, 1, -1, -1],
  });
  assert.deepEqual(await values(() => broadcastTo(count(device, [2, 1]), [2, 2, 3])), {
    shape: [2, 2, 3],
    values: [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1],
  });
});

withDevices("matmul() broadcasts a batch of 1 on either side and reads operands transposed", async (device) => {
  const a = () => count(device, [2, 2, 3]);
  const b = () => count(device, [3, 2]);
  const plain = await values(() => matmul(a(), b()));
  assert.deepEqual(plain, { shape: [2, 2, 2], values: [10, 13, 28, 40, 46, 67, 64, 94] });
  assert.deepEqual(await values(() => matmul(a(), transpose(b()), { transB: true })), plain);
  assert.deepEqual(await values(() => matmul(permute(a(), 0, 2, 1), b(), { transA: true })), plain);
  assert.deepEqual(await values(() => matmul(a(), b().reshape(1, 3, 2))), plain);
  const left = await values(() => matmul(count(device, [1, 3]), count(device, [2, 3, 1])));
  assert.deepEqual(left, { shape: [2, 1, 1], values: [5, 14] });
  assert.deepEqual((await values(() => matmul(count(device, [2, 2, 1, 1]), count(device, [2, 2, 1, 1])))).values, [
    0,
    1,
    4,
    9,
  ]);
});

withDevices("linear() is residual + gate * act(x w^T + bias), with dense and packed weights alike", async (device) => {
  const inputs = new Inputs(1);
  const [batch, rows, k, n, chunks, tableRows] = [2, 3, 5, 4, 3, 7];
  const [x, w, bias] = [inputs.f32(batch * rows * k), inputs.f32(n * k), inputs.f32(n)];
  const residual = inputs.f32(batch * rows * n);
  const table = inputs.f32(tableRows * chunks * n);
  const row = 2;
  const expected = references.matmul({
    ...{ a: x, b: w, batch: 1, m: batch * rows, n, k, aBatchStride: 0, bBatchStride: 0 },
    ...{ transA: false, transB: true, packed: false, bType: "f32" },
    epilogue: {
      bias,
      activation: "gelu",
      gate: { data: table, seq: rows, batchStride: 0, rowStride: chunks * n, offset: (row * chunks + 1) * n },
      residual,
    },
  });
  for (const packed of ["dense", "f32", "f16"] as const) {
    const got = await values(() => {
      const weight = fromArray(device, w, [n, k]);
      return linear(
        fromArray(device, x, [batch, rows, k]),
        packed === "dense" ? weight : packWeight(weight, "linear", packed),
        fromArray(device, bias, [n]),
        {
          activation: "gelu",
          residual: fromArray(device, residual, [batch, rows, n]),
          gate: { table: fromArray(device, table, [1, tableRows, chunks, n]), chunk: 1, row },
        },
      );
    });
    assert.deepEqual(got.shape, [batch, rows, n]);
    // Weights in f16 are rounded by 2^-11 = 8192 roundings of float32.
    compare(`linear, ${packed}`, got.values, expected.out, { roundings: packed === "f16" ? 8192 : 32, floor: 1 });
  }
});

withDevices(
  "conv2d() takes padding as [top, bottom, left, right] and packs dense weights on the fly",
  async (device) => {
    const inputs = new Inputs(2);
    const [h, w, cIn, cOut] = [5, 4, 2, 3];
    const x = inputs.f32(h * w * cIn);
    const weight = inputs.f32(cOut * cIn * 9);
    const bias = inputs.f32(cOut);
    // bottom 1, right 3: outH = floor((5 + 1 - 3) / 2) + 1 = 2, outW = floor((4 + 3 - 3) / 2) + 1 = 3.
    const sizes = { batch: 1, h, w, cIn, cOut, kh: 3, kw: 3, stride: 2, upsample: 1 as const, padTop: 0, padLeft: 0 };
    const { out } = references.conv2d({
      ...sizes,
      x,
      weight,
      bias,
      activation: "silu",
      outH: 2,
      outW: 3,
      wType: "f32",
    });
    for (const packed of [false, true]) {
      const got = await values(() => {
        const dense = fromArray(device, weight, [cOut, cIn, 3, 3]);
        const input = fromArray(device, x, [1, h, w, cIn]);
        const options = { stride: 2, padding: [0, 1, 0, 3], activation: "silu" } as const;
        return conv2d(input, packed ? packWeight(dense, "conv") : dense, fromArray(device, bias, [cOut]), options);
      });
      assert.deepEqual(got.shape, [1, 2, 3, cOut]);
      compare("conv2d", got.values, out, { roundings: 64, floor: 2 });
    }
    const up = await values(() =>
      conv2d(count(device, [1, 1, 2, 1]), make(device, [1, 1, 1, 1], [2]), undefined, { upsample: 2 })
    );
    assert.deepEqual(up, { shape: [1, 2, 4, 1], values: [0, 0, 2, 2, 0, 0, 2, 2] });
  },
);

withDevices("avgPool2d() averages blocks", async (device) => {
  const got = await values(() => avgPool2d(count(device, [1, 3, 4, 1]), 2));
  assert.deepEqual(got, { shape: [1, 1, 2, 1], values: [2.5, 4.5] });
});

withDevices("norms normalise the axes that they name", async (device) => {
  const two = { roundings: 64, floor: 1 };
  const ln = await values(() => layerNorm(make(device, [1, 2, 2], [1, 3, 5, 5]), { eps: 0.25 }));
  const r = 1 / Math.sqrt(1.25);
  compare("layerNorm", ln.values, Float64Array.of(-r, r, 0, 0), two);
  const modulated = await values(() => {
    const table = count(device, [1, 1, 3, 2]); // chunks [0, 1], [2, 3], [4, 5]
    return layerNorm(make(device, [1, 2, 2], [1, 3, 5, 5]), {
      eps: 0.25,
      scale: { table, chunk: 1 },
      shift: { table, chunk: 2 },
    });
  });
  compare("layerNorm modulated", modulated.values, Float64Array.of(4 - 3 * r, 5 + 4 * r, 4, 5), two);
  const gn = await values(() =>
    groupNorm(
      make(device, [1, 1, 2, 4], [1, 1, 0, 5, 3, 3, 0, 5]),
      make(device, [4], [1, 1, 1, 2]),
      make(device, [4], [0, 1, 0, 0]),
      { groups: 2, eps: 0.25 },
    )
  );
  const [a, b] = [r, 2.5 / Math.sqrt(6.5)];
  compare("groupNorm", gn.values, Float64Array.of(-a, 1 - a, -b, 2 * b, a, 1 + a, -b, 2 * b), two);
  const l2 = await values(() => l2Normalize(make(device, [2, 2], [3, 4, 0, 0])));
  compare("l2Normalize", l2.values, Float64Array.of(0.6, 0.8, 0, 0), two);
});

withDevices("softmax(), logSoftmax() and logSoftmaxGather() work on the last axis", async (device) => {
  const x = () => make(device, [2, 1, 2], [0, Math.log(3), 1, 1]);
  const near = { roundings: 32, floor: 1 };
  compare("softmax", (await values(() => softmax(x()))).values, Float64Array.of(0.25, 0.75, 0.5, 0.5), near);
  const logs = Float64Array.of(Math.log(0.25), Math.log(0.75), -Math.LN2, -Math.LN2);
  compare("logSoftmax", (await values(() => logSoftmax(x()))).values, logs, near);
  const picked = await values(() => logSoftmaxGather(x(), fromArray(device, [1, 0], [2, 1], "i32")));
  assert.deepEqual(picked.shape, [2, 1]);
  compare("logSoftmaxGather", picked.values, Float64Array.of(Math.log(0.75), -Math.LN2), near);
});

withDevices("attention() through a cache, step by step, equals one causal pass", async (device) => {
  const [batch, rows, heads, headDim] = [2, 5, 2, 3];
  const inputs = new Inputs(3);
  const draw = () => inputs.f32(batch * rows * heads * headDim);
  const [q, k, v] = [draw(), draw(), draw()];
  const shape = [batch, rows, heads, headDim];
  const whole = await values(() =>
    attention(fromArray(device, q, shape), fromArray(device, k, shape), fromArray(device, v, shape), {
      visible: causalVisible(device, rows),
    })
  );
  const cache = new KeyValueCache(device, batch, rows + 2, heads, headDim);
  for (const pass of [1, 2]) {
    for (const [start, end] of [[0, 2], [2, 3], [3, 5]]) {
      const got = await values(() => {
        const part = (data: Float32Array) => slice(fromArray(device, data, shape), 1, start, end);
        cache.append(part(k), part(v));
        return attention(part(q), cache.k, cache.v, {
          keys: cache.length,
          visible: causalVisible(device, end - start, start),
        });
      });
      const width = heads * headDim;
      const expected = [0, 1].flatMap((b) => whole.values.slice((b * rows + start) * width, (b * rows + end) * width));
      compare(`attention, pass ${pass}`, got.values, Float64Array.from(expected), { roundings: 16, floor: 1 });
    }
    assert.equal(cache.length, rows);
    cache.reset();
  }
  cache.dispose();
});

withDevices("blockCausalVisible() shows every row its own block", async (device) => {
  assert.deepEqual((await values(() => blockCausalVisible(device, [1, 3, 2]))).values, [1, 4, 4, 4, 6, 6]);
  assert.deepEqual((await values(() => causalVisible(device, 3, 4))).values, [5, 6, 7]);
});

withDevices("writeSlice() overwrites a part and nothing else", async (device) => {
  const got = await values(() => {
    const target = count(device, [2, 3, 2]);
    writeSlice(target, make(device, [2, 1, 2], [-1, -2, -3, -4]), 1, 1);
    return target;
  });
  assert.deepEqual(got.values, [0, 1, -1, -2, 4, 5, 6, 7, -3, -4, 10, 11]);
});

withDevices("embedding() and nearestCode() are inverse on distinct rows", async (device) => {
  const codebook = () => make(device, [3, 2], [0, 0, 5, 5, -5, 5]);
  const rows = await values(() => embedding(codebook(), fromArray(device, [2, 0, 1, 1], [2, 2], "i32")));
  assert.deepEqual(rows, { shape: [2, 2, 2], values: [-5, 5, 0, 0, 5, 5, 5, 5] });
  const index = await values(() => nearestCode(make(device, [2, 2, 2], rows.values), codebook()));
  assert.deepEqual(index, { shape: [2, 2], values: [2, 0, 1, 1] });
});
