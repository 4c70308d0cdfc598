import assert from "node:assert/strict";
import { join } from "node:path";
import { decodePixels } from "../../../attribution/images/load.ts";
import { labels } from "../../labels.ts";
import {
  type DecodedImage,
  MappedTracer,
  type MappedTracerOptions,
  type MappedVerdict,
} from "../../../attribution/service/mapped_tracer.ts";
import { loadCalibration } from "../../../attribution/decision/calibration_file.ts";
import { planMemory } from "../../../attribution/run/memory_plan.ts";
import { openDevice } from "../../../core/open_device.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { cpuOnly } from "../../core/devices.ts";
import { withFolder } from "../files.ts";
import { runTask } from "../../tasks/processes.ts";
import { standIns, tiny } from "../../sets.ts";
import { exampleImages } from "./server.ts";
import { sha256Hex } from "../../../util/hash.ts";

const options: MappedTracerOptions = {
  models: tiny,
  device: "cpu",
  allowSoftware: true,
  memoryBytes: 2 ** 30,
  weightType: "f32",
  method: "perplexity",
  maxBatch: 16,
  preload: false,
};

async function withTracer(
  more: Partial<MappedTracerOptions>,
  body: (tracer: MappedTracer) => Promise<void>,
): Promise<void> {
  const tracer = await MappedTracer.open({ ...options, ...more });
  try {
    await body(tracer);
  } finally {
    await tracer[Symbol.asyncDispose]();
  }
}

async function decoded(tracer: MappedTracer, count: number): Promise<DecodedImage[]> {
  return await Promise.all((await exampleImages(count)).map(async ({ bytes }) => {
    return { sha256: await sha256Hex(bytes), pixels: await decodePixels(bytes, tracer.info.imageSizes) };
  }));
}

/** All but times. */
function withoutTimes({ evidence: { timings: _, judged: __, ...evidence }, ...rest }: MappedVerdict): unknown {
  return { evidence, ...rest };
}

/** A memory limit within which some of the transformers fit at once, and others do not. */
async function memoryForSome(): Promise<number> {
  const set = await openModelSet(tiny);
  const { quantization } = (await loadCalibration(set)).calibration;
  const device = await openDevice("cpu", { threads: 1 });
  try {
    // The largest one, since the service plans a little more than is planned here.
    for (let memoryBytes = 2 ** 28; memoryBytes > 2 ** 20; memoryBytes = Math.round(memoryBytes / 1.05)) {
      try {
        const { resident } = planMemory(set, device, { memoryBytes, quantization });
        if (resident.size > 0 && resident.size < set.networks.length - 2) return memoryBytes;
      } catch {
        break; // not even one fits
      }
    }
  } finally {
    device.close();
  }
  throw new Error("no memory limit within which some transformers fit, and not all");
}

for (const device of cpuOnly ? ["cpu"] as const : ["cpu", "webgpu"] as const) {
  Deno.test(`Tracer gives an image the same numbers alone and in any batch, bit for bit [${device}]`, async () => {
    // On a software adapter the networks of 64x64 pixels take seconds per image.
    await withTracer({ device, models: device === "cpu" ? tiny : standIns }, async (tracer) => {
      const images = await decoded(tracer, device === "cpu" ? 8 : 5);
      const single: unknown[] = [];
      for (const image of images) single.push(withoutTimes((await tracer.attribute([image]))[0]));
      const families = new Set(single.map((result) => (result as MappedVerdict).evidence.family));
      assert.ok(families.size === 3, `images of both families and of none, got ${[...families]}`);
      for (const size of device === "cpu" ? [3, 8] : [5]) {
        for (let at = 0; at < images.length; at += size) {
          const batch = await tracer.attribute(images.slice(at, at + size));
          assert.deepEqual(batch.map(withoutTimes), single.slice(at, at + size));
        }
      }
      // The same image several times, and another order.
      const [a, b, c] = images;
      const mixed = await tracer.attribute([c, a, c, b, a]);
      assert.deepEqual(mixed.map(withoutTimes), [2, 0, 2, 1, 0].map((i) => single[i]));
    });
  });
}

Deno.test("Tracer gives the same numbers in batches where classes are inferred, too", async () => {
  await withTracer({ method: "joint" }, async (tracer) => {
    const images = await decoded(tracer, 6);
    const single: unknown[] = [];
    for (const image of images) single.push(withoutTimes((await tracer.attribute([image]))[0]));
    assert.deepEqual((await tracer.attribute(images)).map(withoutTimes), single);
  });
});

for (const method of [undefined, "perplexity"]) {
  Deno.test(`Tracer says what \`deno task attribute\` says, with scores and maps that add up [${method ?? "default"}]`, async () => {
    await withTracer({ method }, async (tracer) => {
      const images = await exampleImages(8);
      const results = await tracer.attribute(await decoded(tracer, 8));
      await withFolder(async (dir) => {
        for (const { name, bytes } of images) await Deno.writeFile(join(dir, name), bytes);
        const args = [dir, "--models", tiny, "--device", "cpu", "--json", "--out", join(dir, "out.csv")];
        const { stdout, stderr, code } = await runTask(
          "attribute",
          dir,
          ...args,
          ...method ? ["--method", method] : [],
        );
        assert.equal(code, 0, stderr);
        const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
        for (const [i, { name }] of images.entries()) {
          const { image: _, timings: __, judged: ___, ...line } = lines.find(({ image }) => image === name);
          const { timings: ____, judged: _____, ...own } = results[i].evidence;
          assert.deepEqual(JSON.parse(JSON.stringify(own)), line);
        }
      });
      for (const { evidence, scores, maps } of results) {
        assert.deepEqual(Object.keys(scores), labels);
        const total = Object.values(scores).reduce((sum, score) => sum + score, 0);
        assert.ok(Math.abs(total - 1) < 1e-9, `scores add up to ${total}`);
        const best = labels.reduce((a, b) => scores[b] > scores[a] ? b : a);
        if (scores[best] > 0.6) assert.equal(best, evidence.label);
        const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
        const { quantisation, surprise } = maps;
        const { quantLoss } = evidence.families[quantisation.family];
        assert.ok(Math.abs(mean(quantisation.values) - quantLoss) <= 1e-3 * quantLoss);
        assert.equal(surprise === null, Object.keys(evidence.variants).length === 0);
        if (surprise !== null) {
          const { tokens, meanLogProb } = evidence.variants[surprise.variant];
          const nats = mean(surprise.values) * surprise.values.length;
          // Where several classes are likely, the map is that of the likeliest, and the mean that of all.
          if (method === "perplexity") assert.ok(Math.abs(nats + tokens * meanLogProb) <= 1e-3 * nats);
          assert.ok(nats > 0);
          if (evidence.family !== null) assert.equal(surprise.variant, evidence.label);
        }
      }
    });
  });
}

Deno.test("MappedTracer loads transformers when they are first wanted, and keeps those that fit, at equal results", async () => {
  let expected: unknown[] = [], most = 0;
  await withTracer({ preload: true }, async (tracer) => {
    assert.equal(tracer.tracer.run.pool.loaded.length, 8);
    expected = (await tracer.attribute(await decoded(tracer, 6))).map(withoutTimes);
    most = tracer.tracer.run.device.memory().liveBytes;
  });
  await withTracer({ memoryBytes: await memoryForSome() }, async (tracer) => {
    assert.deepEqual(tracer.tracer.run.pool.loaded, []);
    const { resident } = tracer.tracer.run.plan;
    const images = await decoded(tracer, 6);
    const results: MappedVerdict[] = [];
    for (let at = 0; at < images.length; at += tracer.info.maxBatch) {
      results.push(...await tracer.attribute(images.slice(at, at + tracer.info.maxBatch)));
      assert.ok(tracer.tracer.run.pool.loaded.every((name) => resident.has(name)));
    }
    assert.deepEqual(results.map(withoutTimes), expected);
    assert.deepEqual([...tracer.tracer.run.pool.loaded].sort(), [...resident].sort());
    assert.ok(tracer.tracer.run.device.memory().liveBytes < most);
  });
});

const refuses = "MappedTracer.open() refuses a software adapter unless it is allowed";
if (!cpuOnly) {
  Deno.test(refuses, async () => {
    const device = await openDevice("webgpu");
    device.close();
    if (!device.info.software) return; // a machine with a GPU: nothing to refuse
    await assert.rejects(
      MappedTracer.open({ ...options, device: "webgpu", allowSoftware: false }),
      /expected a GPU, found the software adapter .*--allow-software/,
    );
  });
}
