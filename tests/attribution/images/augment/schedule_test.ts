import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  augment,
  augment8,
  type Augmentation,
  defaultStrengths,
  gaussianNoise,
  gaussianNoise8,
  officialSchedule,
  sampleAugmentation,
  scheduleFor,
  sigmaRange,
  stageForEpoch,
  stageStrengths,
  strengthRanges,
  toFloatImage,
  transformNames,
} from "../../../../attribution/images/augment/mod.ts";
import { assertInRange, distance, pattern } from "./images.ts";

const stages = ["weak", "medium", "strong"] as const;

Deno.test("stageForEpoch() follows the published schedule: 5 none, 5 weak, 20 medium, 20 strong", () => {
  const at = [0, 4, 5, 9, 10, 29, 30, 49, 50, 1000].map((epoch) => stageForEpoch(epoch));
  assert.deepEqual(
    at,
    ["none", "none", "weak", "weak", "medium", "medium", "strong", "strong", "strong", "strong"],
  );
  assert.equal(stageForEpoch(3, []), "none");
});

Deno.test("scheduleFor() covers any number of epochs in the proportions 1 : 1 : 4 : 4", () => {
  assert.deepEqual(scheduleFor(50), officialSchedule);
  assert.deepEqual(scheduleFor(4), [["none", 4]]);
  for (let epochs = 1; epochs <= 120; epochs++) {
    const lengths = scheduleFor(epochs).map(([, n]) => n);
    assert.ok(lengths.every((n) => n >= 0), `${epochs}: ${lengths}`);
    assert.equal(lengths.reduce((sum, n) => sum + n, 0), epochs);
  }
});

Deno.test("sampleAugmentation() draws every transform with every strength of its stage, and nothing else", () => {
  for (const stage of stages) {
    const seen = new Map(transformNames.map((name) => [name, new Map<number, number>()]));
    const steps = 6000;
    for (let step = 0; step < steps; step++) {
      const drawn = sampleAugmentation(stage, 7, step, { probability: 1 })!;
      const counts = seen.get(drawn.name)!;
      counts.set(drawn.strength, (counts.get(drawn.strength) ?? 0) + 1);
      if (drawn.name === "kernel") assert.ok(drawn.sigma >= sigmaRange[0] && drawn.sigma < sigmaRange[1]);
      if (drawn.name === "noise") assert.ok(Number.isSafeInteger(drawn.seed));
    }
    for (const name of transformNames) {
      const strengths = stageStrengths[stage][name];
      const counts = seen.get(name)!;
      assert.deepEqual(new Set(counts.keys()), new Set(strengths), `${stage} ${name}`);
      const expected = steps / transformNames.length / strengths.length;
      for (const count of counts.values()) {
        assert.ok(Math.abs(count - expected) < 5 * Math.sqrt(expected), `${stage} ${name}: ${count}, ${expected}`);
      }
    }
  }
});

Deno.test("sampleAugmentation() leaves alone the share of steps that it was told to, and the stage none", () => {
  const share = (probability: number | undefined) => {
    let applied = 0;
    for (let step = 0; step < 4000; step++) {
      if (sampleAugmentation("weak", 3, step, { probability })) applied++;
    }
    return applied / 4000;
  };
  assert.equal(share(0), 0);
  assert.equal(share(1), 1);
  assert.ok(Math.abs(share(undefined) - 0.5) < 0.04); // five standard deviations
  assert.ok(Math.abs(share(0.2) - 0.2) < 0.04);
  assert.equal(sampleAugmentation("none", 3, 0, { probability: 1 }), null);
});

Deno.test("sampleAugmentation() depends on stage, seed and step alone, so a resumed run draws the same", () => {
  const arbitraryStep = fc.integer({ min: 0, max: 2 ** 40 }), seeds = fc.integer({ min: 0, max: 2 ** 53 - 1 });
  fc.assert(
    fc.property(fc.constantFrom(...stages), seeds, arbitraryStep, (stage, seed, step) => {
      const first = sampleAugmentation(stage, seed, step);
      sampleAugmentation(stage, seed, step + 1);
      assert.deepEqual(sampleAugmentation(stage, seed, step), first);
    }),
    { numRuns: 200, seed: 2 },
  );
  const run = (seed: number) => Array.from({ length: 50 }, (_, step) => sampleAugmentation("strong", seed, step));
  assert.notDeepEqual(run(1), run(2));
  assert.throws(() => sampleAugmentation("weak", 1, -1), /^RangeError: sampleAugmentation: expected a step/);
  assert.throws(() => sampleAugmentation("weak", 1, 1, { image: 2 ** 21 }), /^RangeError: sampleAugmentation/);
});

Deno.test("sampleAugmentation() gives the images of a batch one transform and strength, but each its sigma or noise", () => {
  let kernels = 0, noises = 0;
  for (let step = 0; step < 60; step++) {
    const batch = Array.from(
      { length: 8 },
      (_, image) => sampleAugmentation("medium", 11, step, { probability: 1, image })!,
    );
    assert.equal(new Set(batch.map(({ name, strength }) => `${name} ${strength}`)).size, 1);
    const own = batch.map((a) => a.name === "kernel" ? a.sigma : a.name === "noise" ? a.seed : 0);
    const expected = batch[0].name === "kernel" || batch[0].name === "noise" ? 8 : 1;
    assert.equal(new Set(own).size, expected);
    if (batch[0].name === "kernel") kernels++;
    if (batch[0].name === "noise") noises++;
  }
  assert.ok(kernels > 0 && noises > 0);
});

/** A transform at a strength, as plain data. */
function at(name: typeof transformNames[number], strength: number): Augmentation {
  return name === "kernel" ? { name, strength, sigma: 1.2 } : name === "noise" ? { name, strength, seed: 5 } : {
    name,
    strength,
  };
}

Deno.test("augment() and augment8() apply all seven transforms at every strength of the tables, and change the image", async () => {
  const image = pattern(32, 24), floats = toFloatImage(image);
  for (const name of transformNames) {
    const strengths = new Set([
      defaultStrengths[name],
      ...strengthRanges[name],
      ...stages.flatMap((stage) => stageStrengths[stage][name]),
    ]);
    const nothing: Partial<Record<typeof name, number>> = {
      noise: 0,
      kernel: 1,
      brightness: 1,
      contrast: 1,
      saturation: 1,
    };
    for (const strength of strengths) {
      const augmentation = at(name, strength);
      const result = await augment(floats, augmentation), bytes = await augment8(image, augmentation);
      assertInRange(result, floats);
      const identity = nothing[name] === strength;
      assert.equal(distance(result, floats) === 0, identity, `${name} ${strength}`);
      assert.equal(distance(bytes, image) === 0, identity, `${name} ${strength} on bytes`);
      assert.deepEqual((await augment(floats, augmentation)).data, result.data, `${name} ${strength}, again`);
      assert.deepEqual((await augment8(image, augmentation)).data, bytes.data, `${name} ${strength} on bytes, again`);
    }
  }
  assert.equal(await augment(floats, null), floats);
  assert.equal(await augment8(image, null), image);
});

Deno.test("gaussianNoise() has the deviation asked for, is seeded, and clips", () => {
  const grey = { width: 100, height: 100, data: new Float32Array(30000).fill(0.5) };
  const noise = gaussianNoise(grey, 0.05, 1).data.map((value) => value - 0.5);
  const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
  const deviation = Math.sqrt(noise.reduce((sum, value) => sum + value * value, 0) / noise.length);
  assert.ok(Math.abs(mean) < 5 * 0.05 / Math.sqrt(30000));
  assert.ok(Math.abs(deviation - 0.05) < 5 * 0.05 / Math.sqrt(60000));
  assert.ok(distance(gaussianNoise(grey, 0.05, 2), gaussianNoise(grey, 0.05, 1)) > 0.1);
  const image = pattern(100, 100);
  assertInRange(gaussianNoise(toFloatImage(image), 0.2, 1), toFloatImage(image));
  // Both forms draw the same numbers; bytes are cut off.
  const pairs = gaussianNoise(toFloatImage(image), 0.1, 9).data.map((value) => Math.trunc(value * 255 + 1e-4));
  const apart = gaussianNoise8(image, 0.1, 9).data.filter((value, i) => value !== pairs[i]).length;
  assert.ok(apart < 60, `${apart} of 30000 bytes differ`); // those within rounding of a whole number
  assert.throws(() => gaussianNoise(grey, -1, 0), /^RangeError: gaussianNoise: .* got -1$/);
});
