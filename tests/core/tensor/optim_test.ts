/** Optimisers, clipping and schedules against their formulas; saving and restoring. */
import assert from "node:assert/strict";
import {
  Adam,
  type AdamOptions,
  clipGradients,
  cosineLr,
  disposeAll,
  fromArray,
  gradientNorm,
  stepLr,
} from "../../../core/tensor/mod.ts";
import { withDevices } from "../devices.ts";

/** One Adam step in float64, as torch.optim documents it. */
function reference(
  options: AdamOptions,
  gradients: readonly number[][],
  start: readonly number[],
  lr: number,
): number[] {
  const { weightDecay = 0, decoupled = false } = options;
  const m = start.map(() => 0), v = start.map(() => 0), w = [...start];
  gradients.forEach((gradient, i) => {
    gradient.forEach((given, j) => {
      if (decoupled) w[j] *= 1 - lr * weightDecay;
      const g = decoupled ? given : given + weightDecay * w[j];
      m[j] = 0.9 * m[j] + 0.1 * g;
      v[j] = 0.999 * v[j] + 0.001 * g * g;
      const mHat = m[j] / (1 - 0.9 ** (i + 1)), vHat = v[j] / (1 - 0.999 ** (i + 1));
      w[j] -= lr * mHat / (Math.sqrt(vHat) + 1e-8);
    });
  });
  return w;
}

const start = [0.5, -1, 2, 0];
const gradients = [[0.1, -0.2, 3, 0], [0.2, 0.1, -1, 1e-3], [-0.3, 0.4, 2, 1e-3]];

for (
  const [name, options] of Object.entries<AdamOptions>({
    Adam: {},
    AdamW: { weightDecay: 0.1, decoupled: true },
    "Adam with L2": { weightDecay: 0.1 },
  })
) {
  withDevices(`${name} follows PyTorch's formulas, and goes on exactly from a saved state`, async (device) => {
    const before = device.memory().liveBytes;
    const step = (optimiser: Adam, i: number) => {
      const gradient = fromArray(device, gradients[i], [4]);
      optimiser.update(new Map([["w", gradient]]), 0.05);
      gradient.dispose();
    };
    const w = fromArray(device, start, [4]);
    const optimiser = new Adam(new Map([["w", w]]), options);
    step(optimiser, 0);
    step(optimiser, 1);
    const saved = await optimiser.state(), half = fromArray(device, await w.data(), [4]);
    step(optimiser, 2);
    const expected = reference(options, gradients, start, 0.05);
    const values = await w.data();
    // A few float32 roundings of numbers up to 2.
    values.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-6, `${value}, expected ${expected[i]}`));

    const resumed = new Adam(new Map([["w", half]]), options);
    resumed.restore(saved);
    step(resumed, 2);
    assert.deepEqual(await half.data(), values);
    assert.equal(resumed.step, 3);
    for (const item of [w, half, optimiser, resumed]) item.dispose();
    assert.equal(device.memory().liveBytes, before);
  });
}

withDevices("Adam leaves a parameter without a gradient alone and refuses a state of other shapes", async (device) => {
  const a = fromArray(device, [1, 2], [2]), b = fromArray(device, [3], [1]), g = fromArray(device, [1, 1], [2]);
  const optimiser = new Adam(new Map([["a", a], ["b", b]]));
  optimiser.update(new Map([["a", g], ["b", null]]), 0.1);
  assert.deepEqual([...await b.data()], [3]);
  assert.notEqual((await a.data())[0], 1);
  const state = await optimiser.state();
  const other = new Adam(new Map([["a", b]]));
  assert.throws(() => other.restore(state), /Adam: the saved state has 2 elements for a\.m, expected 1/);
  assert.throws(() => new Adam(new Map()), /Adam: needs at least one parameter/);
  for (const item of [a, b, g, optimiser, other]) item.dispose();
});

withDevices("clipGradients() scales as clip_grad_norm_ does, and leaves small gradients alone", async (device) => {
  const make = () => new Map([["a", fromArray(device, [3, 0], [2])], ["b", fromArray(device, [0, 4, 0], [3])]]);
  const big = make(), norm = gradientNorm(big.values());
  assert.equal(await norm.item(), 5);
  const clipped = clipGradients(big, norm, 1);
  assert.ok(Math.abs((await clipped.get("b")!.data())[1] - 4 / 5.000001) < 1e-6);
  const small = clipGradients(make(), norm, 100);
  assert.deepEqual([...await small.get("a")!.data()], [3, 0]);
  assert.throws(() => gradientNorm([null]), /there is no gradient/);
  disposeAll([norm, clipped, small]);
});

Deno.test("schedules: StepLR falls by gamma every stepSize steps, cosine ends at its floor", () => {
  const steps = stepLr(1e-3, 2, 0.9);
  assert.deepEqual([0, 1, 2, 3, 4].map(steps), [1e-3, 1e-3, 1e-3 * 0.9, 1e-3 * 0.9, 1e-3 * 0.9 ** 2]);
  const cosine = cosineLr(1, 10, 0.1);
  assert.equal(cosine(0), 1);
  assert.ok(Math.abs(cosine(5) - 0.55) < 1e-12);
  assert.equal(cosine(10), 0.1);
  assert.equal(cosine(20), 0.1);
});
