/**
 * The references themselves, against values worked out by hand or taken from tables: an oracle that is wrong in the same
 * way as a device would hide both.
 */
import assert from "node:assert/strict";
import { references } from "./reference.ts";
import { erf, unaryFunctions } from "./reference_elementwise.ts";

const close = (got: number, expected: number, tolerance = 1e-13) =>
  assert.ok(Math.abs(got - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${got}, expected ${expected}`);

Deno.test("erf() agrees with tabulated values", () => {
  // Abramowitz and Stegun, table 7.1, and 1 - erfc(x) beyond it.
  close(erf(0), 0);
  close(erf(0.5), 0.5204998778130465);
  close(erf(1), 0.8427007929497149);
  close(erf(2), 0.9953222650189527);
  close(erf(3), 0.9999779095030014);
  close(erf(2 - 1e-13), erf(2), 1e-14); // where the two formulas meet
  close(erf(4), 0.9999999845827421);
  close(erf(-1), -0.8427007929497149);
});

Deno.test("activations agree with values computed by PyTorch's definitions", () => {
  close(unaryFunctions.gelu(1, 0, 0), 0.8413447460685429);
  close(unaryFunctions.geluTanh(1, 0, 0), 0.8411919906082768);
  close(unaryFunctions.silu(1, 0, 0), 0.7310585786300049);
  close(unaryFunctions.elu(-1, 0, 0), Math.exp(-1) - 1);
});

Deno.test("matmul reference: transposes, bias, gate and residual by hand", () => {
  const { out } = references.matmul({
    a: Float32Array.of(1, 2, 3, 4), // stored [k, m]: A = [[1, 3], [2, 4]]
    b: Float32Array.of(5, 6, 7, 8), // stored [n, k]: B = [[5, 7], [6, 8]]
    ...{ batch: 1, m: 2, n: 2, k: 2, aBatchStride: 4, bBatchStride: 4 },
    ...{ transA: true, transB: true, packed: false, bType: "f32" },
    epilogue: {
      bias: Float32Array.of(1, -1),
      activation: "relu",
      gate: { data: Float32Array.of(9, 2, -1, 9), seq: 2, batchStride: 0, rowStride: 1, offset: 0 },
      residual: Float32Array.of(0.5, 0, 0, 0),
    },
  });
  // AB + bias = [[24, 30], [35, 45]]; gate rows are [9, 2] and [2, -1].
  assert.deepEqual([...out], [24 * 9 + 0.5, 30 * 2, 35 * 2, -45]);
});

Deno.test("conv2d reference: asymmetric padding, stride and upsampling by hand", () => {
  const sizes = { batch: 1, h: 2, w: 2, cIn: 1, cOut: 1, kh: 2, kw: 2, padTop: 0, padLeft: 0, wType: "f32" as const };
  const x = Float32Array.of(1, 2, 3, 4);
  const weight = Float32Array.of(1, 10, 100, 1000);
  const bias = Float32Array.of(0.5);
  const shared = { ...sizes, x, weight, bias, activation: "none" as const };
  const plain = references.conv2d({ ...shared, stride: 1, upsample: 1, outH: 2, outW: 2 });
  assert.deepEqual([...plain.out], [4321.5, 402.5, 43.5, 4.5]);
  // Upsampled rows: 1 1 2 2 / 1 1 2 2 / 3 3 4 4 / 3 3 4 4.
  const up = references.conv2d({ ...shared, stride: 2, upsample: 2, padTop: 1, padLeft: 1, outH: 2, outW: 2 });
  assert.deepEqual([...up.out], [1000.5, 1000 * 2 + 100 + 0.5, 1000 * 3 + 10 + 0.5, 1000 * 4 + 100 * 3 + 10 * 2 + 1.5]);
});

Deno.test("norm references by hand", () => {
  const x = Float32Array.of(1, 3, 10, 10);
  const one = Float32Array.of(2, 2);
  const ln = references.layerNorm({ x, rows: 2, n: 2, eps: 0, gamma: one, beta: undefined });
  assert.deepEqual([...ln.out].slice(0, 2), [-2, 2]);
  const gn = references.groupNorm({
    x, // [hw 2, c 2]: channel 0 is 1, 10; channel 1 is 3, 10
    gamma: Float32Array.of(1, 1),
    beta: Float32Array.of(0, 5),
    ...{ batch: 1, hw: 2, c: 2, groups: 2, eps: 0, activation: "none" },
  });
  assert.deepEqual([...gn.out], [-1, 4, 1, 6]);
  close(references.softmax({ x, rows: 2, n: 2, log: false }).out[1], 1 / (1 + Math.exp(-2)));
  close(references.l2Normalize({ x: Float32Array.of(3, 4), rows: 1, n: 2, eps: 1 }).out[0], 0.6);
});

Deno.test("attention reference by hand: the second query sees both keys, the first only one", () => {
  const { out } = references.attention({
    q: Float32Array.of(1, 1),
    k: Float32Array.of(0, Math.log(3), NaN),
    v: Float32Array.of(2, 6, NaN),
    visible: Int32Array.of(1, 2),
    ...{ batch: 1, heads: 1, headDim: 1, lq: 2, lk: 2, kvCapacity: 3, scale: 1 },
  });
  close(out[0], 2);
  close(out[1], 5, 1e-7);
});

Deno.test("picking references take the first of ties", () => {
  const x = Float32Array.of(2, 7, 7, 1, 7);
  assert.deepEqual([...references.topK({ x, rows: 1, n: 5, k: 4 }).indices], [1, 2, 4, 0]);
  assert.deepEqual([...references.argReduce({ op: "argmax", x, outer: 1, n: 5, inner: 1 }).out], [1]);
  const codebook = Float32Array.of(4, 2, 0, 2);
  assert.deepEqual([...references.nearestCode({ x: Float32Array.of(1, 3), codebook, rows: 2, codes: 4, c: 1 }).out], [
    1,
    0,
  ]);
});
