/**
 * Gradients of group and layer norm against the reference, on every device, over random shapes and awkward groups.
 */
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import { agrees, byKind, compare, edgeSize, expectedOf, forAll, Inputs, runKernel, seed } from "./check.ts";
import type { HostArgs } from "./reference.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

/**
 * An error of a few roundings of y, whose size before centring is `largest / deviation`, is multiplied by 1 / deviation
 * once more on its way to dx. An error of the mean is common to all elements of a group: in dGamma it is multiplied by a
 * sum of `terms` upstreams of either sign.
 */
async function agreeEach<K extends "groupNormGradient" | "layerNormGradient">(
  device: Device,
  kernel: K,
  args: HostArgs<K>,
  { largest, deviation, terms }: { largest: number; deviation: number; terms: number },
  wanted?: readonly string[],
): Promise<void> {
  const whole = Object.entries(expectedOf(kernel, args));
  const expected = Object.fromEntries(whole.filter(([name]) => wanted === undefined || wanted.includes(name)));
  const got = await runKernel(device, kernel, args, expected);
  const roundings = byKind(device, { cpu: 8, webgpu: 16 });
  const floor = 4 + largest / deviation;
  const factors: Record<string, number> = { dx: Math.max(1, 1 / deviation), dScale: 1 };
  for (const [name, values] of Object.entries(expected)) {
    compare(`${kernel}: ${name}`, got[name], values, { roundings, floor: floor * (factors[name] ?? Math.sqrt(terms)) });
  }
}

/** The least standard deviation among groups of `n` elements; `at(g, i)` is the index of element i of group g. */
function leastDeviation(x: Float32Array, eps: number, groups: number, n: number, at: (g: number, i: number) => number) {
  let least = Infinity;
  for (let g = 0; g < groups; g++) {
    let mean = 0;
    for (let i = 0; i < n; i++) mean += x[at(g, i)] / n;
    let variance = eps;
    for (let i = 0; i < n; i++) variance += (x[at(g, i)] - mean) ** 2 / n;
    least = Math.min(least, Math.sqrt(variance));
  }
  return least;
}

const wantedSets: readonly (readonly string[])[] = [["dx", "dGamma", "dBeta"], ["dx"], ["dGamma"], ["dBeta", "dGamma"]];

const groupNormCase = fc.record({
  batch: fc.constantFrom<number[]>(1, 2, 3),
  hw: fc.oneof(edgeSize, fc.constantFrom(64, 100, 256)),
  groups: fc.constantFrom<number[]>(1, 2, 3, 4, 8, 32),
  perGroup: fc.constantFrom<number[]>(1, 2, 3, 4, 5, 8),
  activation: fc.constantFrom("none" as const, "silu" as const),
  offset: fc.constantFrom<number[]>(0, 0, 3, -20),
  wanted: fc.constantFrom(...wantedSets),
  seed,
});

withDevices("groupNormGradient agrees with the reference, whatever of it is wanted", async (device) => {
  const [all] = wantedSets;
  const base = { batch: 2, offset: 0, seed: 1 };
  const examples = [
    { ...base, hw: 1024, groups: 32, perGroup: 4, activation: "silu" as const, wanted: all },
    { ...base, hw: 300, groups: 32, perGroup: 4, activation: "none" as const, wanted: all },
    { ...base, hw: 35, groups: 3, perGroup: 5, activation: "silu" as const, wanted: all },
    { ...base, hw: 35, groups: 3, perGroup: 5, activation: "none" as const, offset: 3, wanted: ["dx"] },
    { ...base, hw: 1, groups: 3, perGroup: 2, activation: "silu" as const, wanted: ["dBeta"] },
  ];
  await forAll(
    device,
    groupNormCase,
    { cpu: 60, webgpu: 16 },
    async ({ batch, hw, groups, perGroup, activation, offset, wanted, seed }) => {
      const inputs = new Inputs(seed);
      const c = groups * perGroup;
      const x = inputs.f32(batch * hw * c, offset - 2, offset + 2);
      const eps = 1e-2; // a group may be a single element
      const args = {
        ...{ x, gamma: inputs.f32(c, 0.5, 1.5), beta: inputs.f32(c), upstream: inputs.f32(x.length) },
        ...{ batch, hw, c, groups, eps, activation },
      };
      const deviation = leastDeviation(x, eps, batch * groups, hw * perGroup, (g, i) => {
        const pixel = Math.floor(g / groups) * hw + Math.floor(i / perGroup);
        return pixel * c + (g % groups) * perGroup + (i % perGroup);
      });
      await agreeEach(device, "groupNormGradient", args, {
        largest: Math.abs(offset) + 2,
        deviation,
        terms: batch * hw,
      }, wanted);
    },
    examples,
  );
}, targets);

withDevices("groupNormGradient is stable for a mean far larger than the deviation", async (device) => {
  const [hw, c, groups, eps] = [300, 12, 3, 1e-6];
  const inputs = new Inputs(1);
  const x = inputs.f32(hw * c, 999, 1001);
  const args = {
    ...{ x, gamma: inputs.f32(c, 0.5, 1.5), beta: inputs.f32(c), upstream: inputs.f32(x.length) },
    ...{ batch: 1, hw, c, groups, eps, activation: "none" as const },
  };
  // A rounding of the mean is a rounding of 1000 in y.
  await agreeEach(device, "groupNormGradient", args, { largest: 1001, deviation: Math.sqrt(1 / 3), terms: hw });
}, targets);

withDevices("groupNormGradient ends finite and small where the activation is far from zero", async (device) => {
  const [hw, c, groups, eps] = [40, 8, 2, 1e-6];
  const inputs = new Inputs(2);
  // z reaches +-300, where e^|z| overflows.
  const gamma = inputs.f32(c, 50, 150);
  const args = {
    ...{ x: inputs.f32(hw * c), gamma, beta: inputs.f32(c), upstream: inputs.f32(hw * c) },
    ...{ batch: 1, hw, c, groups, eps, activation: "silu" as const },
  };
  const floor = 4 * 150 * 4; // gammas are multiplied by y and by 1 / deviation
  await agrees(device, "groupNormGradient", args, { roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor });
}, targets);

/** How a RowTable repeats over the rows of [batches, seq]. */
const tableKinds = ["per column", "per batch", "per position", "per row"] as const;

const layerNormCase = fc.record({
  batches: fc.constantFrom<number[]>(1, 2, 3),
  seq: fc.constantFrom<number[]>(1, 2, 5, 17, 50),
  n: fc.oneof(edgeSize, fc.constantFrom(64, 255, 768, 1000)),
  gamma: fc.boolean(),
  beta: fc.boolean(),
  scale: fc.option(fc.constantFrom(...tableKinds), { nil: undefined }),
  chunk: fc.nat(2),
  wanted: fc.subarray(["dx", "dGamma", "dBeta", "dScale"], { minLength: 1 }),
  seed,
});

withDevices("layerNormGradient agrees with the reference, whatever of it is wanted", async (device) => {
  const all = ["dx", "dGamma", "dBeta", "dScale"];
  const base = { batches: 3, seq: 50, n: 33, chunk: 1, seed: 7, gamma: true, beta: true, wanted: all };
  const examples = [
    { ...base, scale: undefined },
    { ...base, scale: "per batch" as const },
    { ...base, scale: "per row" as const, n: 64 },
    { ...base, scale: "per position" as const, gamma: false, n: 300 },
    { ...base, scale: undefined, beta: false, wanted: ["dBeta"] },
  ];
  await forAll(device, layerNormCase, { cpu: 80, webgpu: 24 }, async (c) => {
    const inputs = new Inputs(c.seed);
    const { n, seq } = c;
    const rows = c.batches * seq, chunks = 3;
    const table = (kind: (typeof tableKinds)[number] | undefined) => {
      if (!kind) return undefined;
      const batchStride = kind === "per row" ? seq * chunks * n : kind === "per batch" ? chunks * n : 0;
      const rowStride = kind === "per row" || kind === "per position" ? chunks * n : 0;
      return { data: inputs.f32(rows * chunks * n), seq, batchStride, rowStride, offset: c.chunk * n };
    };
    const eps = 1e-2; // a row may be a single element
    const args = {
      ...{ x: inputs.f32(rows * n, -2, 2), upstream: inputs.f32(rows * n), rows, n, eps },
      gamma: c.gamma ? inputs.f32(n, 0.5, 1.5) : undefined,
      beta: c.beta ? inputs.f32(n) : undefined,
      scale: table(c.scale),
    };
    const deviation = leastDeviation(args.x, eps, rows, n, (r, i) => r * n + i);
    await agreeEach(device, "layerNormGradient", args, { largest: 2, deviation, terms: rows }, c.wanted);
  }, examples);
}, targets);

withDevices("layerNormGradient reads tables whose rows start anywhere", async (device) => {
  const [batch, seq, n] = [2, 3, 8];
  const inputs = new Inputs(6);
  const scale = { data: inputs.f32(200), seq, batchStride: 49, rowStride: 9, offset: 3 };
  const args = {
    x: inputs.f32(batch * seq * n),
    upstream: inputs.f32(batch * seq * n),
    rows: batch * seq,
    n,
    eps: 1e-6,
  };
  const deviation = leastDeviation(args.x, 1e-6, batch * seq, n, (r, i) => r * n + i);
  await agreeEach(device, "layerNormGradient", { ...args, scale }, { largest: 1, deviation, terms: batch * seq });
}, targets);

withDevices("layerNormGradient is stable for a mean far larger than the deviation", async (device) => {
  const [rows, n, eps] = [70, 257, 1e-6];
  const inputs = new Inputs(5);
  const args = {
    ...{ x: inputs.f32(rows * n, 999, 1001), upstream: inputs.f32(rows * n), rows, n, eps },
    gamma: inputs.f32(n, 0.5, 1.5),
  };
  await agreeEach(device, "layerNormGradient", args, { largest: 1001, deviation: Math.sqrt(1 / 3), terms: rows });
}, targets);
