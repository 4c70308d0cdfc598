/**
 * Group, layer and L2 norms and softmax against the reference, on every device, over random shapes and awkward rows.
 */
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import { agrees, byKind, edgeSize, forAll, Inputs, seed, type Tolerance } from "./check.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

/**
 * A norm divides by a standard deviation: a rounding of an input of size `largest`, and of the mean, comes out as
 * `largest / std` roundings. That is the magnitude errors are measured against, at least `outputs`.
 */
function normTolerance(device: Device, largest: number, variance: number, eps: number, outputs = 4): Tolerance {
  return { roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: outputs + largest / Math.sqrt(variance + eps) };
}

/** The least variance among groups of `n` elements; `at(g, i)` is the index of element i of group g. */
function leastVariance(x: Float32Array, groups: number, n: number, at: (g: number, i: number) => number): number {
  let least = Infinity;
  for (let g = 0; g < groups; g++) {
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < n; i++) {
      sum += x[at(g, i)];
      squares += x[at(g, i)] ** 2;
    }
    least = Math.min(least, Math.max(0, squares / n - (sum / n) ** 2));
  }
  return least;
}

const groupNormCase = fc.record({
  batch: fc.constantFrom<number[]>(1, 2, 3),
  hw: fc.oneof(edgeSize, fc.constantFrom(64, 100, 256)),
  groups: fc.constantFrom(1, 2, 3, 4, 8, 32),
  perGroup: fc.constantFrom(1, 2, 3, 4, 5, 8),
  activation: fc.constantFrom("none" as const, "silu" as const),
  offset: fc.constantFrom(0, 0, 3, -20),
  seed,
});

withDevices("groupNorm agrees with the reference with and without SiLU", async (device) => {
  const examples = [
    { batch: 1, hw: 1024, groups: 32, perGroup: 4, activation: "silu" as const, offset: 0, seed: 1 },
    { batch: 2, hw: 35, groups: 32, perGroup: 1, activation: "none" as const, offset: 3, seed: 2 },
    { batch: 2, hw: 64, groups: 32, perGroup: 5, activation: "silu" as const, offset: 0, seed: 3 },
    { batch: 1, hw: 1, groups: 3, perGroup: 2, activation: "none" as const, offset: 0, seed: 4 },
  ];
  await forAll(
    device,
    groupNormCase,
    { cpu: 60, webgpu: 16 },
    async ({ batch, hw, groups, perGroup, activation, offset, seed }) => {
      const inputs = new Inputs(seed);
      const c = groups * perGroup;
      const x = inputs.f32(batch * hw * c, offset - 2, offset + 2);
      const gamma = inputs.f32(c, 0.5, 1.5);
      const beta = inputs.f32(c);
      const eps = 1e-6;
      const variance = leastVariance(x, batch * groups, hw * perGroup, (g, i) => {
        const pixel = Math.floor(g / groups) * hw + Math.floor(i / perGroup);
        return pixel * c + (g % groups) * perGroup + (i % perGroup);
      });
      const tolerance = normTolerance(device, Math.abs(offset) + 2, variance, eps);
      await agrees(device, "groupNorm", { x, gamma, beta, batch, hw, c, groups, eps, activation }, tolerance);
    },
    examples,
  );
}, targets);

withDevices("groupNorm is stable for a mean far larger than the deviation", async (device) => {
  const [hw, c, groups, eps] = [100, 12, 3, 1e-6];
  const inputs = new Inputs(1);
  // Mean 1000, variance 1/3: E[x^2] - E[x]^2 in float32 would lose all of it.
  const x = inputs.f32(hw * c, 999, 1001);
  const gamma = inputs.f32(c, 0.5, 1.5);
  const args = { x, gamma, beta: inputs.f32(c), batch: 1, hw, c, groups, eps, activation: "none" as const };
  await agrees(device, "groupNorm", args, normTolerance(device, 1001, 1 / 3, eps));
}, targets);

withDevices("groupNorm maps constant groups to beta", async (device) => {
  const [hw, c, groups, eps] = [36, 8, 4, 1e-6];
  const inputs = new Inputs(2);
  const args = { gamma: inputs.f32(c), beta: inputs.f32(c), batch: 1, hw, c, groups, eps, activation: "none" as const };
  await agrees(device, "groupNorm", { x: new Float32Array(hw * c), ...args });
  const x = new Float32Array(hw * c).fill(0.7);
  await agrees(device, "groupNorm", { x, ...args }, normTolerance(device, 0.7, 0, eps));
}, targets);

/** How a RowTable repeats over the rows of [batches, seq]. */
const tableKinds = ["per column", "per batch", "per position", "per row"] as const;

const layerNormCase = fc.record({
  batches: fc.constantFrom<number[]>(1, 2, 3),
  seq: fc.constantFrom<number[]>(1, 2, 5, 17),
  n: fc.oneof(edgeSize, fc.constantFrom(64, 255, 768, 1000)),
  gamma: fc.boolean(),
  beta: fc.boolean(),
  scale: fc.option(fc.constantFrom(...tableKinds), { nil: undefined }),
  shift: fc.option(fc.constantFrom(...tableKinds), { nil: undefined }),
  chunk: fc.nat(2),
  seed,
});

withDevices(
  "layerNorm agrees with the reference for every combination of gamma, beta, scale and shift",
  async (device) => {
    const base = { batches: 2, seq: 5, n: 33, chunk: 1, seed: 7 };
    const examples = [false, true].flatMap((gamma) =>
      [false, true].flatMap((beta) => [
        { ...base, gamma, beta, scale: undefined, shift: undefined },
        { ...base, gamma, beta, scale: "per batch" as const, shift: "per batch" as const },
        { ...base, gamma, beta, scale: "per row" as const, shift: undefined },
        { ...base, gamma, beta, scale: undefined, shift: "per position" as const },
      ])
    );
    await forAll(device, layerNormCase, { cpu: 80, webgpu: 24 }, async (c) => {
      const inputs = new Inputs(c.seed);
      const { n, seq } = c;
      const rows = c.batches * seq;
      const chunks = 3;
      const table = (kind: (typeof tableKinds)[number] | undefined) => {
        if (!kind) return undefined;
        const batchStride = kind === "per row" ? seq * chunks * n : kind === "per batch" ? chunks * n : 0;
        const rowStride = kind === "per row" || kind === "per position" ? chunks * n : 0;
        return { data: inputs.f32(rows * chunks * n), seq, batchStride, rowStride, offset: c.chunk * n };
      };
      const args = {
        x: inputs.f32(rows * n, -2, 2),
        rows,
        n,
        eps: 1e-6,
        gamma: c.gamma ? inputs.f32(n, 0.5, 1.5) : undefined,
        beta: c.beta ? inputs.f32(n) : undefined,
        scale: table(c.scale),
        shift: table(c.shift),
      };
      const variance = leastVariance(args.x, rows, n, (r, i) => r * n + i);
      await agrees(device, "layerNorm", args, normTolerance(device, 2, variance, 1e-6, 8));
    }, examples);
  },
  targets,
);

withDevices("layerNorm reads scale and shift in place from one modulation tensor", async (device) => {
  const [batch, seq, n] = [2, 3, 20];
  const inputs = new Inputs(4);
  const data = inputs.f32(batch * 6 * n);
  const scale = { data, seq, batchStride: 6 * n, rowStride: 0, offset: 2 * n };
  const args = {
    x: inputs.f32(batch * seq * n),
    rows: batch * seq,
    n,
    eps: 1e-6,
    scale,
    shift: { ...scale, offset: 4 * n },
  };
  await agrees(device, "layerNorm", args, normTolerance(device, 1, 0.3, 1e-6));
}, targets);

withDevices("layerNorm reads tables whose rows start anywhere", async (device) => {
  const [batch, seq, n] = [2, 3, 8];
  const inputs = new Inputs(6);
  const data = inputs.f32(200);
  const x = inputs.f32(batch * seq * n);
  // One at a time: a start, a step per batch entry and a step per row that are no multiples of four.
  for (const odd of [{ offset: 3 }, { batchStride: 49 }, { rowStride: 9 }]) {
    const scale = { data, seq, batchStride: 48, rowStride: 12, offset: 4, ...odd };
    const shift = { data, seq, batchStride: 48, rowStride: 12, offset: 16 };
    const tolerance = normTolerance(device, 1, leastVariance(x, batch * seq, n, (r, i) => r * n + i), 1e-6, 8);
    await agrees(device, "layerNorm", { x, rows: batch * seq, n, eps: 1e-6, scale, shift }, tolerance);
    await agrees(device, "layerNorm", { x, rows: batch * seq, n, eps: 1e-6, scale: shift, shift: scale }, tolerance);
  }
}, targets);

withDevices("layerNorm is stable for large means and maps constant rows to beta", async (device) => {
  const [rows, n, eps] = [5, 257, 1e-6];
  const inputs = new Inputs(5);
  const gamma = inputs.f32(n, 0.5, 1.5);
  const beta = inputs.f32(n);
  await agrees(
    device,
    "layerNorm",
    { x: inputs.f32(rows * n, 999, 1001), rows, n, eps, gamma, beta },
    normTolerance(device, 1001, 1 / 3, eps),
  );
  await agrees(device, "layerNorm", { x: new Float32Array(rows * n), rows, n, eps, gamma, beta });
  await agrees(
    device,
    "layerNorm",
    { x: new Float32Array(rows * n).fill(-0.3), rows, n, eps, gamma, beta },
    normTolerance(device, 0.3, 0, eps),
  );
}, targets);

withDevices("l2Normalize agrees with the reference and leaves zero rows zero", async (device) => {
  await forAll(device, fc.tuple(edgeSize, fc.oneof(edgeSize, fc.constantFrom(64, 255, 1000)), seed), {
    cpu: 50,
    webgpu: 15,
  }, async ([rows, n, seed]) => {
    const inputs = new Inputs(seed);
    const x = inputs.f32(rows * n, -3, 3);
    x.fill(0, 0, n);
    if (rows > 2) x.subarray(n, 2 * n).forEach((v, i, row) => row[i] = v * 1e-14); // shorter than eps
    await agrees(device, "l2Normalize", { x, rows, n, eps: 1e-12 }, {
      roundings: byKind(device, { cpu: 4, webgpu: 16 }),
      each: true,
      floor: 1e-3,
    });
  });
}, targets);

const softmaxCase = fc.record({
  rows: edgeSize,
  n: fc.oneof(edgeSize, fc.constantFrom(64, 255, 257, 1000, 4096)),
  magnitude: fc.constantFrom(1, 10, 1e4),
  log: fc.boolean(),
  seed,
});

withDevices("softmax and log-softmax agree with the reference up to logits of 1e4", async (device) => {
  const examples = [1, 10, 1e4].flatMap((magnitude) =>
    [false, true].map((log) => ({ rows: 3, n: 1031, magnitude, log, seed: 8 }))
  );
  await forAll(device, softmaxCase, { cpu: 60, webgpu: 20 }, async ({ rows, n, magnitude, log, seed }) => {
    const x = new Inputs(seed).f32(rows * n, -magnitude, magnitude);
    // Probabilities: relative to the largest one of all rows, at least the uniform one. exp's own error (2|x| ulp in
    // WGSL) weighs less the smaller the result. Logarithms: relative to the logit that they are the distance from.
    const tolerance: Tolerance = log
      ? { roundings: byKind(device, { cpu: 8, webgpu: 16 }), each: true, floor: Math.max(1, Math.log(n)) }
      : { roundings: byKind(device, { cpu: 16, webgpu: 32 }), floor: 1 / n };
    await agrees(device, "softmax", { x, rows, n, log }, tolerance);
  }, examples);
}, targets);

withDevices("softmax of equal logits is uniform, also at +-1e4", async (device) => {
  for (const value of [0, 1e4, -1e4]) {
    const x = new Float32Array(2 * 333).fill(value);
    await agrees(device, "softmax", { x, rows: 2, n: 333, log: false }, { roundings: 16 });
    await agrees(device, "softmax", { x, rows: 2, n: 333, log: true }, { roundings: 16 });
  }
}, targets);

withDevices("logSoftmaxGather agrees with the reference up to logits of 1e4", async (device) => {
  const examples = [{ rows: 5, n: 4096, magnitude: 10, log: true, seed: 1 }, {
    rows: 1,
    n: 1,
    magnitude: 1,
    log: true,
    seed: 1,
  }];
  await forAll(device, softmaxCase, { cpu: 60, webgpu: 15 }, async ({ rows, n, magnitude, seed }) => {
    const inputs = new Inputs(seed);
    const index = inputs.i32(rows, 0, n - 1);
    const x = inputs.f32(rows * n, -magnitude, magnitude);
    const roundings = byKind(device, { cpu: 8, webgpu: 16 });
    await agrees(device, "logSoftmaxGather", { x, index, rows, n }, {
      roundings,
      each: true,
      floor: Math.max(1, Math.log(n)),
    });
  }, examples);
}, targets);

const guidedCase = fc.record({
  rows: edgeSize,
  n: fc.oneof(edgeSize, fc.constantFrom(64, 255, 1000, 4096)),
  samplers: fc.constantFrom(1, 2, 5),
  magnitude: fc.constantFrom(2, 400),
  seed,
});

withDevices("guidedScores agrees with the reference, ranks exactly", async (device) => {
  const examples = [{ rows: 5, n: 4096, samplers: 4, magnitude: 400, seed: 1 }];
  await forAll(device, guidedCase, { cpu: 60, webgpu: 15 }, async ({ rows, n, samplers, magnitude, seed }) => {
    const inputs = new Inputs(seed), places = 3;
    // Multiples of powers of two, so that guided logits have no rounding and ties are ties.
    const logits = () => inputs.wholeF32(rows * n, -magnitude, magnitude).map((value) => value / 8);
    const mixing = inputs.wholeF32(samplers * places * 4, -8, 40).map((value, i) => i % 4 === 3 ? 0.5 : value / 4);
    await agrees(device, "guidedScores", {
      ...{ conditional: logits(), unconditional: logits(), mixing, rows, n, samplers, places },
      index: inputs.i32(rows, 0, n - 1),
      place: inputs.i32(rows, 0, places - 1),
    }, { roundings: byKind(device, { cpu: 8, webgpu: 16 }), each: true, floor: Math.max(1, Math.log(n)) });
  }, examples);
}, targets);
