/** The recipe `matched`: what it has in common with the official models, and how its sizes differ. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { loadCalibration } from "../../attribution/decision/calibration_file.ts";
import { defaultQuantizer } from "../../attribution/quantisation/quantizers.ts";
import { openSafetensors } from "../../models/checkpoint/mod.ts";
import { openModelSet } from "../../models/model_set.ts";
import { rarTokenizer, rarVariants } from "../../models/rar/config.ts";
import { varDemoSampler, varTokenizer, varVariants } from "../../models/var/config.ts";
import { familyNamed } from "../../models/registry.ts";
import type { WeightSpec } from "../../models/weights.ts";
import { canonicalJson } from "../../util/json.ts";
import { tokenizersOf, transformersOf, variantsOf, zooRecipes } from "../../zoo/recipes.ts";

const recipe = zooRecipes.matched, tokenizers = tokenizersOf(recipe), variants = variantsOf(recipe);
const official = { rar: rarVariants, var: varVariants };
const size = (specs: readonly WeightSpec[]) =>
  specs.reduce((sum, { shape }) => sum + shape.reduce((product, d) => product * d, 1), 0);

Deno.test("matched: tokens and codes are the official ones", () => {
  for (const [name, config] of [["rar", rarTokenizer], ["var", varTokenizer]] as const) {
    const family = familyNamed(name), { patchNums, codes } = family.tokenizerFacts(tokenizers[name].network.config);
    const facts = family.tokenizerFacts(config);
    assert.deepEqual([patchNums, codes], [facts.patchNums, facts.codes]);
    for (const { network } of variants.filter(({ network: { kind } }) => kind === name)) {
      const of = family.variantFacts(network.config);
      assert.deepEqual([of.patchNums, of.codes, of.classes], [patchNums, codes, recipe.classes.centres.length]);
    }
  }
  assert.equal(familyNamed("var").tokenizerFacts(tokenizers.var.network.config).channels, varTokenizer.zChannels);
});

Deno.test("matched: names and samplers are official ones, VAR's those of its demo, and nothing helps tokens to be found", () => {
  for (const [name, rows] of Object.entries(official)) {
    const own = variants.filter(({ network: { kind } }) => kind === name);
    assert.deepEqual(own.map(({ name }) => name), rows.map(({ label }) => label));
    assert.deepEqual(
      own.map(({ network: { sampler } }) => sampler),
      rows.map((row) => name === "var" ? varDemoSampler : row.sampler),
    );
    assert.equal(tokenizers[name].readBack, undefined);
  }
});

Deno.test("matched: a larger transformer is not trained for less, and all weights fit 24 MB in f16", () => {
  let parameters = 0;
  for (const name of Object.keys(official)) {
    const family = familyNamed(name), own = variants.filter(({ network: { kind } }) => kind === name);
    const sizes = own.map(({ network }) => size(family.variantSpecs(network.config)));
    assert.deepEqual(sizes, sizes.toSorted((a, b) => a - b));
    assert.ok(own.every(({ steps }, i) => i === 0 || steps >= own[i - 1].steps));
    const specs = family.tokenizerSpecs(tokenizers[name].network.config);
    // The inverse decoder is an encoder of its own.
    const encoder = specs.filter(({ name }) => /^(encoder|quant_conv)/.test(name));
    parameters += sizes.reduce((sum, n) => sum + n, 0) + size(specs) + size(encoder);
  }
  assert.ok(2 * parameters < 24e6, `${2 * parameters} bytes`);
});

Deno.test("matched: seeds are its own", () => {
  // Recipes may share networks, as tiny3 has those of tiny.
  const all = new Set(
    Object.values(zooRecipes).flatMap((recipe) => [...Object.values(tokenizersOf(recipe)), ...transformersOf(recipe)]),
  );
  assert.equal(new Set([...all].map(({ seed }) => seed)).size, all.size);
});

Deno.test("matched: twins are of the smallest size on a family's own tokenizer, and trained half as long", () => {
  for (const twin of recipe.outside.transformers) {
    const [smallest] = recipe.families[twin.network.kind].transformers;
    assert.deepEqual(twin.network.config, smallest.network.config);
    assert.notDeepEqual(twin.network.sampler, smallest.network.sampler);
    assert.deepEqual([twin.tokenizer, 2 * twin.steps], [smallest.tokenizer, smallest.steps]);
  }
});

Deno.test("matched: the networks that are kept were trained as the recipe says, and are what README's sums say", async () => {
  const folder = new URL("../../weights/matched/", import.meta.url);
  const readme = await Deno.readTextFile(new URL("README.md", folder));
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".safetensors")) names.push(name);
  const set = await openModelSet(folder.pathname);
  await set.check();
  assert.deepEqual(set.families.flatMap((family) => set.variants(family)), variants.map(({ name }) => name));
  const encoders = set.families.map((family) => set.manifest.families[family].encoder?.file);
  assert.equal(names.length, variants.length + 2 * set.families.length);
  for (const file of names) {
    const path = new URL(file, folder).pathname, name = file.replace(".safetensors", "");
    const sum = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
    assert.match(readme, new RegExp(`\\| \`${file}\` *\\| \`${sum}\` \\|`));
    if (encoders.includes(file)) continue;
    const tokenizer = Object.values(tokenizers).find((recipe) => recipe.name === name);
    const transformer = variants.find((recipe) => recipe.name === name);
    const source = await openSafetensors(path);
    const text = source.metadata.get("recipe");
    source.close();
    assert.equal(text, tokenizer ? JSON.stringify(tokenizer) : canonicalJson(transformer), name);
  }
});

Deno.test("matched: its calibration is one of its networks, with classifiers of all methods", async () => {
  const set = await openModelSet(new URL("../../weights/matched/", import.meta.url).pathname);
  const { calibration } = await loadCalibration(set);
  assert.equal(calibration.modelSet, set.hash);
  assert.equal(calibration.quantization, defaultQuantizer(set));
  assert.ok(calibration.classifiers?.joint !== undefined && calibration.classifiers.prada !== undefined);
});
