/**
 * Training of small transformers on made-up tokens: that they learn, go on after an interruption as if there had been
 * none, and are written so that the loaders read them.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { embedding, fromArray, normals, scope } from "../../core/tensor/mod.ts";
import { openCheckpoint, openSafetensors } from "../../models/checkpoint/mod.ts";
import { familyNamed } from "../../models/registry.ts";
import type { RarConfig } from "../../models/rar/config.ts";
import type { VarConfig } from "../../models/var/config.ts";
import { initialValues } from "../../zoo/init.ts";
import { Learner, type TransformerInput } from "../../zoo/learner.ts";
import { trainableFamily, type TransformerRecipe } from "../../zoo/recipe.ts";
import { transformersOf, zooRecipes } from "../../zoo/recipes.ts";
import { readTokens, type TokenSet, unigramEntropy, writeTokens } from "../../zoo/tokens.ts";
import { trainTransformer } from "../../zoo/transformers.ts";
import { withFolder } from "../attribution/files.ts";
import { openCpuForTests } from "../core/devices.ts";

const device = await openCpuForTests({ threads: 1 });
globalThis.addEventListener("unload", () => device.close());

const course = { seed: 5, batch: 8, lr: 1e-2, warmup: 5, weightDecay: 0, dropLabel: 0.1 };
const rar: TransformerRecipe<RarConfig> = {
  name: "rar-test",
  title: "test",
  tokenizer: "rar",
  network: {
    kind: "rar",
    config: {
      hiddenSize: 32,
      layers: 2,
      heads: 4,
      intermediateSize: 64,
      tokenCount: 16,
      classes: 2,
      codes: 24,
      spareRows: 2,
    },
    sampler: { guidance: 4, power: 2, temperature: 1 },
  },
  ...course,
  steps: 300,
};
const varRecipe: TransformerRecipe<VarConfig> = {
  name: "var-test",
  title: "test",
  tokenizer: "var",
  network: {
    kind: "var",
    config: {
      depth: 2,
      embedDim: 32,
      heads: 4,
      sharedAdaLn: true,
      attnL2Norm: true,
      classes: 2,
      patchNums: [1, 2, 3],
      mlpRatio: 2,
      codeChannels: 8,
      codes: 24,
    },
    sampler: { guidance: 1.5, topK: 10, topP: 0.96 },
  },
  ...course,
  steps: 120,
};

/** Scales of 1, 4 and 9 tokens: which token of the scale before is in the input row of each, from the second token on. */
const seen = Int32Array.from({ length: 13 }, (_, i) => i < 4 ? 0 : 1 + (i - 4) % 4);

/** A stand-in for a tokenizer: an input row is a fixed random vector for a token of the scale before. */
const input: TransformerInput = (tokens) => {
  const [batch, n] = tokens.shape;
  return scope(() => {
    const table = fromArray(device, normals(1, 1, 24 * 8), [24, 8]);
    const rows = Int32Array.from({ length: batch * 13 }, (_, i) => Math.floor(i / 13) * n + seen[i % 13]);
    const previous = embedding(tokens.reshape(batch * n, 1), fromArray(device, rows, [batch, 13]));
    return embedding(table, previous.reshape(batch, 13));
  });
};

/** Six sequences, three of each class, in every crop as it is and mirrored. */
function sequences(tokenCount: number): TokenSet {
  const count = 6;
  const one = Int32Array.from({ length: count * tokenCount }, (_, i) => (i * 7 + (i >> 3) * 5 + (i >> 5)) % 24);
  const tokens = new Int32Array(2 * one.length);
  tokens.set(one);
  tokens.set(one, one.length);
  return { count, tokenCount, tokens, classes: Uint8Array.of(0, 0, 0, 1, 1, 1), fingerprint: `made up ${tokenCount}` };
}

for (const recipe of [rar, varRecipe]) {
  const set = sequences(recipe.network.kind === "rar" ? 16 : 14);

  Deno.test(`trainTransformer() learns a handful of sequences by heart (${recipe.network.kind})`, async () => {
    await withFolder(async (dir) => {
      const before = device.memory().liveBytes;
      const lines: string[] = [];
      const out = join(dir, "out.safetensors");
      const often = { ...recipe, every: 60 };
      const run = { device, recipe: often, train: set, heldOut: set, input, dir: join(dir, "run"), out };
      const { done, figures } = await trainTransformer({ ...run, log: (line) => lines.push(line) });
      assert.ok(done);
      // Uniform guessing costs ln 24 = 3.18. A sequence is certain after its first token, and that is one of six, or of
      // three when the class is known: ln 3 / 16 = 0.07 nats per token are left.
      assert.ok(figures.heldOut < 0.25, JSON.stringify(figures));
      assert.ok(figures.heldOut < figures.heldOutNone, JSON.stringify(figures));
      assert.ok(Math.abs(figures.unigram - unigramEntropy(set, 24)) < 1e-12 && figures.unigram > 2.5);
      assert.equal(lines.length, recipe.steps / 60);
      const source = await openSafetensors(out);
      assert.deepEqual(JSON.parse(source.metadata.get("metrics")!), figures);
      assert.equal(source.metadata.get("data"), set.fingerprint);
      assert.equal(source.metadata.get("seed"), "5");
      source.close();
      assert.equal(device.memory().liveBytes, before);
    });
  });

  Deno.test(`trainTransformer() goes on after an interruption as if there had been none (${recipe.network.kind})`, async () => {
    await withFolder(async (dir) => {
      const short = { ...recipe, steps: 12, every: 4 };
      const run = { device, recipe: short, train: set, heldOut: set, input };
      const whole = join(dir, "whole.safetensors"), resumed = join(dir, "resumed.safetensors");
      await trainTransformer({ ...run, dir: join(dir, "a"), out: whole });
      const controller = new AbortController();
      const stop = { ...run, dir: join(dir, "b"), out: resumed, signal: controller.signal };
      const first = await trainTransformer({ ...stop, log: () => controller.abort() });
      assert.equal(first.done, false);
      const second = await trainTransformer({ ...run, dir: join(dir, "b"), out: resumed });
      assert.equal(second.done, true);
      assert.deepEqual(await Deno.readFile(resumed), await Deno.readFile(whole));
      await assert.rejects(
        trainTransformer({ ...run, recipe: { ...short, seed: 6 }, dir: join(dir, "b"), out: resumed }),
        /belongs to another training/,
      );
    });
  });

  Deno.test(`Learner.save() writes f16 weights that the loaders read (${recipe.network.kind})`, async () => {
    await withFolder(async (dir) => {
      const path = join(dir, "model.safetensors");
      const learner = await Learner.open(device, recipe, input);
      const tokens = set.tokens.slice(0, 2 * set.tokenCount), labels = [1, null];
      using loss = learner.loss({ tokens, labels });
      await learner.save(path, { format: "test" });
      const { network } = recipe;
      const source = await openCheckpoint(path);
      const index = fromArray(device, tokens, [2, set.tokenCount]);
      const family = familyNamed(network.kind);
      const loaded = await family.loadVariant(device, source, network.config, "test", { weightType: "f16" });
      const condition = loaded.condition(labels);
      const logits = loaded.logits(network.kind === "rar" ? index : input(index), condition);
      const again = crossEntropyOf(await logits.data(), tokens, 24);
      // Weights have 11 bits: the loss, at the start near ln 24, moves by less than 1e-3 of it.
      assert.ok(Math.abs(again - await loss.item()) < 3e-3, `${again}, expected ${await loss.item()}`);
      for (const item of [logits, condition, index, loaded, learner]) item.dispose();
      source.close();
    });
  });
}

function crossEntropyOf(logits: Float32Array, targets: Int32Array, codes: number): number {
  let sum = 0;
  targets.forEach((target, row) => {
    const values = logits.subarray(row * codes, (row + 1) * codes);
    sum += Math.log(values.reduce((total, x) => total + Math.exp(x), 0)) - values[target];
  });
  return sum / targets.length;
}

Deno.test("readTokens() reads what writeTokens() writes and refuses tokens of something else", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "tokens.safetensors"), set = sequences(16);
    await writeTokens(path, set);
    assert.deepEqual(await readTokens(path, set.fingerprint), set);
    await assert.rejects(readTokens(path, "other"), /tokens expected of other, got made up 16/);
  });
});

Deno.test("transformers of the recipe tiny have names, seeds and sizes of their own", () => {
  const transformerRecipes = transformersOf(zooRecipes.tiny);
  const names = transformerRecipes.map(({ name }) => name), seeds = transformerRecipes.map(({ seed }) => seed);
  assert.deepEqual(names.slice(0, 8), ["rarb", "rarl", "rarxl", "rarxxl", "var16", "var20", "var24", "var30"]);
  assert.equal(new Set(seeds).size, seeds.length);
  const sizes = transformerRecipes.map(({ network: { config } }) => JSON.stringify(config));
  assert.equal(new Set(sizes).size, sizes.length);
});

Deno.test("initialValues() depend on the seed, and gates start at one", () => {
  const values = (recipe: TransformerRecipe, name: string, shape: number[], seed = 1) => {
    const { network: { config } } = recipe;
    const rule = trainableFamily(recipe.network).training.initRule(name, shape, config);
    return [...initialValues({ name, shape }, rule, seed)];
  };
  const weight = "blocks.0.mlp.fc1.weight";
  const map = values(rar, weight, [64, 32]);
  assert.deepEqual(values(rar, weight, [64, 32]), map);
  assert.notDeepEqual(values(rar, weight, [64, 32], 2), map);
  assert.notDeepEqual(values(rar, "blocks.1.mlp.fc1.weight", [64, 32]), map);
  const bias = values(rar, "blocks.1.adaLN_modulation.1.bias", [192]);
  assert.deepEqual(bias, Array.from({ length: 192 }, (_, i) => Math.floor(i / 32) % 3 === 2 ? 1 : 0));
  const shared = values(varRecipe, "shared_ada_lin.1.bias", [192]);
  assert.deepEqual(shared, Array.from({ length: 192 }, (_, i) => i < 64 ? 1 : 0));
  for (const recipe of [rar, varRecipe]) assert.deepEqual(values(recipe, "blocks.0.norm1.weight", [2]), [1, 1]);
});
