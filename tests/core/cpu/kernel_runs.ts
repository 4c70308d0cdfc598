/**
 * One run of every kernel that the CPU device threads, at sizes that need several tasks, for tests that compare devices.
 * It holds no expectations.
 */
import type { CpuDevice } from "../../../core/cpu/mod.ts";
import type { Storage } from "../../../core/tensor/kernels.ts";

const made = new Map<string, Float32Array>();

/** Seeded numbers in [-1, 1), made once: making them takes longer than the kernels do. Not to be written to. */
export function noise(n: number, seed: number): Float32Array {
  const key = `${n} ${seed}`;
  let values = made.get(key);
  if (values === undefined) {
    made.set(key, values = new Float32Array(n));
    for (let i = 0, state = seed >>> 0; i < n; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[i] = state / 2 ** 31 - 1;
    }
  }
  return values;
}

/** The results of every kernel on `device`, by name. Everything that it allocates is freed. */
export async function runEverything(device: CpuDevice): Promise<Map<string, Uint8Array>> {
  const results = new Map<string, Uint8Array>();
  const held: Storage[] = [];
  const space = (n: number) => {
    const storage = device.alloc(n * 4);
    held.push(storage);
    return storage;
  };
  const put = (n: number, seed: number) => {
    const storage = space(n);
    device.write(storage, noise(n, seed));
    return storage;
  };
  const integers = (n: number, value: (i: number) => number) => {
    const storage = space(n);
    device.write(storage, Int32Array.from({ length: n }, (_, i) => value(i)));
    return storage;
  };
  const keep = async (name: string, storage: Storage, n: number) => {
    results.set(name, new Uint8Array(await device.read(storage, n * 4)));
    while (held.length > 0) device.free(held.pop()!);
  };

  for (const type of ["f32", "f16"] as const) {
    const [m, n, k] = [257, 203, 1543];
    const weight = device.alloc(device.packedBytes("linear", [n, k], type));
    held.push(weight);
    device.run("packLinear", { x: put(n * k, 1), out: weight, n, k, xType: "f32", outType: type });
    const out = space(m * n);
    device.run("matmul", {
      ...{ a: put(m * k, 2), b: weight, out, batch: 1, m, n, k, aBatchStride: 0, bBatchStride: 0 },
      ...{ transA: false, transB: true, packed: true, bType: type },
      epilogue: { bias: put(n, 3), activation: "gelu", residual: put(m * n, 4) },
    });
    await keep(`matmul ${type}`, out, m * n);
  }
  for (const [transA, transB] of [[false, false], [true, false], [false, true], [true, true]]) {
    const [batch, m, n, k] = [3, 130, 91, 240];
    const out = space(batch * m * n);
    device.run("matmul", {
      ...{ a: put(batch * m * k, 5), b: put(batch * n * k, 6), out, batch, m, n, k, transA, transB },
      ...{ aBatchStride: m * k, bBatchStride: n * k, packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
    await keep(`matmul plain ${transA} ${transB}`, out, batch * m * n);
  }
  {
    const [m, n, k] = [70, 45, 2500];
    const out = space(m * n);
    device.run("matmul", {
      ...{ a: put(m * k, 50), b: put(n * k, 51), out, batch: 1, m, n, k, transA: true, transB: false },
      ...{ aBatchStride: 0, bBatchStride: 0, packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
    await keep("matmul of a long sum", out, m * n);
  }
  for (
    const [cIn, cOut, stride, upsample] of [[3, 20, 1, 1], [64, 72, 1, 2], [64, 72, 2, 1], [24, 3, 1, 1]] as const
  ) {
    const [h, w] = [36, 50];
    const [outH, outW] = [h * upsample / stride, w * upsample / stride];
    const weight = device.alloc(device.packedBytes("conv", [cOut, cIn, 3, 3], "f32"));
    held.push(weight);
    const kernel = { cOut, cIn, kh: 3, kw: 3 };
    device.run("packConv", { x: put(cOut * cIn * 9, 7), out: weight, ...kernel, xType: "f32", outType: "f32" });
    const out = space(2 * outH * outW * cOut);
    device.run("conv2d", {
      ...{ x: put(2 * h * w * cIn, 8), weight, out, bias: put(cOut, 9), activation: "silu", batch: 2, h, w, ...kernel },
      ...{ stride, upsample, padTop: 1, padLeft: 1, outH, outW, wType: "f32" },
    });
    await keep(`conv2d ${cIn} ${cOut} ${stride} ${upsample}`, out, 2 * outH * outW * cOut);
  }
  for (const [cIn, cOut, stride] of [[3, 20, 1], [64, 72, 1], [64, 72, 2]]) {
    const [h, w] = [36, 50];
    const [outH, outW] = [h / stride, w / stride];
    const out = space(cOut * cIn * 9);
    device.run("conv2dWeightGradient", {
      ...{ x: put(2 * h * w * cIn, 55), upstream: put(2 * outH * outW * cOut, 56), out, batch: 2, h, w, cIn, cOut },
      ...{ kh: 3, kw: 3, stride, upsample: 1, padTop: 1, padLeft: 1, outH, outW },
    });
    await keep(`conv2dWeightGradient ${cIn} ${cOut} ${stride}`, out, cOut * cIn * 9);
  }
  {
    const [batch, heads, headDim, l] = [2, 5, 44, 301];
    const size = batch * heads * headDim * l;
    const out = space(size);
    device.run("attention", {
      ...{ q: put(size, 10), k: put(size, 11), v: put(size, 12), out, visible: integers(l, (i) => i + 1) },
      ...{ batch, heads, headDim, lq: l, lk: l, kvCapacity: l, scale: 0.7 },
    });
    await keep("attention", out, size);
  }
  {
    const [batch, heads, headDim, l] = [2, 5, 44, 301];
    const size = batch * heads * headDim * l;
    const out = { dq: space(size), dk: space(size), dv: space(size) };
    device.run("attentionGradient", {
      ...{ q: put(size, 10), k: put(size, 11), v: put(size, 12), upstream: put(size, 60), ...out },
      ...{ visible: integers(l, (i) => i + 1), batch, heads, headDim, lq: l, lk: l, kvCapacity: l, scale: 0.7 },
    });
    results.set("attentionGradient: dk", new Uint8Array(await device.read(out.dk, size * 4)));
    await keep("attentionGradient", out.dq, size);
  }
  {
    const out = space(500);
    const codebook = put(1030 * 48, 14);
    device.run("nearestCode", { x: put(500 * 48, 13), codebook, out, rows: 500, codes: 1030, c: 48 });
    await keep("nearestCode", out, 500);
  }
  for (const activation of ["none", "silu"] as const) {
    const [batch, hw, c] = [2, 5003, 64];
    const out = space(batch * hw * c);
    device.run("groupNorm", {
      ...{ x: put(batch * hw * c, 15), gamma: put(c, 16), beta: put(c, 17), out, batch, hw, c, groups: 16, eps: 1e-6 },
      activation,
    });
    await keep(`groupNorm ${activation}`, out, batch * hw * c);
  }
  for (const activation of ["none", "silu"] as const) {
    const [batch, hw, c] = [2, 5003, 64];
    const inputs = {
      x: put(batch * hw * c, 15),
      upstream: put(batch * hw * c, 52),
      gamma: put(c, 16),
      beta: put(c, 17),
    };
    const out = { dx: space(batch * hw * c), dGamma: space(c), dBeta: space(c) };
    device.run("groupNormGradient", { ...inputs, ...out, batch, hw, c, groups: 16, eps: 1e-6, activation });
    results.set(`groupNormGradient ${activation}: dGamma`, new Uint8Array(await device.read(out.dGamma, c * 4)));
    await keep(`groupNormGradient ${activation}`, out.dx, batch * hw * c);
  }
  const [rows, n] = [700, 1001];
  for (
    const name of ["layerNorm", "l2Normalize", "softmax", "logSoftmax", "logSoftmaxGather", "topK", "argmax"] as const
  ) {
    const x = put(rows * n, 18);
    const out = space(rows * n);
    if (name === "layerNorm") {
      const scale = { data: put(n, 19), seq: rows, batchStride: 0, rowStride: 0, offset: 0 };
      device.run("layerNorm", { x, out, rows, n, eps: 1e-6, scale });
    } else if (name === "l2Normalize") device.run("l2Normalize", { x, out, rows, n, eps: 1e-12 });
    else if (name === "logSoftmaxGather") {
      device.run("logSoftmaxGather", { x, index: integers(rows, (i) => i), out, rows, n });
    } else if (name === "topK") device.run("topK", { x, values: space(rows * 50), indices: out, rows, n, k: 50 });
    else if (name === "argmax") device.run("argReduce", { op: "argmax", x, out, outer: rows, n, inner: 1 });
    else device.run("softmax", { x, out, rows, n, log: name === "logSoftmax" });
    const size = name === "topK" ? rows * 50 : name === "logSoftmaxGather" || name === "argmax" ? rows : rows * n;
    await keep(name, out, size);
  }
  {
    const scale = { data: put(n, 19), seq: rows, batchStride: 0, rowStride: 0, offset: 0 };
    const out = { dx: space(rows * n), dGamma: space(n) };
    const inputs = { x: put(rows * n, 18), upstream: put(rows * n, 53), gamma: put(n, 54), scale };
    device.run("layerNormGradient", { ...inputs, ...out, rows, n, eps: 1e-6 });
    results.set("layerNormGradient: dGamma", new Uint8Array(await device.read(out.dGamma, n * 4)));
    await keep("layerNormGradient", out.dx, rows * n);
  }
  for (const [outer, length, inner] of [[1, 700_700, 1], [700, 1001, 1], [7, 1001, 100]]) {
    for (const op of ["sum", "max"] as const) {
      const out = space(outer * inner);
      device.run("reduce", { op, x: put(rows * n, 20), out, outer, n: length, inner });
      await keep(`reduce ${op} ${outer} ${inner}`, out, outer * inner);
    }
  }
  for (const op of ["exp", "tanh", "gelu", "affine", "elu"]) {
    const out = space(rows * n);
    device.run("unary", { op, x: put(rows * n, 21), out, n: rows * n, a: 3, b: 1 });
    await keep(`unary ${op}`, out, rows * n);
  }
  {
    const out = space(rows * n);
    const strides = { xStrides: [n, 1], yStrides: [0, 1] };
    device.run("binary", { op: "div", x: put(rows * n, 22), y: put(n, 23), out, shape: [rows, n], ...strides });
    await keep("binary", out, rows * n);
  }
  {
    const out = space(rows * n);
    const strides = { xStrides: [1, rows], xOffset: 0, outStrides: [n, 1], outOffset: 0 };
    device.run("stridedCopy", { x: put(rows * n, 24), out, shape: [rows, n], ...strides });
    await keep("stridedCopy", out, rows * n);
  }
  {
    const [parameter, first, second] = [put(rows * n, 57), put(rows * n, 58), space(rows * n)];
    device.run("fill", { out: second, n: rows * n, value: 0.5, dtype: "f32" });
    device.run("adam", {
      ...{ parameter, first, second, gradient: put(rows * n, 59), n: rows * n, beta1: 0.9, beta2: 0.99, l2: 0.1 },
      ...{ decay: 0.9, stepSize: 0.1, correction: 0.1, eps: 1e-8 },
    });
    await keep("adam", parameter, rows * n);
  }
  {
    const out = space(100 * 80 * 20);
    device.run("avgPool2d", { x: put(200 * 160 * 20, 25), out, batch: 1, h: 200, w: 160, c: 20, k: 2 });
    await keep("avgPool2d", out, 100 * 80 * 20);
  }
  {
    const out = space(3000 * 100);
    const index = integers(3000, (i) => i * 7 % 300);
    device.run("gatherRows", { x: put(300 * 100, 26), index, out, rows: 3000, rowsX: 300, n: 100, xType: "f32" });
    await keep("gatherRows", out, 3000 * 100);
  }
  return results;
}

/** Makes a device start its workers, and resolves when all of them take part. Rejects after two minutes. */
export async function workersUp(device: CpuDevice): Promise<void> {
  const n = 1 << 20;
  const [x, out] = [device.alloc(n * 4), device.alloc(n * 4)];
  for (const end = Date.now() + 120_000; device.workers < device.threads - 1;) {
    if (Date.now() > end) throw new Error(`only ${device.workers} of ${device.threads - 1} workers have started`);
    device.run("unary", { op: "tanh", x, out, n, a: 0, b: 0 });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  device.free(x);
  device.free(out);
}
