/**
 * Gradients of every op against central differences, on both devices, over random shapes; and the tape itself.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type DifferentiableName, type UnaryName, unaryRows } from "../../../core/tensor/elementwise.ts";
import * as t from "../../../core/tensor/mod.ts";
import type { Device, Tensor } from "../../../core/tensor/mod.ts";
import { withDevices } from "../devices.ts";

type Draw = (shape: readonly number[], low?: number, high?: number) => Tensor;

/** One op on random operands: returns the variables and the function of them. */
type Case = (draw: Draw, size: (max: number) => number, device: Device) => [Tensor[], (...xs: Tensor[]) => Tensor];

/** Ranges away from kinks and poles, where differences would straddle them. */
const ranges: Partial<Record<DifferentiableName, [number, number]>> = {
  abs: [0.3, 2],
  log: [0.5, 3],
  sqrt: [0.5, 3],
  reciprocal: [0.5, 2],
  floor: [0.1, 0.9],
  relu: [0.1, 2],
  elu: [-2, -0.1],
};

const unaryCases = Object.fromEntries(
  (Object.entries(unaryRows) as [UnaryName, { derivative: string | null }][])
    .filter(([, row]) => row.derivative !== null)
    .map(([name]): [string, Case] => [name, (draw, size) => {
      const [low, high] = ranges[name as DifferentiableName] ?? [-2, 2];
      return [[draw([size(7), size(5)], low, high)], (x) => t.unary(name, x)];
    }]),
);

const cases: Readonly<Record<string, Case>> = {
  ...unaryCases,
  neg: (draw, size) => [[draw([size(9)])], t.neg],
  affine: (draw, size) => [[draw([size(9)])], (x) => t.affine(x, -1.7, 0.3)],
  "clamp inside": (draw, size) => [[draw([size(9)], -0.4, 0.4)], (x) => t.clamp(x, -0.5, 0.5)],
  "clamp outside": (draw, size) => [[draw([size(9)], 0.7, 2)], (x) => t.clamp(x, -0.5, 0.5)],
  power: (draw, size) => [[draw([size(9)], 0.5, 2)], (x) => t.power(x, 2.5)],
  "add broadcast": (draw, size) => {
    const [a, b] = [size(4), size(5)];
    return [[draw([a, 1, b]), draw([3, 1])], t.add];
  },
  "sub broadcast": (draw, size) => [[draw([size(4)]), draw([2, 1, 1])], t.sub],
  "mul broadcast": (draw, size) => {
    const b = size(5);
    return [[draw([2, size(4), b]), draw([b])], t.mul];
  },
  div: (draw, size) => {
    const n = size(6);
    return [[draw([3, n]), draw([1, n], 0.5, 2)], t.div];
  },
  maximum: (draw, size) => {
    const n = size(8);
    return [[draw([n], 1, 2), draw([n], -1, 0.5)], (x, y) => t.add(t.maximum(x, y), t.minimum(x, t.affine(y, 1, 4)))];
  },
  sum: (draw, size) => [[draw([size(4), size(5), 3])], (x) => t.sum(x, 1)],
  mean: (draw, size) => [[draw([size(4), size(5)])], (x) => t.add(t.mean(x, 0), t.mean(x))],
  max: (draw) => [[draw([1], 0, 1)], (x) => t.max(t.concat([x, t.affine(x, 3, 2)], 0), 0)],
  min: (draw) => [[draw([1], 0, 1)], (x) => t.min(t.concat([x, t.affine(x, 3, 2)], 0), 0)],
  permute: (draw, size) => [[draw([size(3), size(4), 2])], (x) => t.permute(x, 2, 0, 1)],
  slice: (draw, size) => [[draw([3 + size(4), 2])], (x) => t.slice(x, 0, 1, 3)],
  concat: (draw, size) => [[draw([2, size(3)]), draw([2, size(4)])], (x, y) => t.concat([x, y, x], 1)],
  pad: (draw, size) => [[draw([size(3), 2])], (x) => t.pad(x, [[1, 2], [0, 1]], 5)],
  broadcastTo: (draw, size) => [[draw([size(3), 1])], (x) => t.broadcastTo(x, [2, x.shape[0], 4])],
  reshape: (draw, size) => [[draw([size(3), 4])], (x) => t.mul(x.reshape(-1), x.reshape(-1))],
  resize: (draw) => [[draw([1, 5, 4, 3])], (x) => t.resize(t.resize(x, "area", 3, 2), "bicubic", 6, 5)],
  avgPool2d: (draw, size) => [[draw([2, 2 + size(4), 2 + size(3), 3])], (x) => t.avgPool2d(x, 2)],
  embedding: (draw, size, device) => {
    const index = t.fromArray(device, Int32Array.of(2, 0, 2, 1), [2, 2]);
    return [[draw([3, size(5)])], (table) => t.embedding(table, index)];
  },
  softmax: (draw, size) => [[draw([size(4), 1 + size(6)])], t.softmax],
  logSoftmax: (draw, size) => [[draw([size(4), 1 + size(6)])], t.logSoftmax],
  logSoftmaxGather: (draw, size, device) => {
    const index = t.fromArray(device, Int32Array.of(1, 0, 2), [3]);
    return [[draw([3, 2 + size(5)])], (x) => t.logSoftmaxGather(x, index)];
  },
  l2Normalize: (draw, size) => [[draw([size(4), 1 + size(6)], 0.3, 2)], (x) => t.l2Normalize(x)],
};

for (const [transA, transB] of [[false, false], [true, false], [false, true], [true, true]]) {
  const name = `matmul ${transA ? "aT" : "a"} ${transB ? "bT" : "b"}`;
  Object.assign(cases, {
    [name]: ((draw, size) => {
      const [m, n, k] = [size(5), size(5), size(6)];
      const a = draw(transA ? [2, k, m] : [2, m, k]), b = draw(transB ? [n, k] : [k, n]);
      return [[a, b], (x, y) => t.matmul(x, y, { transA, transB })];
    }) satisfies Case,
  });
}

const fused: Readonly<Record<string, Case>> = {
  "linear with bias": (draw, size) => {
    const [n, k] = [size(6), size(6)];
    return [[draw([2, 3, k]), draw([n, k]), draw([n])], (x, w, b) => t.linear(x, w, b)];
  },
  ...Object.fromEntries((["silu", "gelu", "geluTanh"] as const).map((activation): [string, Case] => [
    `linear with ${activation}, gate and residual`,
    (draw, size) => {
      const [n, k, rows] = [size(6), size(6), size(4)];
      const inputs = [draw([2, rows, k]), draw([n, k]), draw([n]), draw([1, rows + 1, 3, n]), draw([2, rows, n])];
      return [inputs, (x, w, b, table, residual) => {
        return t.linear(x, w, b, { activation, gate: { table, chunk: 1, row: 1 }, residual });
      }];
    },
  ])),
  "linear with a gate per image": (draw, size) => {
    const n = size(6);
    return [[draw([2, 3, 4]), draw([n, 4]), draw([2, 1, 2, n])], (x, w, table) => {
      return t.linear(x, w, undefined, { gate: { table, chunk: 0 } });
    }];
  },
  layerNorm: (draw, size) => {
    const n = 2 + size(6);
    return [[draw([3, n]), draw([n], 0.5, 1.5), draw([n])], (x, gamma, beta) => t.layerNorm(x, { gamma, beta })];
  },
  "layerNorm modulated": (draw, size) => {
    const n = 2 + size(6), rows = size(4);
    return [[draw([2, rows, n]), draw([n], 0.5, 1.5), draw([n]), draw([1, rows, 3, n])], (x, gamma, beta, table) => {
      return t.layerNorm(x, { gamma, beta, scale: { table, chunk: 2 }, shift: { table, chunk: 0 } });
    }];
  },
  groupNorm: (draw, size) => {
    const inputs = [draw([2, size(3) + 1, 2, 6]), draw([6], 0.5, 1.5), draw([6])];
    return [inputs, (x, gamma, beta) => t.groupNorm(x, gamma, beta, { groups: 3 })];
  },
  "groupNorm with silu": (draw, size) => {
    const inputs = [draw([2, size(3) + 1, 2, 6]), draw([6], 0.5, 1.5), draw([6])];
    return [inputs, (x, gamma, beta) => t.groupNorm(x, gamma, beta, { groups: 2, activation: "silu" })];
  },
  "groupNorm twice, then conv2d": (draw, size) => {
    const inputs = [draw([1, size(3) + 1, 3, 4]), draw([4], 0.5, 1.5), draw([4]), draw([3, 4, 3, 3])];
    return [inputs, (x, gamma, beta, w) => {
      const h = t.groupNorm(t.groupNorm(x, gamma, beta, { groups: 2, activation: "silu" }), gamma, beta, { groups: 1 });
      return t.add(t.conv2d(h, w, undefined, { padding: 1 }), t.mean(h));
    }];
  },
  attention: (draw, size) => {
    const [heads, d] = [size(2), size(4)];
    const inputs = [draw([2, size(4), heads, d]), draw([2, 5, heads, d]), draw([2, 5, heads, d])];
    return [inputs, (q, k, v) => t.attention(q, k, v, { keys: 4 })];
  },
  "attention causal": (draw, size, device) => {
    const [heads, d] = [size(2), size(4)];
    const visible = t.causalVisible(device, 5);
    const inputs = [0, 1, 2].map(() => draw([2, 5, heads, d]));
    return [inputs, (q, k, v) => t.attention(q, k, v, { visible, scale: 0.7 })];
  },
  ...Object.fromEntries(
    ([
      ["3x3", 3, 1, 1, 1],
      ["1x1", 1, 1, 0, 1],
      ["stride 2", 3, 2, [0, 1, 0, 1], 1],
      ["upsample", 3, 1, 1, 2],
      ["2x2 unpadded", 2, 1, 0, 1],
      ["5x5 stride 3", 5, 3, [2, 0, 1, 2], 1],
    ] as const).map(([name, k, stride, padding, upsample]): [string, Case] => [`conv2d ${name}`, (draw, size) => {
      const [cIn, cOut] = [size(3), size(3)];
      const inputs = [draw([2, 4 + size(2), 4 + size(2), cIn]), draw([cOut, cIn, k, k]), draw([cOut])];
      return [inputs, (x, w, b) => t.conv2d(x, w, b, { stride, padding, upsample })];
    }]),
  ),
  "conv2d with silu and residual": (draw, size) => {
    const [cIn, cOut] = [size(3), size(3)];
    const inputs = [draw([1, 4, 3, cIn]), draw([cOut, cIn, 3, 3]), draw([cOut]), draw([1, 4, 3, cOut])];
    return [inputs, (x, w, b, residual) => t.conv2d(x, w, b, { padding: 1, activation: "silu", residual })];
  },
};

for (const [name, make] of Object.entries({ ...cases, ...fused })) {
  withDevices(`gradcheck: ${name}`, async (device) => {
    const runs = device.info.kind === "cpu" ? 6 : 2;
    await fc.assert(
      fc.asyncProperty(fc.nat(1e6), async (seed) => {
        const before = device.memory().liveBytes;
        let stream = 0;
        const made: Tensor[] = [];
        const draw: Draw = (shape, low = -1, high = 1) => {
          const values = t.uniforms(seed, stream++, t.sizeOf(shape)).map((u) => low + (high - low) * u);
          made.push(t.fromArray(device, values, shape));
          return made[made.length - 1];
        };
        const size = (max: number) => 1 + Math.floor(t.uniforms(seed, 1e6 + stream++, 1)[0] * max);
        const visibleBefore = device.memory().liveCount;
        const [variables, body] = make(draw, size, device);
        await t.gradcheck(variables, body, { seed });
        made.forEach((tensor) => tensor.dispose());
        // What a case holds besides its variables (an index, a mask) is a few bytes and freed with the device.
        assert.ok(device.memory().liveBytes - before <= 1024, "gradients leave memory behind");
        assert.ok(device.memory().liveCount - visibleBefore <= 1, "gradients leave memory behind");
      }),
      { seed: 1, numRuns: runs },
    );
  });
}

withDevices("every op has a gradient or says why not", () => {
  const without = Object.values(t.opTable).filter((op) => typeof op.gradient === "string").map((op) => op.name);
  const gradients = without.filter((name) => !name.endsWith("Gradient"));
  assert.deepEqual(gradients.sort(), ["argReduce", "cast", "guidedScores", "nearestCode", "topK"]);
});

withDevices("differentiate() accumulates over several uses and leaves frozen tensors alone", async (device) => {
  const before = device.memory().liveBytes;
  const x = t.fromArray(device, [1, 2, 3], [3]), frozen = t.fromArray(device, [4, 5, 6], [3]);
  const unused = t.fromArray(device, [1], [1]);
  const { result, gradients } = t.differentiate([x, unused], () => {
    const y = t.mul(t.add(x, x), frozen);
    return { loss: t.sum(t.mul(y, x)) };
  });
  assert.equal(await result.loss.item(), 2 * (4 + 20 + 54));
  assert.deepEqual([...await gradients[0]!.data()], [16, 40, 72]);
  assert.equal(gradients[1], null);
  for (const tensor of [x, frozen, unused, result.loss, gradients[0]!]) tensor.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("differentiate() records nothing that does not depend on a variable", (device) => {
  const x = t.full(device, [64], 1), frozen = t.full(device, [1024], 1);
  let during = 0;
  const { result, gradients } = t.differentiate([x], () => {
    let y = frozen;
    for (let i = 0; i < 20; i++) y = t.scope(() => t.affine(y, 1, 1));
    during = device.memory().liveBytes;
    return { loss: t.sum(t.mul(x, t.slice(y, 0, 0, 64))) };
  });
  // 20 tensors of 4 KiB were made; each was freed by nothing but the enclosing scope, none is held by the tape.
  assert.ok(during > 0);
  t.disposeAll([x, frozen, result.loss, gradients]);
});

withDevices(
  "a tape keeps no group norm for the ops that read it, nor what only a frozen weight multiplies",
  (device) => {
    const x = t.randomNormal(device, [1, 32, 32, 8], 1), gamma = t.full(device, [8], 1), beta = t.full(device, [8], 0);
    const w = t.randomNormal(device, [8, 8, 3, 3], 2);
    for (const variables of [[x, w], [x]]) {
      const before = device.memory().liveBytes;
      let held = 0;
      const differentiated = t.differentiate(variables, () => {
        const loss = t.scope(() =>
          t.sum(t.conv2d(t.groupNorm(x, gamma, beta, { groups: 2 }), w, undefined, { padding: 1 }))
        );
        held = device.memory().liveBytes - before;
        return { loss };
      });
      assert.ok(held < x.bytes / 4, `${held} bytes held for ${x.bytes}`);
      t.disposeAll([differentiated.result, differentiated.gradients]);
      assert.equal(device.memory().liveBytes, before);
    }
    t.disposeAll([x, gamma, beta, w]);
  },
);

withDevices("checkpoint() gives the gradients of the plain function and keeps less in between", async (device) => {
  const before = device.memory().liveBytes;
  const x = t.randomNormal(device, [32, 64], 1), w = t.randomNormal(device, [64, 64], 2);
  let level = device.memory().liveBytes;
  const block = (input: Tensor) => t.scope(() => t.silu(t.linear(t.silu(t.linear(t.silu(input), w)), w)));
  const run = (wrap: (input: Tensor) => Tensor) => {
    let held = 0;
    level = device.memory().liveBytes;
    const differentiated = t.differentiate([x, w], () => {
      let y = x;
      for (let i = 0; i < 3; i++) y = t.scope(() => wrap(y));
      held = device.memory().liveBytes - level;
      return { loss: t.mean(y) };
    });
    return { ...differentiated, held };
  };
  const plain = run(block), recomputed = run((input) => t.checkpoint(block, input));
  for (const i of [0, 1]) {
    const [a, b] = [await plain.gradients[i]!.data(), await recomputed.gradients[i]!.data()];
    const largest = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    a.forEach((value, j) => assert.ok(Math.abs(value - b[j]) <= 1e-6 * largest));
  }
  assert.ok(recomputed.held < plain.held / 2, `${recomputed.held} bytes held, ${plain.held} without recomputation`);
  t.disposeAll([x, w, plain.result, plain.gradients, recomputed.result, recomputed.gradients]);
  assert.equal(device.memory().liveBytes, before);
});

withDevices("checkpoint() refuses a function that reads what it was not given", (device) => {
  const x = t.full(device, [4], 2);
  assert.throws(
    () =>
      t.differentiate([x], () => {
        const hidden = t.square(x);
        return { loss: t.sum(t.checkpoint((input) => t.mul(input, hidden), x)) };
      }),
    /checkpoint: mul reads y, which depends on a variable but is not an argument/,
  );
  x.dispose();
});

withDevices("differentiate() refuses losses that are no scalars and ops without a gradient", (device) => {
  const x = t.full(device, [4], 2);
  assert.throws(() => t.differentiate([x], () => ({ loss: t.square(x) })), /loss expects one element, got \[4\]/);
  assert.throws(
    () => t.differentiate([x], () => ({ loss: t.sum(t.topK(x, 2).values) })),
    /topK: has no gradient/,
  );
  x.dispose();
});

withDevices("gradcheck() rejects a wrong gradient, naming the input", async (device) => {
  const wrong = t.defineOp({
    name: "wrong",
    infer: ({ x }: { x: Tensor }) => [{ shape: x.shape, dtype: "f32" as const }],
    forward: (on, { x }, [out]) =>
      on.run("unary", { op: "square", x: x.storage, out: out.storage, n: x.size, a: 0, b: 0 }),
    gradient: ({ inputs: { x }, upstream: [g] }) => ({ x: t.mul(g, x) }),
  });
  const x = t.fromArray(device, [1, 2, 3], [3]);
  await assert.rejects(t.gradcheck([x], (y) => t.apply(wrong, { x: y }, null)), /gradcheck: input 0 \[3\]/);
  x.dispose();
});
