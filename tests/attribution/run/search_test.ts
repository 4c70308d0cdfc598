/** The search within a run: which images are searched, what their lines hold, and what a journal keeps of it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { MeasuredLine } from "../../../attribution/evidence/evidence.ts";
import { measuredPoses } from "../../../attribution/evidence/poses.ts";
import type { ImageInput } from "../../../attribution/images/load.ts";
import { gatherLines, type MeasuringOptions } from "../../../attribution/run/measure_images.ts";
import type { SearchInput } from "../../../attribution/run/image_state.ts";
import { measure } from "../../../attribution/run/pipeline.ts";
import { Tracer } from "../../../attribution/run/tracer.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { withFolder } from "../files.ts";
import { tiny } from "../../sets.ts";

const dataset = new URL("../../../examples/Dataset/", import.meta.url).pathname;
const images: ImageInput[] = [
  { imageName: "mirrored", path: join(dataset, "train/rarl/001.png"), edits: [{ name: "mirror" }] },
  { imageName: "photograph", path: join(dataset, "val/outlier/002.png") },
  { imageName: "as it is", path: join(dataset, "train/rarl/001.png") },
  { imageName: "unsuitable", image: { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(99) } },
];
/** The generated image fits RAR's tokenizer as it is, and nothing else does. */
const needs = ({ families }: SearchInput) => families.rar.encLossUncalibrated > 2e-4;

async function lines(set: ModelSet, more: Partial<MeasuringOptions> = {}): Promise<{
  lines: readonly MeasuredLine[];
  computed: number;
}> {
  const options: MeasuringOptions = {
    ...{ quantization: "greedy", signals: "core", device: "cpu", threads: 1, searching: { level: "quick", needs } },
    ...more,
  };
  const { lines, summary } = await gatherLines(set, images, options);
  return { lines: lines.map((line) => line!), computed: summary.images.computed };
}

Deno.test("a run searches the images that need it, and measures the pose as the image itself", async () => {
  const { lines: [mirrored, photograph, asItIs, unsuitable] } = await lines(await openModelSet(tiny));
  assert.ok(needs(mirrored) && !needs(asItIs), `${mirrored.families.rar.encLossUncalibrated}`);
  const { level, tried, poses: [found, ...others] } = mirrored.search!;
  assert.deepEqual({ level, tried, others }, { level: "quick", tried: 5, others: [] });
  assert.deepEqual(found.pose, { left: 0, top: 0, width: 64, height: 64, turn: 0, mirror: true });
  assert.equal(found.family, "rar");
  // The mirror is undone exactly, so every number is that of the image as it was.
  assert.deepEqual(found.families, asItIs.families);
  assert.ok(mirrored.timings.search! > 0);
  assert.equal(photograph.search!.tried, 5);
  assert.equal(asItIs.search, undefined);
  assert.equal(unsuitable.search, undefined);
  const [first, second] = measuredPoses(mirrored);
  assert.equal(first.measured.families, mirrored.families);
  assert.equal(second.measured.families, found.families);
  assert.ok(Math.exp(first.logPrior) + Math.exp(second.logPrior) < 1);
  assert.deepEqual(measuredPoses(asItIs).map(({ pose, logPrior }) => ({ pose, prior: Math.exp(logPrior) })), [
    { pose: undefined, prior: 0.7 },
  ]);
});

Deno.test("a journal keeps what searches found, by their level, and searches what was only measured", async () => {
  const set = await openModelSet(tiny);
  await withFolder(async (dir) => {
    const journal = join(dir, "journal.sqlite");
    const without = await lines(set, { journal, searching: undefined });
    assert.equal(without.computed, 4);
    assert.ok(without.lines.every(({ search }) => search === undefined));
    const first = await lines(set, { journal });
    assert.equal(first.computed, 2);
    const again = await lines(set, { journal });
    assert.equal(again.computed, 0);
    assert.deepEqual(again.lines.map(({ search }) => search), first.lines.map(({ search }) => search));
    assert.ok(again.lines[0].search!.poses.length === 1);
    const off = await lines(set, { journal, searching: undefined });
    assert.equal(off.computed, 0);
    assert.ok(off.lines.every(({ search }) => search === undefined));
  });
});

Deno.test("a run that is aborted yields no image that it has not searched", async () => {
  const controller = new AbortController();
  const stopping = (measured: SearchInput) => {
    controller.abort();
    return needs(measured);
  };
  const set = await openModelSet(tiny);
  const { lines } = await gatherLines(set, images, {
    ...{ quantization: "greedy", signals: "core", device: "cpu", threads: 1, signal: controller.signal },
    searching: { level: "quick", needs: stopping },
  });
  const finished = lines.filter((line) => line !== undefined).map(({ image }) => image);
  assert.deepEqual(finished, ["as it is", "unsuitable"]);
});

Deno.test("the transformers that score a pose are chosen by the history of the image, as its decision is", async () => {
  await using tracer = await Tracer.open({ models: tiny, device: "cpu", threads: 1 });
  const [mirrored] = images;
  const processed = { ...mirrored, edits: [...mirrored.edits!, { name: "jpeg", quality: 90 }] } as ImageInput;
  const seen: unknown[] = [];
  const options = { ...tracer.run.measuring, search: { level: "quick", needs: () => true } } as const;
  const wants = (_: unknown, facts: unknown) => {
    seen.push(facts);
    return [];
  };
  const [line] = await Array.fromAsync(measure([processed], wants, options)) as MeasuredLine[];
  assert.equal(line.search!.poses.length, 1);
  assert.equal(line.facts!.file!.jpeg!.quality, 90);
  assert.ok(seen.length >= 2);
  for (const facts of seen) assert.deepEqual(facts, line.facts);
});
