/**
 * The embedded set with three families, and that without LlamaGen, on the test images of both datasets that
 * weights/tiny/README.md has figures of.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { isUnreadable } from "../../attribution/evidence/evidence.ts";
import { listImages } from "../../attribution/images/list.ts";
import { type Label, labelsOf } from "../../attribution/labels.ts";
import { Tracer } from "../../attribution/run/tracer.ts";
import { openModelSet } from "../../models/model_set.ts";
import { tiny } from "../sets.ts";

const examples = new URL("../../examples", import.meta.url).pathname;
const three = join(tiny, "tiny3.json");

type Verdict = { readonly said: Label; readonly truth: Label };

/** Said and true labels of the first `count` test images of a dataset. */
async function judge(models: string, dataset: string, count: number): Promise<readonly Verdict[]> {
  const folder = join(examples, dataset);
  const rows: { image_name: string; label: Label }[] = parse(
    await Deno.readTextFile(join(folder, "test_labels.csv")),
    { columns: true },
  );
  const truth = new Map(rows.map(({ image_name, label }) => [image_name, label]));
  const images = (await listImages([join(folder, "test")])).slice(0, count);
  assert.equal(images.length, count);
  const verdicts: Verdict[] = [];
  await using tracer = await Tracer.open({ models, device: "cpu" });
  for await (const line of tracer.attribute(images)) {
    assert.ok(!isUnreadable(line));
    const label = truth.get(line.image);
    assert.ok(label !== undefined, line.image);
    verdicts.push({ said: line.label!, truth: label });
  }
  return verdicts;
}

/** The shares of images whose label is right, and whose family is. */
async function sharesOf(verdicts: readonly Verdict[]): Promise<{ readonly labels: number; readonly families: number }> {
  const set = await openModelSet(three);
  const familyOf = (label: Label) => label === "outlier" ? label : set.familyOf(label);
  const share = (isRight: (verdict: Verdict) => boolean) => verdicts.filter(isRight).length / verdicts.length;
  return {
    labels: share(({ said, truth }) => said === truth),
    families: share(({ said, truth }) => familyOf(said) === familyOf(truth)),
  };
}

// All of it takes about 200 seconds of a processor: 420 images under the larger set and 420 under the smaller one.
Deno.test("with three families, twelve labels are told apart, and RAR's and VAR's as well as without LlamaGen", async () => {
  assert.equal(labelsOf(await openModelSet(three)).all.length, 12);
  const former = await judge(three, "Dataset", 330), added = await judge(three, "Dataset3", 90);
  const all = await sharesOf([...former, ...added]);
  assert.ok(all.labels >= 0.96, `twelve labels: ${all.labels}`);
  assert.ok(all.families >= 0.975, `families: ${all.families}`);
  // The same images under the set without LlamaGen, whose labels are the same but for its three.
  const own = await sharesOf(former), without = await sharesOf(await judge(tiny, "Dataset", 330));
  assert.ok(own.labels >= without.labels - 0.01, `labels: ${own.labels}, ${without.labels} without LlamaGen`);
  assert.ok(own.families >= without.families - 0.01, `families: ${own.families}, ${without.families} without LlamaGen`);
});

Deno.test("LlamaGen's images are outliers to the set without it", async () => {
  const verdicts = await judge(tiny, "Dataset3", 90);
  const outliers = verdicts.filter(({ said }) => said === "outlier").length;
  assert.ok(outliers >= 0.95 * verdicts.length, `${outliers} of ${verdicts.length}`);
});
