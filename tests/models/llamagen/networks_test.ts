/**
 * LlamaGen's networks beyond parity: sizes of the published variants, decoding step by step against teacher forcing,
 * batches against single images, f16 weights, drawing, and errors.
 */
import assert from "node:assert/strict";
import { type Device, fromArray, randomUniform, scope, slice, type Tensor } from "../../../core/tensor/mod.ts";
import { syntheticSource, type TensorSource } from "../../../models/checkpoint/mod.ts";
import type { ImageTokenizer, Variant } from "../../../models/family.ts";
import {
  type LlamagenConfig,
  type LlamagenTokenizerConfig,
  llamagenVariants,
} from "../../../models/llamagen/config.ts";
import { llamagen, llamagen384, LlamagenVariant } from "../../../models/llamagen/family.ts";
import { tokenizerSpecs } from "../../../models/llamagen/tokenizer.ts";
import { type LlamagenCondition, transformerSpecs } from "../../../models/llamagen/transformer.ts";
import type { WeightSpec } from "../../../models/weights.ts";
import { withDevices } from "../../core/devices.ts";

const config: LlamagenConfig = { width: 32, layers: 2, heads: 4, mlp: 64, tokenCount: 16, classes: 5, codes: 24 };
const tokenizerConfig: LlamagenTokenizerConfig = {
  ch: 32,
  chMult: [1, 2],
  resBlocks: 1,
  zChannels: 8,
  codes: 24,
  codeChannels: 4,
  resolution: 8,
};
const sampler = { guidance: 4, interval: -1, temperature: 1, topK: 6, topP: 1 };

const source = (specs: readonly WeightSpec[]): TensorSource => syntheticSource("llamagen-networks", specs);

async function setup(device: Device, weightType?: "f16") {
  const variant = await llamagen.loadVariant(device, source(transformerSpecs(config)), config, "tiny", { weightType });
  const ids = Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 24);
  return { variant: variant as LlamagenVariant, tokens: fromArray(device, ids, [2, 16]) };
}

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i] - b[i]));
  return max;
}

Deno.test("LlamaGen: the published variants have the published numbers of parameters", () => {
  // arXiv 2406.06525, Table 1: 111 M, 343 M, 775 M, 1.4 B, 3.1 B.
  const published: Record<string, number> = {
    llamagenb: 111,
    llamagenl: 343,
    llamagenb384: 111,
    llamagenl384: 343,
    llamagenxl384: 775,
    llamagenxxl384: 1411,
    llamagen3b384: 3097,
  };
  const all = [...llamagenVariants(256, ""), ...llamagenVariants(384, "384")];
  assert.deepEqual(all.map(({ label }) => label), Object.keys(published));
  for (const { label, config } of all) {
    const count = transformerSpecs(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0) / 1e6;
    assert.ok(Math.abs(count / published[label] - 1) < 0.01, `${label}: ${count.toFixed(1)} M`);
  }
});

withDevices("LlamaGen: steps with a cache give the teacher-forced logits", async (device) => {
  const before = device.memory().liveBytes;
  const { variant, tokens } = await setup(device);
  const condition = variant.condition([3, null]);
  const whole = variant.logits(tokens, condition);
  const state = variant.transformer.start(2);
  const expected = await whole.data();
  let previous: Tensor | null = null;
  for (let t = 0; t < 16; t++) {
    const logits = variant.transformer.step(state, previous, condition);
    const values = await logits.data();
    logits.dispose();
    for (let b = 0; b < 2; b++) {
      const row = expected.subarray((b * 16 + t) * 24, (b * 16 + t + 1) * 24);
      // Same float32 sums in another order: a few ulp of logits of magnitude 1 to 5.
      assert.ok(maxDifference(values.subarray(b * 24, (b + 1) * 24), row) < 2e-5);
    }
    previous?.dispose();
    previous = scope(() => slice(tokens, 1, t, t + 1).reshape(2));
  }
  assert.throws(() => variant.transformer.step(state, null, condition), /first step takes null/);
  for (const item of [previous!, whole, tokens, state, condition, variant]) item.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("LlamaGen: one condition for a batch equals one per image", async (device) => {
  const { variant, tokens } = await setup(device);
  const conditions: LlamagenCondition[] = [[2], [2, 2], [2, 4]].map((labels) => variant.condition(labels));
  const all = conditions.map((condition) => variant.logits(tokens, condition));
  const [x, y, z] = await Promise.all(all.map((logits) => logits.data()));
  assert.ok(maxDifference(x, y) < 1e-6);
  assert.ok(maxDifference(x.subarray(0, 16 * 24), z.subarray(0, 16 * 24)) < 1e-6);
  assert.ok(maxDifference(x.subarray(16 * 24), z.subarray(16 * 24)) > 1e-2);
  for (const item of [...all, ...conditions, tokens, variant]) item.dispose();
});

withDevices("LlamaGen: f16 weights change the logits by little", async (device) => {
  const { variant, tokens } = await setup(device), half = await setup(device, "f16");
  const conditions = [variant.condition([1]), half.variant.condition([1])];
  const logits = [variant.logits(tokens, conditions[0]), half.variant.logits(tokens, conditions[1])];
  const difference = maxDifference(await logits[0].data(), await logits[1].data());
  // Half precision has 11 bits: rounding errors of 5e-4 per weight average out over sums of 32 to 64.
  assert.ok(difference > 0 && difference < 2e-2, `${difference}`);
  for (const item of [...logits, ...conditions, tokens, variant, half.tokens, half.variant]) item.dispose();
});

withDevices("LlamaGen: the tokenizer treats a batch as its images one by one; codes have length 1", async (device) => {
  const before = device.memory().liveBytes;
  const tokenizer = await llamagen.loadTokenizer(device, source(tokenizerSpecs(tokenizerConfig)), tokenizerConfig);
  const images = randomUniform(device, [3, 8, 8, 3], 1);
  const f = tokenizer.encode(images), { tokens, fHat } = tokenizer.quantize(f), again = tokenizer.dequantize(tokens);
  assert.deepEqual(tokens.shape, [3, 16]);
  assert.ok(maxDifference(await fHat.data(), await again.data()) < 1e-6);
  for (const x of [f, fHat]) {
    const values = await x.data();
    for (let i = 0; i < values.length; i += 4) assert.ok(Math.abs(Math.hypot(...values.subarray(i, i + 4)) - 1) < 1e-5);
  }
  const whole = tokenizer.decode(fHat), values = await whole.data();
  for (let b = 0; b < 3; b++) {
    using one = scope(() => tokenizer.decode(tokenizer.quantize(tokenizer.encode(slice(images, 0, b, b + 1))).fHat));
    assert.ok(maxDifference(await one.data(), values.subarray(b * 192, (b + 1) * 192)) < 1e-4);
  }
  for (const item of [images, f, tokens, fHat, again, whole, tokenizer]) item.dispose();
  assert.equal(device.memory().liveBytes, before);
});

/** Tokens of new images. */
async function draw(variant: Variant, tokenizer: ImageTokenizer, settings: typeof sampler, images: readonly number[]) {
  const labels = images.map(() => 2);
  const { tokens, fHat } = await variant.generate(tokenizer, settings, { labels, images, seed: 5 });
  const values = Array.from(await tokens.ints());
  tokens.dispose();
  fHat.dispose();
  return values;
}

withDevices(
  "LlamaGen: an image depends on seed and number alone; a temperature of 0 takes the likeliest",
  async (device) => {
    const tokenizer = await llamagen.loadTokenizer(device, source(tokenizerSpecs(tokenizerConfig)), tokenizerConfig);
    const { variant, tokens } = await setup(device);
    const both = await draw(variant, tokenizer, sampler, [7, 8]);
    assert.deepEqual(await draw(variant, tokenizer, sampler, [8]), both.slice(16));
    assert.notDeepEqual(both.slice(0, 16), both.slice(16));
    const cold = await draw(variant, tokenizer, { ...sampler, temperature: 0 }, [7, 8]);
    assert.deepEqual(cold.slice(0, 16), cold.slice(16));
    assert.deepEqual(await draw(variant, tokenizer, { ...sampler, topK: 1 }, [9]), cold.slice(0, 16));
    await assert.rejects(
      variant.generate(tokenizer, sampler, { labels: [1], images: [0], seed: 0, moreSmooth: true }),
      /tiny: more_smooth is a setting of VAR/,
    );
    for (const item of [tokens, variant, tokenizer]) item.dispose();
  },
);

withDevices("LlamaGen: classes, tokens and images that do not fit are refused by name", async (device) => {
  const { variant, tokens } = await setup(device);
  assert.throws(() => variant.condition([5]), /LlamaGen: expected a class from 0 to 4, got 5/);
  const condition = variant.condition([null]), short = slice(tokens, 1, 0, 8);
  assert.throws(
    () => variant.logits(short, condition),
    /LlamaGen: expected at least 16 tokens per image, of 16, got 8/,
  );
  const larger = { ...tokenizerConfig, resolution: 12 };
  const tokenizer = await llamagen384.loadTokenizer(device, source(tokenizerSpecs(larger)), larger);
  const images = randomUniform(device, [1, 8, 8, 3], 1);
  assert.throws(
    () => tokenizer.encode(images),
    /^RangeError: llamagen384: expected images of 12x12 pixels, got 8x8; variants for 256 and for 384 pixels/,
  );
  for (const item of [short, tokens, condition, variant, tokenizer, images]) item.dispose();
});

withDevices("LlamaGen: checkpoints of another size and text-conditional ones are refused by name", async (device) => {
  const before = device.memory().liveBytes;
  const [b, l] = llamagenVariants(256, "");
  await assert.rejects(
    llamagen.loadVariant(device, source(transformerSpecs(l.config)), b.config, "llamagenb"),
    /does not fit LlamaGen transformer llamagenb: .*; the file fits GPT-L 256$/,
  );
  // As in t2i_XL_stage1_256.pt: a map from a text's features in place of the classes' table.
  const [, ...rest] = transformerSpecs(config);
  const text = source([
    { name: "cls_embedding.uncond_embedding", shape: [120, 2048], role: "tensor" },
    { name: "cls_embedding.cap_proj.fc1.weight", shape: [32, 2048], role: "linear" },
    { name: "cls_embedding.cap_proj.fc2.weight", shape: [32, 32], role: "linear" },
    ...rest,
  ]);
  await assert.rejects(
    llamagen.loadVariant(device, text, config, "tiny"),
    /cls_embedding.embedding_table.weight.*; the file is a text-conditional transformer \(t2i\); expected a class-con/,
  );
  await assert.rejects(
    llamagen.loadTokenizer(device, source(transformerSpecs(config)), tokenizerConfig),
    /does not fit LlamaGen VQ tokenizer/,
  );
  assert.equal(device.memory().liveBytes, before);
});
