/**
 * fill, unary, binary, cast and adam against the reference, on every device.
 * Tolerances of the functions follow the accuracy that the WGSL specification grants to its built-ins.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type BinaryName, binaryRows, type UnaryName, unaryRows } from "../../../core/tensor/elementwise.ts";
import type { DType } from "../../../core/tensor/kernels.ts";
import { stridesOf } from "../../../core/tensor/shape.ts";
import { agrees, byKind, dtypes, edgeSize, forAll, Inputs, seed } from "./check.ts";
import type { HostArray } from "./reference.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

withDevices("fill writes floats and integer bit patterns", async (device) => {
  for (const n of [1, 3, 64, 1025, 70_001]) {
    await agrees(device, "fill", { n, value: -2.5, dtype: "f32" });
    await agrees(device, "fill", { n, value: 0, dtype: "f32" });
    await agrees(device, "fill", { n, value: -7 >>> 0, dtype: "i32" });
    await agrees(device, "fill", { n, value: 0xffff_fffe, dtype: "u32" });
  }
  // A value that float32 cannot hold: it must not pass through a float on its way.
  await agrees(device, "fill", { n: 5, value: 16_777_217, dtype: "i32" });
});

interface UnaryCase {
  /** Inputs are uniform in this range. */
  readonly range: readonly [number, number];
  /** Further inputs: limits, overflow of naive formulas. */
  readonly edges: readonly number[];
  /** Parameters (a, b), each pair tried. */
  readonly parameters?: readonly (readonly [number, number])[];
  readonly cpu: number;
  readonly webgpu: number;
  /** Magnitude below which errors are absolute. */
  readonly floor: number;
}

/**
 * Roundings of 2^-24 per element. 0: exact or a single rounded operation. WGSL: division 2.5 ulp = 5 roundings, sqrt as
 * 1/inverseSqrt 4.5 ulp, exp 3 + 2|x| ulp, log 2^-21 absolute near 1, pow as exp2(y log2 x). Functions made of exp are
 * bounded absolutely around 1: where exp is inaccurate (large |x|) their results are near 0 or the identity.
 */
const unaryCases: Record<UnaryName, UnaryCase> = {
  neg: { range: [-5, 5], edges: [0, 1e30], cpu: 0, webgpu: 0, floor: 0 },
  abs: { range: [-5, 5], edges: [0, -1e30], cpu: 0, webgpu: 0, floor: 0 },
  exp: { range: [-20, 20], edges: [0, 80, -80, -1e4], cpu: 4, webgpu: 90, floor: 1e-30 },
  log: { range: [1e-3, 50], edges: [1, 1e-30, 1e30, 1.000001], cpu: 4, webgpu: 8, floor: 1 },
  sqrt: { range: [0, 100], edges: [0, 1, 4, 1e-30, 1e30], cpu: 1, webgpu: 9, floor: 1e-18 },
  square: { range: [-5, 5], edges: [0, 1e15], cpu: 1, webgpu: 1, floor: 1e-30 },
  reciprocal: { range: [0.1, 9], edges: [-3, 1e-30, 1e30], cpu: 1, webgpu: 5, floor: 0 },
  floor: { range: [-5, 5], edges: [0, -1, 2, -0.5, 1e9, -1e9], cpu: 0, webgpu: 0, floor: 0 },
  tanh: { range: [-4, 4], edges: [0, 30, -30, 1e4, -1e4], cpu: 4, webgpu: 16, floor: 1 },
  sigmoid: { range: [-10, 10], edges: [0, 100, -100, 1e4, -1e4], cpu: 4, webgpu: 16, floor: 1 },
  relu: { range: [-5, 5], edges: [0, -1e9, 1e9], cpu: 0, webgpu: 0, floor: 0 },
  elu: { range: [-8, 8], edges: [0, -1e4, 1e4, 1e-5, -1e-5], cpu: 4, webgpu: 16, floor: 1 },
  silu: { range: [-10, 10], edges: [0, 100, -100, 1e4, -1e4], cpu: 4, webgpu: 16, floor: 1 },
  gelu: { range: [-6, 6], edges: [0, 30, -30, 1e4, -1e4, 0.001, -0.001], cpu: 8, webgpu: 16, floor: 1 },
  geluTanh: { range: [-6, 6], edges: [0, 30, -30, 1e4, -1e4, 0.001], cpu: 8, webgpu: 16, floor: 1 },
  affine: { range: [-3, 3], edges: [0], parameters: [[2.5, -1], [0, 3], [1, 0]], cpu: 4, webgpu: 4, floor: 8.5 },
  clamp: { range: [-3, 3], edges: [0, 1e9, -1e9], parameters: [[-1, 1], [0, 2.5]], cpu: 0, webgpu: 0, floor: 0 },
  power: {
    range: [0, 4],
    edges: [0, 1, 100],
    parameters: [[0.5, 0], [2, 0], [2.5, 0]],
    cpu: 4,
    webgpu: 64,
    floor: 1e-6,
  },
};

withDevices("unary agrees with the reference for every row of the table", async (device) => {
  for (const op of Object.keys(unaryRows) as UnaryName[]) {
    const { range, edges, parameters = [[0, 0]], floor, ...allowed } = unaryCases[op];
    for (const [a, b] of parameters) {
      for (const n of [1, edges.length, 1031]) {
        const x = new Inputs(n).f32(Math.max(n, 1), ...range);
        if (n > 1) x.set(edges);
        // Parameters are f32 on the device.
        const at = { a: Math.fround(a), b: Math.fround(b) };
        await agrees(device, "unary", { op, x, n, ...at }, { roundings: byKind(device, allowed), floor, each: true });
      }
    }
  }
});

withDevices("unary covers more elements than one dispatch dimension of workgroups", async (device) => {
  const n = 5_000_011; // more than 65,535 workgroups of 64
  await agrees(device, "unary", { op: "affine", x: new Inputs(1).wholeF32(n, -9, 9), n, a: 2, b: 1 });
});

/** Operands of random rank with broadcast (stride 0) and transposed dimensions. */
const binaryOperands = fc.record({
  shape: fc.array(fc.constantFrom<number[]>(1, 2, 3, 4, 5, 7), { minLength: 1, maxLength: 6 }),
  xRepeats: fc.nat(63),
  yRepeats: fc.nat(63),
  transpose: fc.boolean(),
  seed,
});

/** Strides over `shape` for a contiguous operand that lacks the dimensions in the bit set `repeats`. */
function operandStrides(shape: readonly number[], repeats: number, transpose: boolean): number[] {
  const held = shape.map((d, i) => (repeats >> i) & 1 ? 1 : d);
  const strides = transpose ? stridesOf(held.toReversed()).toReversed() : stridesOf(held);
  return strides.map((s, i) => (repeats >> i) & 1 ? 0 : s);
}

const isGradient = (op: string) => op.endsWith("Gradient");

for (const op of (Object.keys(binaryRows) as BinaryName[]).filter((op) => !isGradient(op))) {
  withDevices(`binary ${op} agrees with the reference for broadcast and transposed operands`, async (device) => {
    await forAll(
      device,
      binaryOperands,
      { cpu: 40, webgpu: 8 },
      async ({ shape, xRepeats, yRepeats, transpose, seed }) => {
        const inputs = new Inputs(seed);
        const size = shape.reduce((p, d) => p * d, 1);
        // Whole numbers tie often, which the comparisons need.
        const x = inputs.wholeF32(size, -4, 4);
        const y = op === "div" ? inputs.f32(size, 0.5, 4) : inputs.wholeF32(size, -4, 4);
        const xStrides = operandStrides(shape, xRepeats, false);
        const yStrides = operandStrides(shape, yRepeats, transpose);
        const roundings = op === "div" ? byKind(device, { cpu: 1, webgpu: 5 }) : 0;
        await agrees(device, "binary", { op, x, y, shape, xStrides, yStrides }, { roundings, each: true });
      },
    );
  });
}

/** Ranges in which a derivative has no pole, where they are narrower than the function's own. */
const gradientRanges: Partial<Record<UnaryName, readonly [number, number]>> = {
  exp: [-10, 10],
  log: [0.05, 50],
  sqrt: [0.05, 100],
  reciprocal: [0.2, 9],
};

withDevices("binary gradient rows agree with differences of the functions", async (device) => {
  for (const op of (Object.keys(binaryRows) as BinaryName[]).filter(isGradient)) {
    const name = op.replace(/Gradient$/, "") as UnaryName;
    const n = 1031;
    const inputs = new Inputs(n);
    const x = inputs.f32(n, ...(gradientRanges[name] ?? unaryCases[name].range));
    if (!gradientRanges[name]) x.set([0, 30, -30]); // the kinks at 0, the flat ends
    const args = { op, x, y: inputs.f32(n, 0.5, 2), shape: [n], xStrides: [1], yStrides: [1] };
    // A few operations and calls each, like the functions; products of them cancel around 1. exp(10) in WGSL: 23 ulp.
    const roundings = byKind(device, { cpu: 16, webgpu: name === "exp" ? 64 : 32 });
    await agrees(device, "binary", args, { roundings, each: true, floor: 1 });
  }
});

withDevices("binary adds large contiguous operands and a repeated row", async (device) => {
  const inputs = new Inputs(5);
  const shape = [1031, 67];
  const x = inputs.f32(1031 * 67);
  const rounded = { roundings: 1, each: true };
  const y = inputs.f32(1031 * 67);
  await agrees(device, "binary", { op: "add", x, y, shape: [1031 * 67], xStrides: [1], yStrides: [1] }, rounded);
  await agrees(
    device,
    "binary",
    { op: "mul", x, y: inputs.f32(67), shape, xStrides: [67, 1], yStrides: [0, 1] },
    rounded,
  );
  await agrees(
    device,
    "binary",
    { op: "sub", x: inputs.f32(1), y, shape, xStrides: [0, 0], yStrides: [67, 1] },
    rounded,
  );
});

/** Values of type `from` that `to` can represent after rounding. */
function castInputs(from: DType, to: DType, n: number): HostArray {
  const inputs = new Inputs(n);
  const low = from === "u32" || to === "u32" ? 0 : -2000;
  if (from === "i32") return inputs.i32(n, low, 2000);
  if (from === "u32") return Uint32Array.from(inputs.i32(n, low, 2000));
  return from === "f16" ? inputs.f16(n, low, 2000) : inputs.f32(n, low, 2000);
}

withDevices("cast agrees with the reference between all pairs of types", async (device) => {
  for (const from of dtypes) {
    for (const to of dtypes) {
      for (const n of [1, 2, 7, 1031]) {
        // WGSL leaves the direction of rounding to f16 open: one unit in the last place, two half-roundings.
        const roundings = from === "f32" && to === "f16" ? byKind(device, { cpu: 0, webgpu: 2 }) : 0;
        await agrees(device, "cast", { x: castInputs(from, to, n), n, from, to }, { roundings, each: true });
      }
    }
  }
});

withDevices("cast truncates towards zero and keeps large integers", async (device) => {
  const x = Float32Array.of(2.7, -2.7, 0.99, -0.99, 3, -3, 2e9, -2e9, 16_777_216);
  await agrees(device, "cast", { x, n: x.length, from: "f32", to: "i32" });
  const u = Float32Array.of(2.7, 0.99, 3, 4e9);
  await agrees(device, "cast", { x: u, n: u.length, from: "f32", to: "u32" });
  const i = Int32Array.of(-1, 2 ** 31 - 1, -(2 ** 31), 16_777_217);
  await agrees(device, "cast", { x: i, n: i.length, from: "i32", to: "u32" });
  await agrees(device, "cast", { x: i, n: i.length, from: "i32", to: "i32" });
  // 16,777,217 lies between two floats; WGSL may take either.
  await agrees(device, "cast", { x: i, n: i.length, from: "i32", to: "f32" }, { roundings: 2, each: true });
  const top = Uint32Array.of(2 ** 32 - 1, 2 ** 31, 5);
  await agrees(device, "cast", { x: top, n: top.length, from: "u32", to: "f32" }, { roundings: 2, each: true });
});

withDevices("cast reads and writes small f16 values", async (device) => {
  // The least normal f16 is 2^-14; WGSL may flush what is below to zero.
  const small = Float16Array.of(2 ** -14, -(2 ** -14), 3 * 2 ** -20, 2 ** -24, 65504, -65504, 0);
  const floor = byKind(device, { cpu: 0, webgpu: 2 ** -14 });
  const toF32 = { roundings: byKind(device, { cpu: 0, webgpu: 2 ** 24 }), floor, each: true };
  // A tolerance of the whole value would hide everything, so only the subnormal ones go with it.
  const subnormal = small.slice(2, 4);
  const normal = Float16Array.from(small).filter((v) => v === 0 || Math.abs(v) >= 2 ** -14);
  await agrees(device, "cast", { x: normal, n: normal.length, from: "f16", to: "f32" });
  await agrees(device, "cast", { x: subnormal, n: 2, from: "f16", to: "f32" }, toF32);
  const back = Float32Array.from(normal);
  await agrees(device, "cast", { x: back, n: back.length, from: "f32", to: "f16" });
});

withDevices("unary and binary refuse a function that is not in the tables", async (device) => {
  const x = device.alloc(64);
  const out = device.alloc(64);
  const shape = [1];
  const reject = async (record: () => void) => {
    record();
    await device.sync();
  };
  try {
    await assert.rejects(
      () => reject(() => device.run("unary", { op: "sinh", x, out, n: 1, a: 0, b: 0 })),
      /unary.*sinh/,
    );
    await assert.rejects(
      () => reject(() => device.run("binary", { op: "xor", x, y: x, out, shape, xStrides: [1], yStrides: [1] })),
      /binary.*xor/,
    );
  } finally {
    device.free(x);
    device.free(out);
  }
});

withDevices("binary takes sizes at the edges of vectors and workgroups", async (device) => {
  await forAll(device, fc.tuple(edgeSize, edgeSize, seed), { cpu: 60, webgpu: 20 }, async ([h, w, seed]) => {
    const inputs = new Inputs(seed);
    const args = {
      op: "mul",
      x: inputs.f32(h * w),
      y: inputs.f32(h),
      shape: [h, w],
      xStrides: [w, 1],
      yStrides: [1, 0],
    };
    await agrees(device, "binary", args, { roundings: 1, each: true });
  });
});

withDevices("adam agrees with the reference, in place, at the edges of vectors and units", async (device) => {
  for (const n of [1, 3, 4, 70, 4095, 12_289]) {
    for (const [l2, decay] of [[0, 1], [0.1, 1], [0, 0.99]]) {
      const inputs = new Inputs(n);
      const gradient = inputs.f32(n), first = inputs.f32(n, -0.1, 0.1), second = inputs.f32(n, 0, 0.01);
      gradient[0] = first[0] = second[0] = 0;
      const args = {
        ...{ parameter: inputs.f32(n), first, second, gradient, n, beta1: 0.9, beta2: 0.999, l2, decay },
        ...{ stepSize: 1e-2, correction: 0.1, eps: 1e-8 },
      };
      await agrees(device, "adam", args, { roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: 1 });
    }
  }
}, targets);
