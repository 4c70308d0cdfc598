/** What one task has measured and another need not: rules, and the same numbers as when all of it is measured anew. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { MeasuredLine, Settings } from "../../../../attribution/evidence/evidence.ts";
import { extrasFor } from "../../../../attribution/decision/extras.ts";
import { listImages } from "../../../../attribution/images/list.ts";
import { attributeFiles } from "../../../../attribution/run/attribute.ts";
import { mergeReusable, reusablePart } from "../../../../attribution/run/journal/reuse.ts";
import { defaultInference } from "../../../../attribution/likelihood/mod.ts";
import { gatherLines, type MeasuringOptions } from "../../../../attribution/run/measure_images.ts";
import type { Measured } from "../../../../attribution/run/pipeline.ts";
import { openModelSet } from "../../../../models/model_set.ts";
import { standIns } from "../../../sets.ts";
import { withFolder, writeImages } from "../../files.ts";

const tokenizers: Settings = {
  ...{ condition: "none", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
};
const none: Settings = { ...tokenizers, summaries: "summaries/3" };
const infer: Settings = { ...none, condition: "infer", inference: defaultInference };
const both = { families: true, variants: true }, families = { families: true, variants: false };

Deno.test("reusablePart() shares what settings agree on, and nothing else", () => {
  const other = (more: Partial<Settings>) => ({ ...infer, ...more });
  const cases: [string, Settings, Settings, ReturnType<typeof reusablePart>][] = [
    ["the same", infer, infer, both],
    ["no transformers to transformers", tokenizers, infer, families],
    ["transformers to none", infer, tokenizers, families],
    ["another condition", none, infer, families],
    ["another inference", other({ inference: { ...defaultInference, top: 3 } }), infer, families],
    [
      "another inference of a family",
      other({ inference: { ...defaultInference, families: { var: { budget: 10, top: 1 } } } }),
      infer,
      families,
    ],
    ["given classes", { ...none, condition: "given" }, { ...none, condition: "given" }, families],
    ["more signals", other({ signals: "all" }), infer, both],
    ["fewer signals", infer, other({ signals: "all" }), { families: false, variants: true }],
    ["more extras", other({ extras: "membership/1+tokens/1" }), other({ extras: "tokens/1" }), both],
    ["fewer extras", infer, other({ extras: "tokens/1" }), families],
    ["extras of which nobody knows the names", other({ extras: "mine/1" }), infer, families],
    ["other tokens", other({ quantization: "sweeps" }), infer, undefined],
    ["another device", other({ device: "webgpu" }), infer, undefined],
    ["other weights", other({ weightType: "f16" }), infer, undefined],
    ["another encoder", other({ signals: "baselines" }), infer, undefined],
    ["another encoder", infer, other({ signals: "baselines" }), undefined],
    ["nothing of use", tokenizers, { ...tokenizers, signals: "all" }, undefined],
  ];
  for (const [what, stored, wanted, expected] of cases) assert.deepEqual(reusablePart(stored, wanted), expected, what);
});

Deno.test("mergeReusable() leaves what is known as it is, and adds what is missing without the extras of others", () => {
  const own = { tokens: 1, meanLogProb: -1, perplexity: Math.E };
  const known: Measured = {
    ...{ sha256: "a".repeat(64), width: 1, height: 2, timings: { read: 1, families: 2, variants: 3 } },
    variants: { rarb: { ...own, summaries: { a: 1 } } },
  };
  const stored: Measured = {
    ...known,
    variants: {
      rarb: { ...own, summaries: { a: 2 } },
      rarl: { ...own, summaries: { a: 3, "membership.x": 4, "token.c0": 5, "prada.score": 6 } },
    },
  };
  const settings = { stored: { ...infer, extras: "membership/1+prada/abc+tokens/1" }, wanted: infer };
  assert.deepEqual(mergeReusable(known, stored, both, settings)!.variants, {
    rarb: { ...own, summaries: { a: 1 } },
    rarl: { ...own, summaries: { a: 3 } },
  });
  assert.equal(
    mergeReusable(undefined, { ...stored, variants: {} }, families, settings),
    undefined,
    "tokens alone are no use",
  );
});

const options: MeasuringOptions = {
  ...{ quantization: "greedy", signals: "core", device: "cpu", threads: 1, memoryBytes: 2 ** 30 },
};
const numbers = (lines: readonly (MeasuredLine | undefined)[]) =>
  lines.map((line) => ({ ...line, timings: undefined }));

Deno.test("runs share evidence through a journal: what is recalled has the numbers of what is measured anew", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 2, 32);
    const set = await openModelSet(standIns);
    const images = await listImages([join(dir, "in")]);
    let files = 0;
    /** Runs in turn over one journal, the last one also without any. */
    const inTurn = async (...runs: Partial<MeasuringOptions>[]) => {
      const journal = join(dir, `${files++}.sqlite`);
      const results = [];
      for (const own of runs) results.push(await gatherLines(set, images, { ...options, ...own, journal }));
      const fresh = await gatherLines(set, images, { ...options, ...runs.at(-1) });
      assert.equal(fresh.summary.images.computed, 2);
      assert.deepEqual(numbers(results.at(-1)!.lines), numbers(fresh.lines));
      return results.map(({ summary, lines }) => ({
        computed: summary.images.computed,
        timings: lines.map((line) => line!.timings),
      }));
    };
    const scoring = { condition: "none" } as const;
    const [all, core] = await inTurn({ signals: "all", scoring: { condition: "infer" } }, {
      scoring: { condition: "infer" },
    });
    assert.deepEqual([all.computed, core.computed], [2, 0], "fewer signals");
    const [more, less] = await inTurn({ scoring: { ...scoring, extras: extrasFor(["membership", "tokens"]) } }, {
      scoring,
    });
    assert.deepEqual([more.computed, less.computed], [2, 0], "fewer extras");
    const [first, second, third] = await inTurn({}, { scoring }, { signals: "all", scoring });
    assert.deepEqual([first.computed, second.computed, third.computed], [2, 2, 2]);
    second.timings.forEach(({ families, variants }, i) => {
      assert.equal(families, first.timings[i].families, "the tokenizers did not run again");
      assert.ok(variants > 0);
    });
    third.timings.forEach(({ families, variants }, i) => {
      assert.notEqual(families, first.timings[i].families, "more signals: the tokenizers did");
      assert.equal(variants, 0, "but no transformer");
    });
    const [greedy, sweeps] = await inTurn({}, { quantization: "sweeps" });
    assert.deepEqual([greedy.computed, sweeps.computed], [2, 2], "other tokens are measured");

    // attribute after a run that decided nothing: nothing is left to measure; a third image costs one.
    const journal = join(dir, "j.sqlite");
    const measured = await gatherLines(set, images, { ...options, signals: "all", scoring, journal });
    const job = { inputs: [join(dir, "in")], models: standIns, method: "perplexity", quantization: "greedy" } as const;
    const attributed = await attributeFiles({ ...job, device: "cpu", threads: 1, memoryBytes: 2 ** 30, journal });
    assert.deepEqual([measured.summary.images.computed, attributed.images.computed], [2, 0]);
    await writeImages(join(dir, "in"), 3, 32);
    const grown = await gatherLines(set, await listImages([join(dir, "in")]), { ...options, scoring, journal });
    assert.deepEqual(grown.summary.images, { total: 3, measured: 3, unreadable: 0, computed: 1 });
  });
});
