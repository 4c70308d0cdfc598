/** From a series to images: pixels and latents against the family's own decoding, settings, batches and memory. */
import assert from "node:assert/strict";
import { Generator } from "../../generation/generator.ts";
import { leastGenerationMemory, planBatch } from "../../generation/memory.ts";
import { SampledPairs } from "../../training/generated_pairs.ts";
import { checkClass, chooseSampler, classOf, type Series } from "../../generation/settings.ts";
import { fromArray, scope } from "../../core/tensor/mod.ts";
import { openDevice } from "../../core/open_device.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withDevices } from "../core/devices.ts";
import { standIns } from "../sets.ts";

const set = await openModelSet(standIns);

function seriesOf(variant: string, rest: Partial<Series> = {}): Series {
  return { variant, seed: 3, class: "random", sampler: chooseSampler(set, variant), argmax: false, ...rest };
}

withDevices("Generator.batch() decodes the tokens that it drew, clamped and cut off to bytes", async (device) => {
  for (const name of [set.variants("rar")[0], set.variants("var")[0]]) {
    const family = await set.loadTokenizer(device, set.familyOf(name));
    const variant = await set.loadVariant(device, name);
    await device.sync();
    const before = device.memory().liveBytes;
    const generator = new Generator(family, variant, { generate: 3, decode: 2 });
    const series = seriesOf(name);
    const shares: number[] = [];
    const images = await generator.batch(series, [4, 0, 9], { latents: true, onProgress: (x) => shares.push(x) });
    await device.sync();
    assert.equal(device.memory().liveBytes, before);
    assert.deepEqual(images.map(({ index }) => index), [4, 0, 9]);
    assert.deepEqual(shares, shares.toSorted((a, b) => a - b));
    assert.equal(shares.at(-1), 1);
    const { imageSize: size, tokenCount, valueRange: [low, high] } = family;
    for (const { index, class: label, tokens, image, latent } of images) {
      assert.equal(label, classOf(series, index, variant.classes));
      assert.ok(tokens.length === tokenCount && tokens.every((token) => token >= 0 && token < family.codes));
      const again = scope(() => {
        const fHat = family.dequantize(fromArray(device, tokens as Int32Array<ArrayBuffer>, [1, tokenCount]));
        return { fHat, pixels: family.decode(fHat) };
      });
      const pixels = await again.pixels.data(), fHat = await again.fHat.data();
      const [, h, w, c] = again.fHat.shape;
      again.pixels.dispose();
      again.fHat.dispose();
      assert.deepEqual(latent!.shape, [c, h, w]);
      latent!.values.forEach((value, i) => {
        const expected = fHat[(i % (h * w)) * c + Math.floor(i / (h * w))];
        assert.ok(Math.abs(value - expected) <= 1e-5, `latent ${i}: expected ${expected}, got ${value}`);
      });
      assert.deepEqual([image.width, image.height], [size, size]);
      let different = 0;
      image.data.forEach((byte, i) => {
        const value = 255 * Math.min(1, Math.max(0, (pixels[i] - low) / (high - low)));
        if (byte !== Math.floor(value)) different++;
        assert.ok(byte <= value + 1e-3 && byte > value - 1 - 1e-3, `pixel ${i}: ${value} gave ${byte}`);
      });
      assert.ok(different <= 3, `${different} pixels differ`); // a batch of 1 may round a value to the other side of a byte
    }
    variant.dispose();
    family.dispose();
  }
});

withDevices("planBatch() makes batches that fit, and says what is needed when there is too little", (device) => {
  for (const name of [set.variants("rar").at(-1)!, set.variants("var").at(-1)!]) {
    const all = planBatch(set, device, name, 4 * 2 ** 30);
    assert.ok(all.generate >= 1 && all.generate <= 64 && all.decode >= 1 && all.decode <= 64);
    const small = 64 * 2 ** 20;
    const sizes = planBatch(set, device, name, small);
    assert.ok(sizes.generate >= 1 && sizes.generate < all.generate, `${name}: ${JSON.stringify(sizes)}`);
    assert.throws(
      () => planBatch(set, device, name, 2 ** 20),
      /^MemoryLimitError: memory: the limit of 1\.00 MiB is not enough for one image; needed are:\n {2}\S+: .*\nwhat would help: .*--memory \d+MiB$/,
    );
  }
});

Deno.test("planBatch() bounds what a batch takes", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  for (const name of [set.variants("rar").at(-1)!, set.variants("var").at(-1)!]) {
    const limit = 64 * 2 ** 20;
    const sizes = planBatch(set, device, name, limit);
    device.trim();
    const start = device.memory().liveBytes + device.memory().pooledBytes;
    device.resetPeak();
    const family = await set.loadTokenizer(device, set.familyOf(name));
    const variant = await set.loadVariant(device, name);
    const images = Array.from({ length: sizes.generate }, (_, i) => i);
    await new Generator(family, variant, sizes).batch(seriesOf(name), images);
    const taken = device.memory().peakBytes - start;
    assert.ok(taken <= limit && taken > limit / 8, `${name}: ${sizes.generate} images took ${taken} bytes`);
    variant.dispose();
    family.dispose();
  }
  device.close();
});

Deno.test("chooseSampler() takes the manifest's settings but for those given, and refuses what the sampler does not have", () => {
  const [rar, varName] = [set.variants("rar")[0], set.variants("var")[0]];
  const { families } = set.manifest;
  assert.deepEqual(chooseSampler(set, rar), families.rar.variants[rar].sampler);
  assert.deepEqual(chooseSampler(set, rar, { power: 2 }), { ...families.rar.variants[rar].sampler, power: 2 });
  assert.deepEqual(chooseSampler(set, varName, { topK: 0, topP: undefined }), {
    ...families.var.variants[varName].sampler,
    topK: 0,
  });
  assert.throws(
    () => chooseSampler(set, rar, { topK: 5 }),
    /--top-k: the sampler of \w+ \(rar\) has no such setting; it has --guidance, --power, --temperature/,
  );
  assert.throws(() => chooseSampler(set, varName, { temperature: 2 }), /--temperature: the sampler of \w+ \(var\)/);
  assert.throws(() => chooseSampler(set, rar, { temperature: 0 }), /--temperature: expected a number above 0, got 0/);
  assert.throws(
    () => chooseSampler(set, varName, { topP: 1.5 }),
    /--top-p: expected a number from 0 \(off\) to 1, got 1.5/,
  );
  const { codes } = set.variantFacts(varName);
  assert.throws(
    () => chooseSampler(set, varName, { topK: codes + 1 }),
    new RegExp(
      `--top-k: expected a whole number from 0 \\(off\\) to the ${codes} codes of ${varName}, got ${codes + 1}`,
    ),
  );
});

Deno.test("classes: a number of the variant's, none, or one drawn for every image", () => {
  const [name] = set.variants("var");
  const { classes } = set.variantFacts(name);
  for (const choice of [0, classes - 1, null, "random"] as const) checkClass(set, name, choice);
  for (const choice of [-1, classes, 0.5]) {
    assert.throws(() => checkClass(set, name, choice), /--class: \w+ has the classes 0 to \d+, got/);
  }
  assert.equal(classOf(seriesOf(name, { class: 2 }), 17, classes), 2);
  assert.equal(classOf(seriesOf(name, { class: null }), 17, classes), null);
  const drawn = Array.from({ length: 200 }, (_, image) => classOf(seriesOf(name), image, classes));
  assert.equal(new Set(drawn).size, classes);
});

withDevices("SampledPairs gives the same pair for a number, also when it had to forget it", async (device) => {
  for (const family of ["rar", "var"] as const) {
    await device.sync();
    const before = device.memory().liveBytes;
    const variants = set.variants(family).slice(0, 2);
    const options = { family, variants, count: 9, seed: 2 };
    const pairs = await SampledPairs.open(set, device, options);
    const first = await pairs.batch([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const { imageSize, tokenCount } = pairs.networks.tokenizer;
    for (const { pixels, tokens } of first) {
      assert.deepEqual([pixels.length, tokens!.length], [imageSize * imageSize * 3, tokenCount]);
      assert.ok(pixels.every((value) => value >= 0 && value <= 1));
    }
    assert.equal(new Set(first.map(({ tokens }) => tokens!.join())).size, 9);
    assert.deepEqual(await pairs.batch([5, 0, 5]), [first[5], first[0], first[5]]);
    await assert.rejects(pairs.batch([9]), /pairs: expected numbers from 0 to 8, got 9/);
    pairs.dispose();

    const forgetful = await SampledPairs.open(set, device, { ...options, cacheBytes: 1 });
    assert.equal(forgetful.fingerprint, pairs.fingerprint);
    assert.deepEqual(await forgetful.batch([8, 1, 0]), [first[8], first[1], first[0]]);
    forgetful.dispose();
    const other = await SampledPairs.open(set, device, { ...options, seed: 3 });
    assert.notEqual(other.fingerprint, pairs.fingerprint);
    other.dispose();
    await device.sync();
    assert.equal(device.memory().liveBytes, before);
    await assert.rejects(
      SampledPairs.open(set, device, { ...options, variants: [] }),
      /expected variants of the family/,
    );
    await assert.rejects(SampledPairs.open(set, device, { ...options, count: 0 }), /a count of 1 or more, got 0/);
  }
});

Deno.test("SampledPairs draws the same pairs from variants that take turns because they do not all fit", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  const options = { family: "rar", count: 6, seed: 4, cacheBytes: 1 };
  const together = await SampledPairs.open(set, device, options);
  const expected = await together.batch([0, 1, 2, 3, 4, 5]);
  together.dispose();
  const least = leastGenerationMemory(set, device, set.variants("rar"));
  const loaded: string[] = [];
  const onPrepare = (text: string) => loaded.push(text);
  const turns = await SampledPairs.open(set, device, { ...options, memoryBytes: least, onPrepare });
  assert.deepEqual(loaded, ["loading the rar tokenizer"]); // transformers are loaded when they draw
  const tokens = (await turns.batch([0, 1, 2, 3, 4, 5])).map((pair) => pair.tokens);
  assert.deepEqual(tokens, expected.map((pair) => pair.tokens));
  assert.deepEqual(loaded.slice(1), set.variants("rar").map((name) => `loading ${name}`));
  turns.dispose();
  await assert.rejects(
    SampledPairs.open(set, device, { ...options, memoryBytes: least - 1 }),
    /^MemoryLimitError: memory: .* needed are:\n {2}rarxxl: /,
  );
  device.close();
});

Deno.test("roundBytes rounds what is truncated otherwise, for the same tokens", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  for (const name of [set.variants("rar")[0], set.variants("var")[0]]) {
    const family = await set.loadTokenizer(device, set.familyOf(name));
    const variant = await set.loadVariant(device, name);
    const generator = new Generator(family, variant, { generate: 2, decode: 2 });
    const [cut] = await generator.batch(seriesOf(name), [6]);
    const [rounded] = await generator.batch(seriesOf(name, { roundBytes: true }), [6]);
    assert.deepEqual(rounded.tokens, cut.tokens);
    const steps = rounded.image.data.map((byte, i) => byte - cut.image.data[i]);
    assert.ok(steps.every((step) => step === 0 || step === 1));
    const inner = steps.filter((_, i) => cut.image.data[i] > 0 && cut.image.data[i] < 255); // not clamped
    const up = inner.filter((step) => step === 1).length / inner.length;
    assert.ok(up > 0.35 && up < 0.65, `${name}: ${up} of the bytes are rounded up`);
    variant.dispose();
    family.dispose();
  }
  device.close();
});
