import { labelsOf, mapFamilies } from "../../../attribution/labels.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Rules, rulesOf, uncalibrated } from "../../../attribution/decision/calibration_file.ts";
import {
  type Evidence,
  type EvidenceLine,
  isUnreadable,
  type Settings,
} from "../../../attribution/evidence/evidence.ts";
import { ContentHashes } from "../../../attribution/images/content_hashes.ts";
import type { ImageInput } from "../../../attribution/images/load.ts";
import { VariantPool } from "../../../attribution/run/variant_pool.ts";
import { quantile } from "../../../attribution/metrics/mod.ts";
import { attribute, type AttributeOptions, measure, type Measured } from "../../../attribution/run/pipeline.ts";
import { planMemory, type PlanOptions } from "../../../attribution/run/memory_plan.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { openDevice } from "../../../core/open_device.ts";
import type { Device } from "../../../core/tensor/mod.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { withFolder, writeImages } from "../files.ts";
import { tightPlan } from "../memory.ts";
import { standIns } from "../../sets.ts";

const MiB = 2 ** 20;

interface Opened {
  readonly set: ModelSet;
  readonly device: Device;
  /** Attributes images, with the peak of the device's live and pooled bytes. */
  run(
    inputs: Iterable<ImageInput>,
    plan?: Partial<PlanOptions>,
    more?: Partial<AttributeOptions>,
  ): Promise<{ lines: EvidenceLine[]; peak: number; swapped: readonly string[] }>;
}

const settings: Settings = {
  condition: "none",
  quantization: "greedy",
  signals: "core",
  device: "cpu",
  weightType: "f32",
};

/**
 * Rules by which some of the test images are of either family and some of none, whatever networks the set has: thresholds
 * at quantiles of their scores.
 */
async function rulesForTestImages(set: ModelSet, device: Device): Promise<Rules> {
  const plan = planMemory(set, device, { memoryBytes: 1024 * MiB });
  const models = await VariantPool.open(set, device, { ...plan, resident: new Set() });
  const scores: Record<"rar" | "var", number[]> = { rar: [], var: [] };
  try {
    await withFolder(async (dir) => {
      await writeImages(dir, 9, 40);
      const stream = measure(inputs(dir, 9), () => [], {
        networks: { device, models, plan },
        tokenizers: tokenizersOf(set),
        modelSet: set.hash,
        variants: labelsOf(set).variants,
        settings,
      });
      for await (const line of stream) {
        assert.ok(!isUnreadable(line));
        for (const name of ["rar", "var"] as const) scores[name].push(Math.log(line.families[name].quantLoss));
      }
    });
  } finally {
    models.dispose();
  }
  const rule = (name: "rar" | "var") => ({
    signal: "quantLoss" as const,
    mean: quantile(scores[name], 0.25),
    deviation: Math.max(quantile(scores[name], 0.75) - quantile(scores[name], 0.25), 1e-6),
    threshold: Math.exp(quantile(scores[name], 0.4)),
  });
  return { ...rulesOf(uncalibrated(set), labelsOf(set)), families: { rar: rule("rar"), var: rule("var") } };
}

async function withTiny(body: (opened: Opened) => Promise<void>): Promise<void> {
  const set = await openModelSet(standIns);
  const device = await openDevice("cpu", { threads: 1 });
  try {
    const rules = await rulesForTestImages(set, device);
    await body({
      set,
      device,
      async run(inputs, planOptions = {}, more = {}) {
        const plan = planMemory(set, device, { memoryBytes: 1024 * MiB, ...planOptions });
        device.trim();
        device.resetPeak();
        const models = await VariantPool.open(set, device, plan);
        const lines: EvidenceLine[] = [];
        try {
          const stream = attribute(inputs, {
            networks: { device, models, plan },
            tokenizers: tokenizersOf(set),
            modelSet: set.hash,
            variants: labelsOf(set).variants,
            rules,
            calibrationHash: null,
            settings,
            ...more,
          });
          for await (const line of stream) lines.push(line);
        } finally {
          models.dispose();
        }
        return { lines, peak: device.memory().peakBytes, swapped: plan.swapped };
      },
    });
  } finally {
    device.close();
  }
}

function tokenizersOf(set: ModelSet) {
  return mapFamilies(set.families, (family) => set.tokenizerFacts(family));
}

function inputs(dir: string, count: number): ImageInput[] {
  return Array.from({ length: count }, (_, k) => ({ path: join(dir, `${k}.png`), imageName: `${k}.png` }));
}

/** A line without what differs from run to run. */
function numbers(line: EvidenceLine): unknown {
  if (isUnreadable(line)) return line;
  const { timings: _, judged: __, ...rest } = line;
  return rest;
}

Deno.test("attribute() yields a line per image in order, with complete evidence", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 7, 40);
    await Deno.writeTextFile(join(dir, "3.png"), "not an image");
    await withTiny(async ({ set, run }) => {
      const start = Date.now();
      const { lines } = await run(inputs(dir, 7), { maxBatch: 3 });
      assert.deepEqual(lines.map((line) => line.image), [0, 1, 2, 3, 4, 5, 6].map((k) => `${k}.png`));
      for (const [k, line] of lines.entries()) {
        const judged = Date.parse(line.judged!);
        assert.ok(start <= judged && judged <= Date.now(), `judged at ${line.judged}`);
        assert.equal(new Date(judged).toISOString(), line.judged);
        if (k === 3) {
          assert.ok(isUnreadable(line));
          assert.equal(line.error.reason, "not-an-image");
          continue;
        }
        const { families, variants, ...evidence } = line as Evidence;
        assert.equal(evidence.modelSet, set.hash);
        assert.equal(evidence.width, 40);
        assert.match(evidence.sha256, /^[0-9a-f]{64}$/);
        assert.ok(families.rar.quantLoss > 0 && families.var.encLoss > 0);
        const wanted = evidence.family === null ? [] : set.variants(evidence.family);
        assert.deepEqual(Object.keys(variants), wanted);
        if (evidence.family === null) assert.equal(evidence.label, "outlier");
        else {
          const best = Object.entries(variants).sort(([, a], [, b]) => a.perplexity - b.perplexity)[0][0];
          assert.equal(evidence.label, best);
        }
      }
      const labels = new Set(lines.map((line) => line.label));
      assert.ok(labels.size > 2, `expected several labels, got ${[...labels]}`);
    });
  });
});

Deno.test("attribute() gives the same numbers whatever the batches and whoever stays loaded", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 9, 32);
    await withTiny(async ({ set, device, run }) => {
      const whole = await run(inputs(dir, 9));
      assert.deepEqual(whole.swapped, []);
      const single = await run(inputs(dir, 9), { maxBatch: 1 });
      // The least memory that is accepted: the transformers take turns, and the peak stays below it.
      const accepted = (memoryBytes: number) => {
        try {
          return planMemory(set, device, { memoryBytes }) !== undefined;
        } catch {
          return false;
        }
      };
      let least = 0;
      for (let bit = 2 ** 30; bit >= 1; bit /= 2) if (!accepted(least + bit)) least += bit;
      least += 1;
      const tight = await run(inputs(dir, 9), { memoryBytes: least, swapChunk: 5 });
      assert.ok(tight.swapped.length > 0);
      assert.deepEqual(single.lines.map(numbers), whole.lines.map(numbers));
      assert.deepEqual(tight.lines.map(numbers), whole.lines.map(numbers));
      assert.ok(tight.peak <= least, `expected a peak of at most ${least} bytes, got ${tight.peak}`);
      assert.throws(
        () => planMemory(set, device, { memoryBytes: least - 1 }),
        /memory: the limit of .* MiB is not enough; needed are:\n {2}[a-z0-9]+: .* MiB \(weights .*\)\n.*--memory/,
      );
    });
  });
});

Deno.test("attribute() gives all device memory back, and its peak does not grow with the number of images", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 60, 32, 6);
    await withTiny(async ({ device, run }) => {
      const before = device.memory();
      const few = await run(inputs(dir, 20), { maxBatch: 4 });
      assert.equal(device.memory().liveBytes, before.liveBytes);
      const many = await run(inputs(dir, 60), { maxBatch: 4 });
      assert.equal(many.lines.length, 60);
      assert.equal(device.memory().liveBytes, before.liveBytes);
      assert.equal(device.memory().liveCount, before.liveCount);
      assert.ok(many.peak <= few.peak, `peak of 60 images ${many.peak}, of 20 images ${few.peak}`);
    });
  });
});

Deno.test("attribute() reads one pass ahead of the one that it measures, and no more", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 8, 32);
    await withTiny(async ({ run }) => {
      let asked = 0;
      let ahead = 0;
      let yielded = 0;
      function* lazily() {
        for (const input of inputs(dir, 8)) {
          ahead = Math.max(ahead, ++asked - yielded);
          yield input;
        }
      }
      const { lines } = await run(lazily(), { maxBatch: 2 }, { onWork: (images) => yielded += images });
      assert.equal(lines.length, 8);
      assert.equal(ahead, 4, "a pass of two images, and the next one");
      assert.ok(Math.abs(yielded - 8) < 1e-9, `reported the work of ${yielded} images`);
    });
  });
});

Deno.test("attribute() ends after the pass in progress when it is aborted, and what it remembered is enough to go on", async () => {
  await withFolder(async (dir) => {
    await writeImages(dir, 4, 32);
    await withTiny(async ({ device, run }) => {
      const whole = await run(inputs(dir, 4));
      const before = device.memory().liveBytes;
      // Every possible moment: after the first pass, the second, ...
      for (let moment = 1;; moment++) {
        const controller = new AbortController();
        const store = new Map<string, Measured>();
        let passes = 0;
        const first = await run(inputs(dir, 4), { maxBatch: 2 }, {
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
        let repeated = 0;
        const second = await run(inputs(dir, 4), { maxBatch: 2 }, {
          recall: (sha256) => Promise.resolve(structuredClone(store.get(sha256))),
          remember: (measured) => {
            repeated += measured.filter(({ sha256, variants }) =>
              store.get(sha256)?.families !== undefined && Object.keys(variants).length === 0
            ).length;
            return Promise.resolve();
          },
        });
        assert.equal(repeated, 0, "tokens that were remembered are not computed again");
        assert.deepEqual(second.lines.map(numbers), whole.lines.map(numbers));
        assert.ok(moment < 100);
      }
    });
  });
});

Deno.test("facts of recalled images are kept, and found again where they were found by other rules", async () => {
  await withTiny(async ({ run }) => {
    await withFolder(async (dir) => {
      await writeImages(dir, 1, 40);
      const store = new Map<string, Measured>();
      const whole = await run(inputs(dir, 1), {}, {
        remember: (measured) => {
          for (const each of measured) store.set(each.sha256, structuredClone(each));
          return Promise.resolve();
        },
      });
      const factsOf = ({ lines: [line] }: { lines: readonly EvidenceLine[] }) =>
        isUnreadable(line) ? undefined : line.facts;
      const right = factsOf(whole)!;
      for (const [version, noise] of [[right.version, 123], [0, right.noise], [undefined, right.noise]]) {
        const again = await run(inputs(dir, 1), {}, {
          recall: (sha256) =>
            Promise.resolve({ ...structuredClone(store.get(sha256)!), facts: { ...right, version, noise: 123 } }),
        });
        assert.equal(factsOf(again)?.noise, noise, `version ${version}`);
      }
    });
  });
});

Deno.test("attribute() reads no image whose hash is known and recalled, and measures what a replaced file has", async () => {
  await withTiny(async ({ run }) => {
    await withFolder(async (dir) => {
      await writeImages(dir, 2, 40);
      const store = new Map<string, Measured>();
      const known = new Map<string, string>();
      const remember = (measured: readonly Measured[]) => {
        for (const each of measured) store.set(each.sha256, structuredClone(each));
        return Promise.resolve();
      };
      const recall = (sha256: string) => Promise.resolve(structuredClone(store.get(sha256)));
      const whole = await run(inputs(dir, 2), {}, { remember });
      for (const line of whole.lines) if (!isUnreadable(line)) known.set(line.image, line.sha256);
      const hashes = new ContentHashes();
      hashes.recall = ({ imageName }) => known.get(imageName);
      // The first image is another one now, which the stale hash does not show; nothing is recalled of its content.
      await Deno.rename(join(dir, "1.png"), join(dir, "0.png"));
      store.delete(known.get("0.png")!);
      const { lines } = await run(inputs(dir, 2), {}, { remember, recall, hashes });
      const [replaced, gone] = lines.map((line) => isUnreadable(line) ? undefined : line.sha256);
      assert.deepEqual([replaced, gone], [known.get("1.png"), known.get("1.png")]);
      assert.deepEqual(numbers(lines[1]), numbers(whole.lines[1]), "a recalled image is not read");
    });
  });
});

Deno.test("planMemory() keeps everything loaded where there is room, and says what the cpu device cannot hold", async () => {
  await withTiny(async ({ set, device }) => {
    const roomy = planMemory(set, device, { memoryBytes: 1024 * MiB });
    assert.equal(roomy.resident.size, set.variants("rar").length + set.variants("var").length);
    assert.equal(roomy.chunk, roomy.tokenizerBatch);
    const some = tightPlan(set, device);
    assert.ok(some.resident.size > 0 && some.swapped.length > 0);
    assert.equal(some.chunk, 1024);
    const small = openCpuDevice({ threads: 1, memoryLimitBytes: 2 * MiB });
    assert.throws(
      () => planMemory(set, small, { memoryBytes: 1024 * MiB }),
      /limit of 2\.00 MiB is not enough; needed are:(\n.*)+\nuse --device webgpu: the cpu device holds no more/,
    );
    small.close();
    await Promise.resolve();
  });
});
