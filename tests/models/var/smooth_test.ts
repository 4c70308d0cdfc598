/** VAR's more_smooth against what its definition gives in float64, with the same Gumbel numbers. Both devices. */
import assert from "node:assert/strict";
import { disposeAll, fromArray, scope, type Tensor } from "../../../core/tensor/mod.ts";
import { generateRar } from "../../../models/rar/generate.ts";
import { generateVar } from "../../../models/var/generate.ts";
import { gumbels, smoothing } from "../../../models/var/smooth.ts";
import type { VarImageTokenizer } from "../../../models/var/family.ts";
import { withDevices } from "../../core/devices.ts";
import { smallRar, smallVar } from "../small_networks.ts";

Deno.test("gumbels() are standard Gumbel numbers, others for each image, token and seed", () => {
  const of = { seed: 5, image: 3, codes: 999 };
  const values = gumbels(of, 0, 40);
  assert.equal(values.length, 40 * 999);
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  assert.ok(Math.abs(mean - 0.5772) < 4 * 1.2825 / Math.sqrt(values.length), `mean ${mean}`);
  assert.ok(Math.abs(variance / (Math.PI ** 2 / 6) - 1) < 0.05, `variance ${variance}`);
  assert.deepEqual(gumbels(of, 7, 9), values.slice(7 * 999, 9 * 999));
  const first = (x: Float32Array) => x.slice(0, 4).join();
  const firsts = [values, gumbels(of, 1, 2), gumbels({ ...of, image: 4 }, 0, 1), gumbels({ ...of, seed: 6 }, 0, 1)];
  assert.equal(new Set(firsts.map(first)).size, 4);
});

Deno.test("smoothing() has the official schedule: the temperature falls from 0.27 to 0.0135, the factor doubles", () => {
  assert.deepEqual(smoothing(0), { factor: 1, temperature: 0.27 });
  assert.ok(Math.abs(smoothing(1).temperature - 0.27 * 0.05) < 1e-12);
  assert.equal(smoothing(1).factor, 2);
  assert.ok(Math.abs(smoothing(0.5).temperature - 0.27 * 0.525) < 1e-12);
});

/** softmax((factor * logits + noise) / temperature) over the `topK` largest logits. */
function sharesOf(logits: readonly number[], noise: readonly number[], position: number, topK: number): number[] {
  const least = logits.toSorted((a, b) => b - a)[topK - 1];
  const factor = 1 + position, temperature = Math.max(0.27 * (1 - 0.95 * position), 0.005);
  const raised = logits.map((x, i) => x >= least ? (factor * x + noise[i]) / temperature : -Infinity);
  const top = Math.max(...raised);
  const weights = raised.map((x) => Math.exp(x - top));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((x) => x / total);
}

/** The final fHat of single tokens [5] of one image, on the host. */
async function fHatOf(family: VarImageTokenizer, tokens: readonly number[], device: Tensor["device"]) {
  const fHat = scope(() => family.dequantize(fromArray(device, Int32Array.from(tokens), [1, 5])));
  const values = await fHat.data();
  fHat.dispose();
  return values;
}

withDevices("more_smooth decodes the mixture of codes that logits and noise give, within top-k", async (device) => {
  const patchNums = [1, 2], codes = 6, topK = 4, seed = 11, image = 2;
  const { family, variant } = await smallVar(device, patchNums, codes);
  const steps: Promise<Float32Array>[] = [];
  const sampler = { guidance: 1.5, topK, topP: 0 };
  const options = { labels: [1], images: [image], seed, moreSmooth: true };
  const drawn = await generateVar(variant.transformer, family.quantizer, sampler, {
    ...options,
    onStep: (logits) => steps.push(logits.data()),
  });
  const logits = (await Promise.all(steps)).flatMap((values) => Array.from(values));
  assert.equal(logits.length, 5 * codes);
  const noise = Array.from(gumbels({ seed, image, codes }, 0, 5));
  const shares = Array.from({ length: 5 }, (_, t) => {
    const own = (values: readonly number[]) => values.slice(t * codes, (t + 1) * codes);
    return sharesOf(own(logits), own(noise), t === 0 ? 0 : 1, topK);
  });
  assert.ok(shares[0].filter((share) => share > 1e-3).length > 1, "a mixture, not one code");
  assert.ok(shares.every((row) => row.filter((share) => share > 0).length <= topK));
  const largest = shares.map((row) => row.indexOf(Math.max(...row)));
  assert.deepEqual([...await drawn.tokens.ints()], largest);
  // fHat is affine in the code of each token, so a mixture of codes gives the mixture of their fHat.
  const base = await fHatOf(family, [0, 0, 0, 0, 0], device);
  const expected = Float64Array.from(base);
  for (let t = 0; t < 5; t++) {
    for (let code = 1; code < codes; code++) {
      const one = await fHatOf(family, [0, 0, 0, 0, 0].with(t, code), device);
      one.forEach((value, i) => expected[i] += shares[t][code] * (value - base[i]));
    }
  }
  const fHat = await drawn.fHat.data();
  fHat.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-4, `${i}: ${value}, not ${expected[i]}`));
  disposeAll(drawn);
  family.dispose();
  variant.dispose();
});

withDevices("more_smooth: an image depends on seed and number alone; nothing stays on the device", async (device) => {
  const { family, variant } = await smallVar(device, [1, 2, 3], 24);
  const sampler = { guidance: 2, topK: 9, topP: 0.9 };
  await device.sync();
  const before = device.memory().liveBytes;
  const draw = async (images: number[], seed = 5) => {
    const labels = images.map((i) => i % 3);
    const drawn = await generateVar(variant.transformer, family.quantizer, sampler, {
      ...{ labels, images, seed, moreSmooth: true },
    });
    const values = await drawn.fHat.data();
    disposeAll(drawn);
    return values;
  };
  const all = await draw([0, 1, 2, 3]);
  const perImage = all.length / 4;
  const own = await draw([3, 1]);
  const difference = (a: Float32Array, b: Float32Array) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));
  assert.ok(difference(own.slice(0, perImage), all.slice(3 * perImage)) < 1e-5);
  assert.ok(difference(own.slice(perImage), all.slice(perImage, 2 * perImage)) < 1e-5);
  assert.ok(difference(await draw([3, 1], 6), own) > 1e-3);
  await device.sync();
  assert.equal(device.memory().liveBytes, before);
  family.dispose();
  variant.dispose();
});

withDevices("more_smooth is refused with argmax, and by RAR", async (device) => {
  const options = { labels: [0], images: [0], seed: 0, moreSmooth: true };
  const { family, variant } = await smallVar(device, [1, 2], 6);
  const sampler = { guidance: 2, topK: 0, topP: 0 };
  await assert.rejects(
    generateVar(variant.transformer, family.quantizer, sampler, { ...options, argmax: true }),
    /^Error: generateVar: more_smooth draws mixtures of codes; expected it without argmax$/,
  );
  const rar = await smallRar(device, 4, 6);
  await assert.rejects(
    generateRar(rar.transformer, { guidance: 1, power: 1, temperature: 1 }, options),
    /^Error: generateRar: more_smooth is a setting of VAR/,
  );
  rar.dispose();
  family.dispose();
  variant.dispose();
});
