/** Scoring under classes inside the pipeline: all variants, batches, memory, resuming, journals, tables of classes. */
import { labelsOf, mapFamilies } from "../../../attribution/labels.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { isUnreadable, type MeasuredLine, type Settings } from "../../../attribution/evidence/evidence.ts";
import { parseMeasurement } from "../../../attribution/evidence/schemas.ts";
import type { ImageInput } from "../../../attribution/images/load.ts";
import { attributeFiles } from "../../../attribution/run/attribute.ts";
import { Journal } from "../../../attribution/run/journal/mod.ts";
import { readClassTable, withClasses } from "../../../attribution/likelihood/class_table.ts";
import { defaultInference, type ExtraScores, mixedNames } from "../../../attribution/likelihood/mod.ts";
import { VariantPool } from "../../../attribution/run/variant_pool.ts";
import { measure, type Measured, type MeasureOptions } from "../../../attribution/run/pipeline.ts";
import { planMemory, type PlanOptions } from "../../../attribution/run/memory_plan.ts";
import { openDevice } from "../../../core/open_device.ts";
import type { Device } from "../../../core/tensor/mod.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { standIns } from "../../sets.ts";
import { withFolder, writeImages } from "../files.ts";
import { hashFile } from "../../../util/hash.ts";

const MiB = 2 ** 20;
const common = { quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" } as const;
const none: Settings = { ...common, condition: "none", summaries: "summaries/3" };
/** RAR's search starts where VAR's has come, as in the embedded set's calibration. */
const infer: Settings = { ...none, condition: "infer", inference: { ...defaultInference, candidates: 64 } };
const given: Settings = { ...none, condition: "given" };

type Run = (
  inputs: readonly ImageInput[],
  settings: Settings,
  plan?: Partial<PlanOptions>,
  more?: Partial<MeasureOptions>,
) => Promise<{ lines: MeasuredLine[]; peak: number; swapped: readonly string[] }>;

async function withSet(body: (opened: { set: ModelSet; device: Device; run: Run }) => Promise<void>): Promise<void> {
  const set = await openModelSet(standIns);
  const device = await openDevice("cpu", { threads: 1 });
  const run: Run = async (inputs, settings, planOptions = {}, more = {}) => {
    const classes = settings.condition !== "none";
    const plan = planMemory(set, device, { memoryBytes: 1024 * MiB, classes, ...planOptions });
    device.trim();
    device.resetPeak();
    const models = await VariantPool.open(set, device, plan);
    const lines: MeasuredLine[] = [];
    try {
      const tokenizers = mapFamilies(set.families, (family) => set.tokenizerFacts(family));
      const about = { tokenizers, modelSet: set.hash, variants: labelsOf(set).variants };
      const options = { networks: { device, models, plan }, ...about, settings, ...more };
      for await (const line of measure(inputs, () => ["rar", "var"], options)) {
        assert.ok(!isUnreadable(line));
        lines.push(line);
      }
    } finally {
      models.dispose();
    }
    return { lines, peak: device.memory().peakBytes, swapped: plan.swapped };
  };
  try {
    await body({ set, device, run });
  } finally {
    device.close();
  }
}

function inputs(dir: string, count: number, classOf?: (k: number) => number): ImageInput[] {
  return Array.from({ length: count }, (_, k) => ({
    path: join(dir, `${k}.png`),
    imageName: `${k}.png`,
    ...classOf && { class: classOf(k) },
  }));
}

function numbers({ timings: _, ...rest }: MeasuredLine): unknown {
  return rest;
}

const scales = (set: ModelSet) => set.tokenizerFacts("var").patchNums.length;

Deno.test("measure() scores all variants of both families under inferred classes, as evidence that can be read again", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 3, 32);
    await withSet(async ({ set, run }) => {
      const { lines } = await run(inputs(dir, 3), infer);
      const labels = [...set.variants("rar"), ...set.variants("var")];
      assert.equal(labels.length, 8);
      for (const line of lines) {
        assert.deepEqual(Object.keys(line.variants).sort(), [...labels].sort());
        for (const family of ["rar", "var"] as const) {
          const { top, cost } = line.classes![family]!;
          assert.ok(cost > 0 && cost <= 45 && top.length >= 1 && top.length <= defaultInference.top);
          assert.ok(Math.abs(top.reduce((sum, { weight }) => sum + weight, 0) - 1) < 1e-9);
          for (const name of set.variants(family)) {
            const { summaries, meanLogProb, perplexity } = line.variants[name];
            assert.deepEqual(Object.keys(summaries!), mixedNames(family === "var" ? scales(set) : 0));
            assert.equal(meanLogProb, summaries!["conditional.mean"]);
            assert.equal(perplexity, summaries!["conditional.perplexity"]);
          }
        }
        assert.deepEqual(parseMeasurement(JSON.stringify(line)), line);
      }
      const plain = await run(inputs(dir, 3), none);
      plain.lines.forEach((line, i) => {
        assert.equal(line.classes, undefined);
        for (const [name, { summaries }] of Object.entries(line.variants)) {
          assert.equal(summaries!["conditional.sum"], summaries!["unconditional.sum"]);
          const other = lines[i].variants[name].summaries!;
          assert.equal(summaries!["unconditional.sum"], other["unconditional.sum"]);
          assert.notEqual(summaries!["guided.sum"], other["guided.sum"]);
        }
      });
    });
  });
});

Deno.test("measure() gives the same numbers under classes whatever the batches and the memory, and stays within it", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 7, 32);
    await withSet(async ({ set, device, run }) => {
      const accepted = (memoryBytes: number) => {
        try {
          return planMemory(set, device, { memoryBytes, classes: true }) !== undefined;
        } catch {
          return false;
        }
      };
      let least = 1;
      for (let bit = 2 ** 30; bit >= 1; bit /= 2) if (!accepted(least + bit - 1)) least += bit;
      for (const settings of [infer, given]) {
        const images = inputs(dir, 7, settings === given ? (k) => k % 3 : undefined);
        const before = device.memory().liveBytes;
        const whole = await run(images, settings);
        assert.deepEqual(whole.swapped, []);
        const single = await run(images, settings, { maxBatch: 1 });
        const tight = await run(images, settings, { memoryBytes: least, swapChunk: 4 });
        assert.ok(tight.swapped.length > 0);
        assert.deepEqual(single.lines.map(numbers), whole.lines.map(numbers));
        assert.deepEqual(tight.lines.map(numbers), whole.lines.map(numbers));
        assert.ok(tight.peak <= least, `expected a peak of at most ${least} bytes, got ${tight.peak}`);
        assert.equal(device.memory().liveBytes, before);
      }
    });
  });
});

Deno.test("measure() scores images under the classes that are given, and asks for those of all", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 2, 32, 1); // the same image twice
    await withSet(async ({ run }) => {
      const { lines } = await run(inputs(dir, 2, (k) => k), given);
      assert.deepEqual(lines.map(({ classes }) => classes!.rar!.top), [[{ class: 0, weight: 1 }], [{
        class: 1,
        weight: 1,
      }]]);
      assert.equal(lines[0].sha256, lines[1].sha256);
      const mean = (line: MeasuredLine) => line.variants.rarb.meanLogProb;
      assert.notEqual(mean(lines[0]), mean(lines[1]));
      // What is known of an image under another class is of no use.
      const known = (
        { sha256, width, height, facts, families, classes, variants, timings }: MeasuredLine,
      ): Measured => ({
        ...{ sha256, width, height, facts, families, classes, variants, timings },
      });
      const again = await run(inputs(dir, 2, (k) => k), given, {}, {
        recall: () => Promise.resolve(structuredClone(known(lines[0]))),
      });
      assert.deepEqual(again.lines.map(numbers), lines.map(numbers));
      await assert.rejects(run(inputs(dir, 1), given), /0\.png: expected its class \(--classes\), got none/);
    });
  });
});

Deno.test("measure() infers a family's classes from its own tokens alone where settings have no candidates", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 1, 32);
    await withSet(async ({ run }) => {
      const [own, started] = await Promise.all([defaultInference, infer.inference!].map(async (inference) => {
        const kept: Measured[] = [];
        const { lines: [{ classes }] } = await run(inputs(dir, 1), { ...infer, inference }, {}, {
          remember: (measured) => Promise.resolve(void kept.push(...structuredClone(measured))),
        });
        return { classes: classes!, starts: kept.some(({ starts }) => starts !== undefined) };
      }));
      assert.deepEqual([own.starts, started.starts], [false, true]);
      assert.deepEqual(own.classes.var, started.classes.var);
      assert.notDeepEqual(own.classes.rar, started.classes.rar);
    });
  });
});

Deno.test("measure() infers and keeps as many classes of a family as its own settings say", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 1, 32);
    await withSet(async ({ run }) => {
      const all = { ...defaultInference, leastWeight: 0 };
      const settings = { ...all, families: { var: { budget: 5, top: 2 } } };
      const [line] = (await run(inputs(dir, 1), { ...infer, inference: settings })).lines;
      const [usual] = (await run(inputs(dir, 1), { ...infer, inference: all })).lines;
      assert.equal(line.classes!.var.top.length, 2);
      assert.ok(line.classes!.var.cost < usual.classes!.var.cost);
      assert.equal(line.classes!.rar.top.length, usual.classes!.rar.top.length);
      assert.ok(line.classes!.rar.top.length > 2);
      assert.notDeepEqual(line.variants.var16, usual.variants.var16);
    });
  });
});

Deno.test("measure() goes on with inferred classes where it was aborted", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 2, 32);
    await withSet(async ({ device, run }) => {
      const whole = await run(inputs(dir, 2), infer);
      const before = device.memory().liveBytes;
      const marked = 123; // a cost that no inference has
      for (let moment = 1;; moment += moment < 5 ? 1 : 3) {
        const controller = new AbortController();
        const store = new Map<string, Measured>();
        let passes = 0;
        const first = await run(inputs(dir, 2), infer, { maxBatch: 2 }, {
          signal: controller.signal,
          remember(measured) {
            for (const each of measured) store.set(each.sha256, structuredClone(each));
            if (++passes === moment) controller.abort();
            return Promise.resolve();
          },
        });
        assert.equal(device.memory().liveBytes, before);
        if (passes < moment) break;
        const done = new Set(first.lines.map(({ image }) => image));
        assert.deepEqual(first.lines.map(numbers), whole.lines.filter(({ image }) => done.has(image)).map(numbers));
        for (const { classes } of store.values()) {
          for (const each of Object.values(classes ?? {})) Object.assign(each, { cost: marked });
        }
        const second = await run(inputs(dir, 2), infer, { maxBatch: 2 }, {
          recall: (sha256) => Promise.resolve(structuredClone(store.get(sha256))),
        });
        second.lines.forEach((line, i) => {
          for (const family of ["rar", "var"] as const) {
            const isKnown = store.get(line.sha256)?.classes?.[family] !== undefined;
            assert.equal(line.classes![family]!.cost === marked, isKnown, "what is known is not inferred again");
            Object.assign(line.classes![family]!, { cost: whole.lines[i].classes![family]!.cost });
          }
        });
        assert.deepEqual(second.lines.map(numbers), whole.lines.map(numbers));
        assert.ok(moment < 100);
      }
    });
  });
});

Deno.test("Journal keeps inferred classes of unfinished images", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 1, 32);
    await withSet(async ({ set, run }) => {
      const path = join(dir, "j.sqlite");
      {
        using journal = Journal.open(path);
        const evidence = journal.evidence({ modelSet: set.hash, settings: infer });
        const controller = new AbortController();
        const { lines } = await run(inputs(dir, 1), infer, {}, {
          signal: controller.signal,
          remember(measured) {
            evidence.remember(measured);
            if (measured[0].classes !== undefined) controller.abort();
            return Promise.resolve();
          },
        });
        assert.deepEqual(lines, []);
      }
      using journal = Journal.open(path);
      const evidence = journal.evidence({ modelSet: set.hash, settings: infer });
      const sha256 = await hashFile(join(dir, "0.png"));
      const found = evidence.find(sha256);
      assert.ok(found!.classes!.var!.top.length > 0 && found!.tokens !== undefined);
      assert.deepEqual(found!.variants, {});
      const recall = (sha256: string) => Promise.resolve(evidence.recall(sha256));
      const { lines: [line] } = await run(inputs(dir, 1), infer, {}, { recall });
      assert.deepEqual(line.classes!.var, found!.classes!.var);
      assert.equal(Object.keys(line.variants).length, 8);
    });
  });
});

Deno.test("measure() adds extra scores of the likeliest class to the evidence", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 1, 32);
    await withSet(async ({ run }) => {
      const extras: ExtraScores = {
        id: "test/1",
        rowStatistics: ({ tokens, guided }) => {
          assert.equal(guided.shape[0], tokens.shape[0]);
          return {};
        },
        summarise: (scores, tokens, variant) => ({
          "extra.first": scores.conditional[0],
          "extra.tokens": tokens.length,
          "extra.isRar": variant.startsWith("rar") ? 1 : 0,
        }),
      };
      const { lines: [line] } = await run(inputs(dir, 1), { ...infer, extras: extras.id }, {}, { extras });
      for (const [name, { tokens, summaries }] of Object.entries(line.variants)) {
        assert.equal(summaries!["extra.tokens"], tokens);
        assert.equal(summaries!["extra.isRar"], name.startsWith("rar") ? 1 : 0);
        assert.ok(summaries!["extra.first"] < 0);
      }
    });
  });
});

Deno.test("readClassTable() reads classes by name and refuses what is none", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "classes.csv");
    const read = async (text: string) => {
      await Deno.writeTextFile(path, text);
      return await readClassTable(path, 10);
    };
    const table = await read("image_name,class\na.png,3\nb.png,0\n");
    assert.deepEqual([...table.byName], [["a.png", 3], ["b.png", 0]]);
    assert.match(table.sha256, /^[0-9a-f]{64}$/);
    const images = [{ imageName: "b.png" }, { imageName: "a.png" }];
    assert.deepEqual(withClasses(images, path, table).map((each) => each.class), [0, 3]);
    assert.throws(
      () => withClasses([{ imageName: "c.png" }], path, table),
      /expected a row for every image, 1 have none \(c\.png\)/,
    );
    await assert.rejects(read("image_name,class\na.png,10\n"), /line 2: expected a class from 0 to 9, got 10/);
    await assert.rejects(read("image_name,class\na.png,-1\n"), /line 2: expected a class from 0 to 9, got -1/);
    await assert.rejects(read("image_name,class\na.png,1\na.png,1\n"), /line 3: a\.png has a row already/);
    await assert.rejects(read("name,class\na.png,1\n"), /expected the columns image_name and class, got name, class/);
    await assert.rejects(readClassTable(join(dir, "none.csv"), 10), /--classes .*none\.csv: /);
  });
});

Deno.test("attributeFiles() refuses conditions and tables of classes that do not fit before any work", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 1, 32);
    const job = { inputs: [dir], models: standIns, out: join(dir, "out.csv"), memoryBytes: 1024 * MiB } as const;
    await assert.rejects(attributeFiles({ ...job, condition: "given" }), /--condition given: expected --classes FILE/);
    const classes = join(dir, "classes.csv");
    await Deno.writeTextFile(classes, "image_name,class\n0.png,1\n");
    await assert.rejects(
      attributeFiles({ ...job, condition: "infer", classes }),
      /--classes: expects --condition given, got infer/,
    );
    await Deno.writeTextFile(classes, "image_name,class\nother.png,1\n");
    await assert.rejects(attributeFiles({ ...job, classes }), /expected a row for every image, 1 have none \(0\.png\)/);
    await Deno.writeTextFile(classes, "image_name,class\n0.png,7\n");
    const { settings } = await attributeFiles({ ...job, classes, device: "cpu", threads: 1 });
    assert.equal(settings.condition, "given");
  });
});
