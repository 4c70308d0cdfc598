/**
 * The networks beyond parity: sizes of the official variants, decoding step by step against teacher forcing, batches against
 * single images, f16 weights, and errors. The tiny configurations are those of the golden cases.
 */
import assert from "node:assert/strict";
import { type Device, fromArray, randomUniform, scope, slice } from "../../core/tensor/mod.ts";
import { syntheticSource, type TensorSource } from "../../models/checkpoint/mod.ts";
import { type RarConfig, rarTokenizer, rarVariants } from "../../models/rar/config.ts";
import { loadRarTokenizer, loadRarVariant } from "../../models/rar/family.ts";
import { tokenizerSpecs } from "../../models/rar/tokenizer.ts";
import { transformerSpecs as rarSpecs } from "../../models/rar/transformer.ts";
import { type VarConfig, varTokenizer, varVariants, type VqvaeConfig } from "../../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant } from "../../models/var/family.ts";
import { phiIndices } from "../../models/var/quantizer.ts";
import { transformerSpecs as varSpecs } from "../../models/var/transformer.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import type { WeightSpec } from "../../models/weights.ts";
import { withDevices } from "../core/devices.ts";

const tinyRar: RarConfig = {
  hiddenSize: 32,
  layers: 2,
  heads: 4,
  intermediateSize: 64,
  tokenCount: 16,
  classes: 5,
  codes: 24,
};
const tinyRarTokenizer = {
  hiddenChannels: 32,
  channelMult: [1, 2],
  resBlocks: 1,
  zChannels: 8,
  codes: 24,
  resolution: 8,
};
const tinyVqvae: VqvaeConfig = {
  ch: 32,
  chMult: [1, 2],
  resBlocks: 1,
  zChannels: 8,
  codes: 24,
  sharedPhi: 4,
  patchNums: [1, 2, 4],
  resolution: 8,
};
const tinyVar: VarConfig = {
  depth: 2,
  embedDim: 32,
  heads: 2,
  sharedAdaLn: false,
  attnL2Norm: true,
  classes: 5,
  patchNums: [1, 2, 4],
  mlpRatio: 4,
  codeChannels: 8,
  codes: 24,
};

function source(specs: readonly WeightSpec[], salt = "networks"): TensorSource {
  return syntheticSource(salt, specs);
}

function millions(specs: readonly WeightSpec[]): number {
  return specs.reduce((sum, spec) => sum + spec.shape.reduce((a, b) => a * b, 1), 0) / 1e6;
}

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i] - b[i]));
  return max;
}

Deno.test("the official variants have the published numbers of parameters", () => {
  // arXiv 2411.00776, Table 2: 261 M, 461 M, 955 M, 1.5 B; arXiv 2404.02905, Table 1: 310 M, 600 M, 1.0 B, 2.0 B.
  const rar = Object.fromEntries(rarVariants.map((row) => [row.label, millions(rarSpecs(row.config))]));
  const var_ = Object.fromEntries(varVariants.map((row) => [row.label, millions(varSpecs(row.config))]));
  const published = {
    rarb: 261,
    rarl: 461,
    rarxl: 955,
    rarxxl: 1499,
    var16: 310,
    var20: 600,
    var24: 1033,
    var30: 2010,
  };
  for (const [label, count] of Object.entries(published)) {
    const own = { ...rar, ...var_ }[label];
    assert.ok(Math.abs(own / count - 1) < 0.01, `${label}: ${own.toFixed(1)} M, published ${count} M`);
  }
});

Deno.test("phiIndices() decides the ties of the official ten scales as the official code does", () => {
  assert.deepEqual(phiIndices(4, 10), [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]);
  assert.deepEqual(phiIndices(4, 5), [0, 1, 2, 2, 3]);
});

async function tinyRarSetup(device: Device) {
  const variant = await loadRarVariant(device, source(rarSpecs(tinyRar)), tinyRar, "tiny");
  const ids = Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 24);
  return { variant, tokens: fromArray(device, ids, [2, 16]) };
}

withDevices("RAR: steps with a cache give the teacher-forced logits", async (device) => {
  const before = device.memory().liveBytes;
  const { variant, tokens } = await tinyRarSetup(device);
  const condition = variant.condition([3, null]);
  const whole = variant.logits(tokens, condition);
  const state = variant.transformer.start(2);
  const expected = await whole.data();
  let previous = null;
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

withDevices("RAR: one condition for a batch equals one per image", async (device) => {
  const { variant, tokens } = await tinyRarSetup(device);
  const shared = variant.condition([2]), each = variant.condition([2, 2]), mixed = variant.condition([2, 4]);
  const [a, b, c] = [shared, each, mixed].map((condition) => variant.logits(tokens, condition));
  const [x, y, z] = [await a.data(), await b.data(), await c.data()];
  assert.ok(maxDifference(x, y) < 1e-6);
  assert.ok(maxDifference(x.subarray(0, 16 * 24), z.subarray(0, 16 * 24)) < 1e-6);
  assert.ok(maxDifference(x.subarray(16 * 24), z.subarray(16 * 24)) > 1e-2);
  for (const item of [a, b, c, tokens, shared, each, mixed, variant]) item.dispose();
});

withDevices("RAR: f16 weights change the logits by little", async (device) => {
  const { variant, tokens } = await tinyRarSetup(device);
  const half = await loadRarVariant(device, source(rarSpecs(tinyRar)), tinyRar, "tiny", { weightType: "f16" });
  const conditions = [variant.condition([1]), half.condition([1])];
  const logits = [variant.logits(tokens, conditions[0]), half.logits(tokens, conditions[1])];
  const difference = maxDifference(await logits[0].data(), await logits[1].data());
  // Half precision has 11 bits: rounding errors of 5e-4 per weight average out over sums of 32 to 64.
  assert.ok(difference > 0 && difference < 2e-2, `${difference}`);
  for (const item of [...logits, ...conditions, tokens, variant, half]) item.dispose();
});

withDevices("RAR: wrong classes and token counts are refused by name", async (device) => {
  const { variant, tokens } = await tinyRarSetup(device);
  assert.throws(() => variant.condition([5]), /RAR: expected a class from 0 to 4, got 5/);
  const condition = variant.condition([null]);
  const short = slice(tokens, 1, 0, 8);
  assert.throws(() => variant.logits(short, condition), /RAR: expected 16 tokens per image, got 8/);
  for (const item of [short, tokens, condition, variant]) item.dispose();
});

withDevices("VAR: scales with a cache give the teacher-forced logits", async (device) => {
  const before = device.memory().liveBytes;
  const family = await loadVarTokenizer(device, source(vqvaeSpecs(tinyVqvae)), tinyVqvae);
  const variant = await loadVarVariant(device, source(varSpecs(tinyVar)), tinyVar, "tiny");
  const tokens = fromArray(device, Int32Array.from({ length: 42 }, (_, i) => (i * 5) % 24), [2, 21]);
  const input = family.transformerInput(tokens);
  const condition = variant.condition([0, null]);
  const whole = variant.logits(input, condition);
  const expected = await whole.data();
  const state = variant.transformer.start(2);
  const starts = [0, 1, 5, 21];
  for (let scale = 0; scale < 3; scale++) {
    const rows = starts[scale + 1] - starts[scale];
    const logits = scope(() =>
      variant.transformer.step(
        state,
        scale === 0 ? null : slice(input, 1, starts[scale] - 1, starts[scale + 1] - 1),
        condition,
      )
    );
    const values = await logits.data();
    logits.dispose();
    for (let b = 0; b < 2; b++) {
      const from = (b * 21 + starts[scale]) * 24;
      const row = expected.subarray(from, from + rows * 24);
      assert.ok(maxDifference(values.subarray(b * rows * 24, (b + 1) * rows * 24), row) < 2e-5);
    }
  }
  for (const item of [state, whole, input, tokens, condition, variant, family]) item.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("both tokenizers treat a batch as its images one by one", async (device) => {
  const rar = await loadRarTokenizer(device, source(tokenizerSpecs(tinyRarTokenizer)), tinyRarTokenizer);
  const var_ = await loadVarTokenizer(device, source(vqvaeSpecs(tinyVqvae)), tinyVqvae);
  for (const family of [rar, var_]) {
    const images = randomUniform(device, [3, 8, 8, 3], 1);
    const whole = scope(() => family.decode(family.quantize(family.encode(images)).fHat));
    const values = await whole.data();
    for (let b = 0; b < 3; b++) {
      const one = scope(() => family.decode(family.quantize(family.encode(slice(images, 0, b, b + 1))).fHat));
      assert.ok(maxDifference(await one.data(), values.subarray(b * 192, (b + 1) * 192)) < 1e-4);
      one.dispose();
    }
    for (const item of [images, whole, family]) item.dispose();
  }
});

withDevices("dequantize() of the greedy tokens gives their fHat", async (device) => {
  const rar = await loadRarTokenizer(device, source(tokenizerSpecs(tinyRarTokenizer)), tinyRarTokenizer);
  const var_ = await loadVarTokenizer(device, source(vqvaeSpecs(tinyVqvae)), tinyVqvae);
  for (const family of [rar, var_]) {
    const images = randomUniform(device, [2, 8, 8, 3], 2);
    const f = family.encode(images);
    const { tokens, fHat } = family.quantize(f);
    const again = family.dequantize(tokens);
    assert.deepEqual(tokens.shape, [2, family.tokenCount]);
    assert.ok(maxDifference(await fHat.data(), await again.data()) < 1e-6);
    for (const item of [images, f, tokens, fHat, again, family]) item.dispose();
  }
});

withDevices("a checkpoint of another size is refused, with what fits, and leaves no memory behind", async (device) => {
  const before = device.memory().liveBytes;
  await assert.rejects(
    loadRarVariant(device, source(rarSpecs(rarVariants[1].config)), rarVariants[0].config, "rarb"),
    (error: Error) => /rarb/.test(error.message) && /RAR-L/.test(error.message),
  );
  await assert.rejects(
    loadVarVariant(device, source(varSpecs(varVariants[3].config)), varVariants[1].config, "var20"),
    (error: Error) => /var20/.test(error.message) && /VAR-d30/.test(error.message),
  );
  await assert.rejects(
    loadRarTokenizer(device, source(vqvaeSpecs(varTokenizer)), rarTokenizer),
    /MaskGIT-VQ tokenizer/,
  );
  assert.equal(device.memory().liveBytes, before);
});
