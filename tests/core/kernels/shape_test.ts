/**
 * The kernels that move, pick or reduce elements against the reference: copies, gathers, reductions, top-k, nearest code.
 * What they pick must be exactly the reference's choice, ties included.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { stridesOf } from "../../../core/tensor/shape.ts";
import { agrees, byKind, edgeSize, F32_ROUNDING, forAll, Inputs, runKernel, seed, sumTolerance } from "./check.ts";
import { codeDistances, nearestCode } from "./reference_shape.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

/** A block of one contiguous tensor to be copied into a region of another, with permuted axes. */
const blockCopy = fc.integer({ min: 1, max: 6 }).chain((rank) =>
  fc.record({
    shape: fc.array(fc.constantFrom(1, 2, 3, 4, 5), { minLength: rank, maxLength: rank }),
    before: fc.array(fc.nat(2), { minLength: rank, maxLength: rank }),
    after: fc.array(fc.nat(2), { minLength: rank, maxLength: rank }),
    order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5].slice(0, rank), { minLength: rank, maxLength: rank }),
    integers: fc.boolean(),
    seed,
  })
);

withDevices("stridedCopy moves a permuted block into a region and leaves the rest untouched", async (device) => {
  await forAll(device, blockCopy, { cpu: 150, webgpu: 30 }, async ({ shape, before, after, order, integers, seed }) => {
    const inputs = new Inputs(seed);
    // x holds the axes in `order`; out has a border around the region that is written.
    const xShape = order.map((axis) => shape[axis] + after[axis]);
    const xHeld = stridesOf(xShape);
    const xStrides = shape.map((_, axis) => xHeld[order.indexOf(axis)]);
    const xOffset = shape.reduce((sum, _, axis) => sum + after[axis] * xStrides[axis], 0);
    const outShape = shape.map((d, axis) => before[axis] + d + after[axis]);
    const outStrides = stridesOf(outShape);
    const outOffset = before.reduce((sum, b, axis) => sum + b * outStrides[axis], 0);
    const xSize = xShape.reduce((p, d) => p * d, 1);
    const outSize = outShape.reduce((p, d) => p * d, 1);
    // Integers above 2^24 show a copy that goes through floats.
    const x = integers ? inputs.i32(xSize, 2 ** 30, 2 ** 31 - 1) : inputs.f32(xSize);
    const out = integers ? inputs.i32(outSize, -(2 ** 31), -(2 ** 30)) : inputs.f32(outSize);
    await agrees(device, "stridedCopy", { x, out, shape, xStrides, xOffset, outStrides, outOffset });
  });
}, targets);

withDevices("stridedCopy copies NaN bit patterns of integers unchanged", async (device) => {
  const x = Int32Array.of(0x7f80_0001, 0x7fc0_1234, -1, 1, 0x7f80_0000 | 0, 5); // signalling NaN, NaN, NaN, subnormal, inf
  const out = new Int32Array(6);
  await agrees(device, "stridedCopy", {
    x,
    out,
    shape: [2, 3],
    xStrides: [1, 2],
    xOffset: 0,
    outStrides: [3, 1],
    outOffset: 0,
  });
}, targets);

withDevices("stridedCopy repeats elements where a stride is zero", async (device) => {
  const inputs = new Inputs(3);
  const out = new Float32Array(2 * 5 * 33);
  const x = inputs.f32(2 * 33);
  await agrees(device, "stridedCopy", {
    x,
    out,
    shape: [2, 5, 33],
    xStrides: [33, 0, 1],
    xOffset: 0,
    outStrides: [165, 33, 1],
    outOffset: 0,
  });
  const all = { shape: [330], xStrides: [0], xOffset: 7, outStrides: [1], outOffset: 0 };
  await agrees(device, "stridedCopy", { x, out, ...all });
}, targets);

withDevices("stridedCopy moves large tensors: contiguous, transposed, columns", async (device) => {
  const [h, w] = [523, 641];
  const x = new Inputs(4).f32(h * w);
  const out = new Float32Array(h * w);
  await agrees(device, "stridedCopy", {
    x,
    out,
    shape: [h * w],
    xStrides: [1],
    xOffset: 0,
    outStrides: [1],
    outOffset: 0,
  });
  await agrees(device, "stridedCopy", {
    x,
    out,
    shape: [w, h],
    xStrides: [1, w],
    xOffset: 0,
    outStrides: [h, 1],
    outOffset: 0,
  });
  await agrees(device, "stridedCopy", {
    x,
    out,
    shape: [h, 8],
    xStrides: [w, 1],
    xOffset: 13,
    outStrides: [w, 1],
    outOffset: 300,
  });
}, targets);

const reduction = fc.record({
  outer: edgeSize,
  n: fc.oneof(edgeSize, fc.constantFrom(1, 64, 255, 256, 257, 1000)),
  inner: fc.constantFrom(1, 1, 2, 3, 4, 5, 16, 33, 64),
  seed,
});

for (const op of ["sum", "mean", "max", "min"] as const) {
  withDevices(`reduce ${op} agrees with the reference along any axis`, async (device) => {
    const examples = [
      { outer: 1, n: 70_001, inner: 1, seed: 1 },
      { outer: 2, n: 4099, inner: 3, seed: 2 },
      { outer: 1, n: 1, inner: 1, seed: 3 },
      { outer: 300, n: 1, inner: 1, seed: 3 },
    ];
    await forAll(device, reduction, { cpu: 50, webgpu: 15 }, async ({ outer, n, inner, seed }) => {
      const x = new Inputs(seed).f32(outer * n * inner, -1, 1);
      // The terms are of size 1, so a sum that cancels still carries roundings of partial sums of about sqrt(n).
      const floor = op === "sum" ? Math.sqrt(n) : 1 / Math.sqrt(n);
      const tolerance = op === "max" || op === "min" ? undefined : sumTolerance(device, n, floor);
      await agrees(device, "reduce", { op, x, outer, n, inner }, tolerance);
    }, examples);
  }, targets);
}

withDevices("reduce finds extremes among values of one sign", async (device) => {
  const inputs = new Inputs(9);
  for (const n of [1, 5, 64, 300]) {
    const x = inputs.f32(7 * n, -9, -8);
    await agrees(device, "reduce", { op: "max", x, outer: 7, n, inner: 1 });
    await agrees(device, "reduce", { op: "min", x: x.map((v) => -v), outer: 7, n, inner: 1 });
    await agrees(device, "reduce", { op: "max", x: x.map((v) => v * 1e37), outer: 1, n, inner: 7 });
  }
}, targets);

withDevices("argReduce takes the first of equal extremes along any axis", async (device) => {
  const examples = [{ outer: 1, n: 4096, inner: 1, seed: 1 }, { outer: 3, n: 1024, inner: 1, seed: 2 }];
  await forAll(device, reduction, { cpu: 60, webgpu: 15 }, async ({ outer, n, inner, seed }) => {
    const x = new Inputs(seed).wholeF32(outer * n * inner, -3, 0);
    await agrees(device, "argReduce", { op: "argmax", x, outer, n, inner });
    await agrees(device, "argReduce", { op: "argmin", x, outer, n, inner });
  }, examples);
}, targets);

withDevices("argReduce takes index 0 of constant rows and separates neighbouring floats", async (device) => {
  const n = 517;
  const constant = new Float32Array(3 * n).fill(-1e30);
  await agrees(device, "argReduce", { op: "argmax", x: constant, outer: 3, n, inner: 1 });
  await agrees(device, "argReduce", { op: "argmin", x: constant, outer: 3, n, inner: 1 });
  const near = new Float32Array(n).fill(1);
  near[400] = 1 + 2 ** -23;
  near[60] = 1 - 2 ** -24;
  await agrees(device, "argReduce", { op: "argmax", x: near, outer: 1, n, inner: 1 });
  await agrees(device, "argReduce", { op: "argmin", x: near, outer: 1, n, inner: 1 });
}, targets);

const topKCase = fc.record({
  rows: fc.constantFrom(1, 2, 3, 7),
  n: fc.oneof(edgeSize, fc.constantFrom(64, 257, 1000, 1024)),
  share: fc.double({ min: 0, max: 1, noNaN: true }),
  ties: fc.boolean(),
  seed,
});

withDevices("topK is descending with ties by lower index", async (device) => {
  const examples = [
    { rows: 2, n: 4096, share: 0.22, ties: false, seed: 1 }, // VAR's sampler: the 900 best of 4096
    { rows: 3, n: 1024, share: 1, ties: true, seed: 2 },
    { rows: 1, n: 1, share: 1, ties: false, seed: 3 },
  ];
  await forAll(device, topKCase, { cpu: 60, webgpu: 15 }, async ({ rows, n, share, ties, seed }) => {
    const inputs = new Inputs(seed);
    const x = ties ? inputs.wholeF32(rows * n, -3, 2) : inputs.f32(rows * n, -10, 10);
    const k = Math.max(1, Math.round(share * n));
    await agrees(device, "topK", { x, rows, n, k });
  }, examples);
}, targets);

const gather = fc.record({
  rows: edgeSize,
  rowsX: edgeSize,
  n: edgeSize,
  xType: fc.constantFrom("f32" as const, "f16" as const, "i32" as const),
  seed,
});

withDevices("gatherRows picks rows of every type and clamps indices", async (device) => {
  const examples = [
    { rows: 7, rowsX: 5, n: 3, xType: "f16" as const, seed: 1 },
    { rows: 256, rowsX: 1024, n: 256, xType: "f32" as const, seed: 2 },
    { rows: 3, rowsX: 4, n: 1, xType: "i32" as const, seed: 3 },
  ];
  await forAll(device, gather, { cpu: 60, webgpu: 20 }, async ({ rows, rowsX, n, xType, seed }) => {
    const inputs = new Inputs(seed);
    const size = rowsX * n;
    const x = xType === "i32"
      ? inputs.i32(size, 2 ** 30, 2 ** 31 - 1)
      : xType === "f16"
      ? inputs.f16(size)
      : inputs.f32(size);
    const index = inputs.i32(rows, -2, rowsX + 1);
    await agrees(device, "gatherRows", { x, index, rows, rowsX, n, xType });
  }, examples);
}, targets);

const codes = fc.record({
  rows: edgeSize,
  codes: fc.oneof(edgeSize, fc.constantFrom(64, 100, 257)),
  c: fc.oneof(edgeSize, fc.constantFrom(1, 32, 64, 256)),
  seed,
});

const codeExamples = [
  { rows: 70, codes: 1024, c: 256, seed: 1 }, // MaskGIT-VQ
  { rows: 100, codes: 4096, c: 32, seed: 2 }, // VQVAE
  { rows: 1, codes: 1, c: 1, seed: 3 },
];

withDevices("nearestCode finds a code at the least distance", async (device) => {
  await forAll(device, codes, { cpu: 40, webgpu: 12 }, async ({ rows, codes, c, seed }) => {
    const inputs = new Inputs(seed);
    const args = { x: inputs.f32(rows * c), codebook: inputs.f32(codes * c), rows, codes, c };
    const { out } = await runKernel(device, "nearestCode", args, nearestCode(args));
    // |code|^2 - 2 x.code is a float32 sum of c terms of size up to c; two codes closer than its error may swap.
    const error = byKind(device, { cpu: 8, webgpu: 16 }) * F32_ROUNDING * Math.sqrt(c) * (c / 3 + Math.sqrt(c));
    out.forEach((code, r) => {
      const distances = codeDistances(args.x, args.codebook, codes, c, r);
      const excess = distances[code] - Math.min(...distances);
      assert.ok(excess <= error, `row ${r}: code ${code} of ${codes} is ${excess} further than the nearest (c = ${c})`);
    });
  }, codeExamples);
}, targets);

withDevices("nearestCode takes the first of equally near codes", async (device) => {
  // Whole numbers: sums are exact in any order, so equal distances are equal in float32.
  await forAll(device, codes, { cpu: 40, webgpu: 12 }, async ({ rows, codes, c, seed }) => {
    const inputs = new Inputs(seed);
    const few = Math.min(c, 3);
    const codebook = new Float32Array(codes * c);
    for (let v = 0; v < codes; v++) for (let i = 0; i < few; i++) codebook[v * c + i] = inputs.int(-1, 1);
    await agrees(device, "nearestCode", { x: inputs.wholeF32(rows * c, -2, 2), codebook, rows, codes, c });
  }, codeExamples);
}, targets);

const pooling = fc.record({
  batch: fc.constantFrom(1, 2),
  h: fc.integer({ min: 1, max: 13 }),
  w: fc.integer({ min: 1, max: 13 }),
  c: fc.constantFrom(1, 3, 4, 5, 16, 33),
  k: fc.constantFrom(1, 2, 3, 4),
  seed,
});

withDevices("avgPool2d averages whole blocks and drops incomplete ones", async (device) => {
  await forAll(device, pooling, { cpu: 60, webgpu: 15 }, async ({ batch, h, w, c, k, seed }) => {
    fc.pre(h >= k && w >= k);
    const x = new Inputs(seed).f32(batch * h * w * c);
    await agrees(device, "avgPool2d", { x, batch, h, w, c, k }, sumTolerance(device, k * k, 1 / k));
  }, [{ batch: 2, h: 7, w: 9, c: 5, k: 2, seed: 1 }, { batch: 1, h: 32, w: 32, c: 128, k: 2, seed: 2 }]);
}, targets);
