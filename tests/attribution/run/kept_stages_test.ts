/** What a kill costs: a run over one image is killed at every stage of its work, and the stages that ran are counted. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { MeasuredLine } from "../../../attribution/evidence/evidence.ts";
import type { ImageInput } from "../../../attribution/images/load.ts";
import { Journal, journaled } from "../../../attribution/run/journal/mod.ts";
import { type OpenRun, openRun } from "../../../attribution/run/open_run.ts";
import { measure, type Measured } from "../../../attribution/run/pipeline.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { tiny } from "../../sets.ts";
import { withFolder } from "../files.ts";

/** A mirrored image of a model: the search finds its pose, which is measured in full. */
const image: ImageInput = {
  imageName: "mirrored",
  path: new URL("../../../examples/Dataset/train/rarl/001.png", import.meta.url).pathname,
  edits: [{ name: "mirror" }],
};

/** How the process ends. */
class Killed extends Error {}

/** When a process is killed: after it has kept the result of a stage, or before it keeps that of the second one. */
type Moment = "kept" | "computed" | "never";

/** Runs as a process of its own would, with nothing in memory but the networks, and counts the stages that run. */
async function attempt(
  run: OpenRun,
  path: string,
  moment: Moment,
  ran: Map<string, number>,
): Promise<MeasuredLine | undefined> {
  using journal = Journal.open(path);
  const evidence = journal.evidence({ modelSet: "a set", settings: run.settings });
  let times = 0;
  const remember = (measured: readonly Measured[]) => {
    times++;
    if (moment === "computed" && times === 2) throw new Killed();
    evidence.remember(measured);
    if (moment === "kept") throw new Killed();
    return Promise.resolve();
  };
  const recall = (sha256: string) => Promise.resolve(evidence.recall(sha256));
  const work = {
    flopsOf: () => 1,
    batchOf: (_: string, most: number) => most,
    expect: () => {},
    add: (stage: string, images: number) => void ran.set(stage, (ran.get(stage) ?? 0) + images),
    finish: () => {},
  };
  const options = {
    ...{
      ...run.measuring,
      recall,
      begin: (hashes: readonly string[]) => hashes.forEach((hash) => evidence.begin(hash)),
    },
    ...{ remember, posed: { recall, remember }, work, search: { level: "quick", needs: () => true } as const },
  };
  try {
    const lines = journaled([image], {
      evidence,
      pipeline: (images) => measure(images, () => ["rar", "var"], options),
    });
    for await (const line of lines) return line as MeasuredLine;
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  }
  return undefined;
}

/** Attempts until a line comes; how many there were, the line, and how often each stage ran. */
async function untilDone(run: OpenRun, path: string, moment: Moment) {
  const ran = new Map<string, number>();
  for (let attempts = 1; attempts < 100; attempts++) {
    const line = await attempt(run, path, moment, ran);
    if (line !== undefined) return { attempts, line, ran };
  }
  throw new Error("expected a line within 100 attempts");
}

const numbers = ({ timings: _, ...line }: MeasuredLine) => line;

Deno.test("a kill loses no stage that was done, and at most the one in progress, also of the search for poses", async () => {
  await using cleanup = new AsyncDisposableStack();
  const set = await openModelSet(tiny);
  const what = { quantization: "search", signals: "core", scoring: { condition: "infer" } } as const;
  const run = await openRun(set, what, { device: "cpu", threads: 1 }, {}, cleanup);
  await run.open();
  await withFolder(async (dir) => {
    const whole = await untilDone(run, join(dir, "whole.sqlite"), "never");
    assert.equal(whole.attempts, 1);
    assert.equal(whole.line.search!.poses.length, 1);
    // Tokenizers, classes and variants of both families, the search, and all of these again for the pose.
    assert.equal(whole.ran.size, 2 * (2 + 2 + 8) + 1);
    assert.ok([...whole.ran.values()].every((count) => count === 1));

    const kept = await untilDone(run, join(dir, "kept.sqlite"), "kept");
    assert.ok(kept.attempts > whole.ran.size, `${kept.attempts} attempts`);
    assert.deepEqual(kept.ran, whole.ran, "no stage runs twice");
    assert.deepEqual(numbers(kept.line), numbers(whole.line));

    const computed = await untilDone(run, join(dir, "computed.sqlite"), "computed");
    const total = [...computed.ran.values()].reduce((sum, count) => sum + count, 0);
    const kills = computed.attempts - 1;
    assert.ok(kills >= whole.ran.size - 2, `${kills} kills`);
    assert.ok(total <= whole.ran.size + kills, `${total} stages ran, with ${kills} kills`);
    assert.ok([...computed.ran.values()].every((count) => count <= 2), "a stage is lost once at most");
    assert.deepEqual(numbers(computed.line), numbers(whole.line));
  });
});
