/**
 * Gradients of group and layer norm against the reference, on every device, over random shapes and awkward groups.
 */
import fc from "fast-check";
import type { Device } from "../../core/tensor/device.ts";
import { agrees, byKind, compare, edgeSize, expectedOf, forAll, Inputs, runKernel, seed } from "./check.ts";
import type { HostArgs } from "./reference.ts";
import { openAllTargets, withDevices } from "./devices.ts";

const targets = await openAllTargets();

/**
 * An error of a few roundings of y, whose size before centring is `largest / deviation`, is multiplied by 1 / deviation
 * once more on its way to dx. An error of the mean is common to all elements of a group: in dGamma it is multiplied by a
 * sum of `terms` upstreams of either sign.
 */
async function agreeEach(
  device: Device,
  args: HostArgs<"groupNormGradient">,
  { largest, deviation, terms }: { largest: number; deviation: number; terms: number },
  wanted: readonly string[] = ["dx", "dGamma", "dBeta"],
): Promise<void> {
  const whole = Object.entries(expectedOf("groupNormGradient", args));
  const expected = Object.fromEntries(whole.filter(([name]) => wanted.includes(name)));
  const got = await runKernel(device, "groupNormGradient", args, expected);
  const roundings = byKind(device, { cpu: 8, webgpu: 16 });
  const floor = 4 + largest / deviation;
  for (const [name, values] of Object.entries(expected)) {
    const factor = name === "dx" ? Math.max(1, 1 / deviation) : Math.sqrt(terms);
    compare(`groupNormGradient: ${name}`, got[name], values, { roundings, floor: floor * factor });
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
      await agreeEach(device, args, { largest: Math.abs(offset) + 2, deviation, terms: batch * hw }, wanted);
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
  await agreeEach(device, args, { largest: 1001, deviation: Math.sqrt(1 / 3), terms: hw });
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
