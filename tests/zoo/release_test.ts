/**
 * The embedded model set and dataset as they were released: sizes, disjoint splits, credits, and that the tokenizers
 * reconstruct photographs that they were not trained on.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { decodeImage } from "../../attribution/images/decode.ts";
import { labels, variantLabels } from "../labels.ts";
import { openSafetensors } from "../../models/checkpoint/mod.ts";
import { manifestPath, type ModelSet, openModelSet } from "../../models/model_set.ts";
import { canonicalJson } from "../../util/json.ts";
import { loadTokenizer } from "../../zoo/paths.ts";
import { photos } from "../../zoo/photos.ts";
import { tokenizersOf, variantsOf, zooRecipes } from "../../zoo/recipes.ts";
import { reconstructions } from "../../zoo/sheet.ts";
import { tinyDataset } from "../../zoo/tiny/dataset.ts";
import { openCpuForTests } from "../core/devices.ts";
import { tiny } from "../sets.ts";

const dataset = new URL("../../examples/Dataset", import.meta.url).pathname;

/** What the set with three families adds to it. */
const added3 = new URL("../../examples/Dataset3", import.meta.url).pathname;

/** The manifest and the networks' files of a set. */
function filesOf(set: ModelSet): string[] {
  return [manifestPath(set.path), ...new Set(set.networks.flatMap((network) => set.filesOf(network)))];
}

async function files(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) found.push(...await files(join(dir, name)));
    else found.push(join(dir, name));
  }
  return found.sort();
}

async function bytes(paths: readonly string[]): Promise<number> {
  let sum = 0;
  for (const path of paths) sum += (await Deno.stat(path)).size;
  return sum;
}

/** Numbers of rows by source. */
function counted(rows: readonly Record<string, string>[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { source } of rows) counts[source] = (counts[source] ?? 0) + 1;
  return counts;
}

async function table(name: string): Promise<Record<string, string>[]> {
  return parse(await Deno.readTextFile(join(dataset, name)), { columns: true });
}

Deno.test("the embedded networks fit their manifest, and 12 MB with it; so does the dataset", async () => {
  const set = await openModelSet(tiny);
  await set.check();
  assert.ok(await bytes(filesOf(set)) <= 12_000_000);
  assert.ok(await bytes(await files(dataset)) <= 12_000_000);
});

Deno.test("what the set with three families adds fits in 4 MB, and its images in 2 MB", async () => {
  const [set, former] = [await openModelSet(join(tiny, "tiny3.json")), await openModelSet(tiny)];
  await set.check({ verify: false });
  assert.deepEqual(set.families, ["rar", "var", "llamagen"]);
  for (const family of former.families) {
    assert.deepEqual(set.manifest.families[family], former.manifest.families[family]);
  }
  const known = filesOf(former), added = filesOf(set).filter((path) => !known.includes(path));
  assert.ok(await bytes(added) <= 4_000_000);
  const written = await files(tiny);
  assert.deepEqual(
    written.filter((path) => path.endsWith(".safetensors")),
    [...known, ...added].filter((path) => path.endsWith(".safetensors")).sort(),
  );
  assert.ok(await bytes(await files(added3)) <= 2_000_000);
});

Deno.test("images of the set with three families are the dataset's, or are in the other folder once", async () => {
  const { train, val, test } = tinyDataset, seen = new Set<string>();
  for (const folder of [dataset, added3]) {
    for (const path of (await files(folder)).filter((path) => /\/(train|val|test)\/.*\.png$/.test(path))) {
      const hash = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
      assert.ok(!seen.has(hash), path);
      seen.add(hash);
    }
  }
  assert.equal(seen.size, 320 + 220 + 1000 + 3 * (train.each + val.each + test.each));
  const rows: Record<string, string>[] = parse(
    await Deno.readTextFile(join(added3, "test_labels.csv")),
    { columns: true },
  );
  assert.deepEqual(counted(rows), { llamagenb: test.each, llamagenl: test.each, llamagenxl: test.each });
  const names = new Set((await table("test_labels.csv")).map(({ image_name }) => image_name));
  assert.ok(rows.every(({ image_name }) => !names.has(image_name)), "names that the dataset has");
});

Deno.test("the embedded networks were trained as the recipes tiny and tiny3 say", async () => {
  const { rar, var: varTokenizer, llamagen } = tokenizersOf(zooRecipes.tiny3);
  const written = [
    ...[rar, varTokenizer, llamagen].map((recipe) => ({ name: recipe.name, text: JSON.stringify(recipe) })),
    ...variantsOf(zooRecipes.tiny3).map((recipe) => ({ name: recipe.name, text: canonicalJson(recipe) })),
  ];
  for (const { name, text } of written) {
    const source = await openSafetensors(join(tiny, `${name}.safetensors`));
    assert.equal(source.metadata.get("recipe"), text, name);
    source.close();
  }
});

Deno.test("generators outside the set that are kept were trained as the recipe says, and are what README's sums say", async () => {
  const { transformers, kept } = zooRecipes.tiny.outside;
  const folder = new URL(`../../${kept}`, import.meta.url).pathname;
  const readme = await Deno.readTextFile(new URL("../../zoo/README.md", import.meta.url));
  const paths = await files(folder), names = paths.map((path) => basename(path, ".safetensors"));
  const tokenizers = Object.values(tokenizersOf(zooRecipes.tiny));
  for (const [i, name] of names.entries()) {
    const source = await openSafetensors(paths[i]);
    const tokenizer = tokenizers.find((recipe) => recipe.name === name);
    const transformer = transformers.find((recipe) => recipe.name === name);
    assert.equal(
      source.metadata.get("recipe"),
      tokenizer ? JSON.stringify(tokenizer) : canonicalJson(transformer),
      name,
    );
    source.close();
    // A transformer is of use with its tokenizer alone.
    const on = transformer && tokenizersOf(zooRecipes.tiny)[transformer.tokenizer].name;
    assert.ok(on === undefined || names.includes(on) || ["maskgit_vq", "vqvae"].includes(on), name);
    const sum = createHash("sha256").update(await Deno.readFile(paths[i])).digest("hex");
    assert.match(readme, new RegExp(`\\| \`${name}\\.safetensors\` *\\| \`${sum}\` \\|`));
  }
  assert.ok(names.includes("other"));
});

Deno.test("no image of the dataset is in two splits, or twice in one", async () => {
  const seen = new Map<string, string>();
  for (const split of ["train", "val", "test"]) {
    for (const path of (await files(join(dataset, split))).filter((path) => path.endsWith(".png"))) {
      const hash = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
      assert.equal(seen.get(hash), undefined, `${path} is ${seen.get(hash)}`);
      seen.set(hash, path);
    }
  }
  assert.equal(seen.size, 320 + 220 + 1000);
});

Deno.test("the tables of labels name every test and every processed image once", async () => {
  for (const [folder, name] of [["test", "test_labels.csv"], ["processed", "processed_labels.csv"]]) {
    const rows = await table(name);
    const there = (await files(join(dataset, folder))).map((path) => path.slice(join(dataset, folder).length + 1));
    assert.deepEqual(rows.map(({ image_name }) => image_name).sort(), there);
    for (const { label } of rows) assert.ok((labels as readonly string[]).includes(label), label);
  }
});

Deno.test("test has as many images of every source as the recipe says, the older ones first", async () => {
  const rows = await table("test_labels.csv");
  const { each, outliers, added } = tinyDataset.test;
  const expected: Record<string, number> = { ...added };
  for (const [source, count] of Object.entries(outliers)) expected[source] = (expected[source] ?? 0) + count;
  for (const label of [...variantLabels.rar, ...variantLabels.var]) expected[label] = each;
  assert.deepEqual(counted(rows), expected);
  for (const { label, source } of rows) assert.equal(label, source in added ? "outlier" : source);
  const first = counted(rows.slice(0, 330));
  assert.deepEqual([first["photograph"], first["other-generator"], first["rarb"]], [60, 30, 30]);
  assert.equal(Object.keys(first).length, 10);
});

Deno.test("pictures: photographs of test are not in val, only trained-on was trained on, and all are credited", async () => {
  const test = await table("test_labels.csv"), val = await table("val/pictures.csv");
  const splitOf = new Map(photos.map(({ id, split }) => [id, split]));
  const pictures = (rows: typeof test, of: (source: string) => boolean) =>
    new Set(rows.filter(({ source }) => of(source)).map(({ picture }) => picture).filter((id) => splitOf.has(id)));
  assert.equal(val.length, 60);
  const seen = pictures(test, (source) => source === "trained-on");
  const unseen = pictures(test, (source) => source !== "trained-on"), ofVal = pictures(val, () => true);
  assert.deepEqual([seen.size, unseen.size, ofVal.size], [40, 20, 20]);
  for (const id of seen) assert.equal(splitOf.get(id), "train");
  for (const id of [...unseen, ...ofVal]) assert.notEqual(splitOf.get(id), "train");
  assert.deepEqual([...unseen].filter((id) => ofVal.has(id)), []);
  const credits = await Deno.readTextFile(join(dataset, "CREDITS.md"));
  const entries = new Map(photos.map(({ id, ownEntry }) => [id, ownEntry]));
  for (const id of [...seen, ...unseen, ...ofVal]) {
    assert.ok(credits.includes(`| ${id} |`), id);
    assert.notEqual(entries.get(id), false, id);
  }
  // What is drawn is a picture of its own.
  const draws = test.filter(({ picture }) => !splitOf.has(picture)).map(({ picture }) => picture);
  assert.equal(new Set(draws).size, draws.length);
  assert.ok(draws.filter((id) => !/^(rar|var|twin-)/.test(id)).length >= 300);
});

Deno.test("transformers of the set have a held-out loss well below the unigram entropy of their tokens", async () => {
  for (const name of [...variantLabels.rar, ...variantLabels.var]) {
    const source = await openSafetensors(join(tiny, `${name}.safetensors`));
    const { heldOut, unigram, unigramByScale = unigram } = JSON.parse(source.metadata.get("metrics")!);
    source.close();
    assert.ok(heldOut < unigramByScale - 0.45, `${name}: ${heldOut} nats, unigram ${unigramByScale}`);
  }
});

// Over the 60 photographs in val: 21.28 dB for RAR's tokenizer and 23.32 dB for VAR's.
for (const [name, decibels] of [["rar", 21], ["var", 23]] as const) {
  Deno.test(`${name}: the tokenizer reconstructs held-out photographs`, async () => {
    const device = await openCpuForTests();
    const recipe = tokenizersOf(zooRecipes.tiny)[name];
    const family = await loadTokenizer(device, recipe, join(tiny, `${recipe.name}.safetensors`));
    const paths = await files(join(dataset, "val", "outlier"));
    const pictures = await Promise.all(paths.map(async (path) => await decodeImage(await Deno.readFile(path))));
    const again = await reconstructions(device, family, pictures);
    let sum = 0, count = 0;
    pictures.forEach(({ data }, i) => {
      data.forEach((value, k) => sum += (value - again[i].data[k]) ** 2);
      count += data.length;
    });
    const psnr = 10 * Math.log10(255 ** 2 / (sum / count));
    assert.ok(psnr > decibels, `${psnr} dB`);
    family.dispose();
    device.close();
  });
}
