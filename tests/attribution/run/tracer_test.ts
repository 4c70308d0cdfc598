/** The public object: what it takes, in which order it answers, and what it refuses before any work. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Evidence, isUnreadable } from "../../../attribution/evidence/evidence.ts";
import { decodeImage, encodePng } from "../../../attribution/images/decode.ts";
import { fileFacts } from "../../../attribution/images/facts/container.ts";
import { Journal } from "../../../attribution/run/journal/mod.ts";
import { type ImageSource, Tracer, type TracerOptions } from "../../../attribution/run/tracer.ts";
import { CalibrationError, DeviceError, MemoryLimitError, ModelSetError } from "../../../util/errors.ts";
import { cpuOnly } from "../../core/devices.ts";
import { withFolder } from "../files.ts";
import { goldenImage } from "../golden_image.ts";
import { standIns } from "../../sets.ts";

const options: TracerOptions = { models: standIns, device: "cpu", threads: 1 };
const png = Uint8Array.from(await encodePng(goldenImage(1, 40, 40)));

/** A line without what differs from run to run. */
function numbers(line: object): unknown {
  const { timings: _, image: __, sha256: ___, judged: _____, facts, ...rest } = line as Evidence;
  const { file: ____, ...ofPixels } = facts!;
  return { ...rest, facts: ofPixels };
}

Deno.test("Tracer.attribute() gives paths, URLs, bytes, blobs, files and pixels the same verdict", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "a.png");
    await Deno.writeFile(path, png);
    const sources: ImageSource[] = [
      path,
      pathToFileURL(path),
      png,
      new Blob([png]),
      new File([png], "b.png"),
      await decodeImage(png),
      { name: "c", image: png },
      { imageName: "d", path },
    ];
    await using tracer = await Tracer.open(options);
    const lines = await Array.fromAsync(tracer.attribute(sources));
    assert.deepEqual(lines.map(({ image }) => image), [
      ...["a.png", "a.png", "image-3", "image-4", "b.png", "image-6", "c", "d"],
    ]);
    for (const line of lines) assert.deepEqual(numbers(line), numbers(lines[0]));
    const [hash, ...hashes] = lines.map((line) => isUnreadable(line) ? "" : line.sha256);
    assert.deepEqual(hashes.map((other) => other === hash), [true, true, true, true, false, true, true]);
  });
});

Deno.test("Tracer.attribute() takes images as they come, and goes on after one that cannot be read", async () => {
  await using tracer = await Tracer.open(options);
  const images = async function* () {
    yield png;
    await Promise.resolve();
    yield new TextEncoder().encode("no image");
    yield "/nowhere/x.png";
    yield png;
  };
  let work = 0;
  const lines = await Array.fromAsync(tracer.attribute(images(), { onWork: (share) => work += share }));
  assert.deepEqual(lines.map((line) => isUnreadable(line) ? line.error.reason : "ok"), [
    ...["ok", "not-an-image", "io", "ok"],
  ]);
  assert.ok(Math.abs(work - 4) < 1e-9, `${work}`);
});

Deno.test("Tracer.attribute() ends with what is complete when its signal is aborted", async () => {
  await using tracer = await Tracer.open({ ...options, maxBatch: 1 });
  const stop = new AbortController();
  const lines: string[] = [];
  for await (const { image } of tracer.attribute([png, png, png], { signal: stop.signal })) {
    lines.push(image);
    stop.abort();
  }
  assert.deepEqual(lines, ["image-1"]);
  // The tracer goes on with other images.
  assert.equal((await Array.fromAsync(tracer.attribute([png]))).length, 1);
});

Deno.test("Tracer.attribute() refuses overlapping calls, pixels with alpha and URLs of other machines", async () => {
  await using tracer = await Tracer.open(options);
  const first = tracer.attribute([png, png]);
  await first.next();
  await assert.rejects(tracer.attribute([png]).next(), /expected the stream of the previous call to have ended/);
  await first.return();
  const rgba = { width: 2, height: 2, data: new Uint8Array(16) };
  await assert.rejects(tracer.attribute([rgba]).next(), TypeError);
  await assert.rejects(tracer.attribute([new URL("https://example.org/a.png")]).next(), TypeError);
});

Deno.test("Tracer.open() refuses with errors that have names, and leaves nothing open", async () => {
  const refused: [TracerOptions, new (message: string) => Error, RegExp][] = [
    [{ method: "magic" }, RangeError, /expected joint, .*, got magic/],
    [{ unsureBelow: 2 }, RangeError, /expected a confidence from 0 to 1, got 2/],
    [{ rules: { outlierPrior: 1 } }, RangeError, /expected a share above 0 and below 1, got 1/],
    [{ models: "/nowhere" }, ModelSetError, /expected the manifest of a set of weights/],
    [{ method: "joint" }, CalibrationError, /calibrate first/],
    [{ quantization: "gradient" }, CalibrationError, /the calibration was made with/],
    [{ memoryBytes: 2 ** 20 }, MemoryLimitError, /the limit of 1\.00 MiB is not enough/],
    ...cpuOnly ? [] : [[{ device: "webgpu", allowSoftware: false }, DeviceError, /expected a GPU/]] as [
      [TracerOptions, typeof DeviceError, RegExp],
    ],
  ];
  for (const [change, kind, message] of refused) {
    await assert.rejects(Tracer.open({ ...options, ...change }), (error: Error) => {
      assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("Tracer with a report and a journal writes them, and recalls what it knows", async () => {
  await withFolder(async (dir) => {
    const report = join(dir, "report");
    for (const [computed, recalled] of [[1, 0], [0, 1]]) {
      await using tracer = await Tracer.open({ ...options, report });
      assert.equal((await Array.fromAsync(tracer.attribute([png]))).length, 1);
      assert.deepEqual(tracer.run.counts, { computed, recalled });
    }
    const files = (await Array.fromAsync(Deno.readDir(report), ({ name }) => name)).sort();
    assert.deepEqual(files, ["evidence.jsonl", "journal.sqlite", "summary.json"]);
    const { status, images, method } = JSON.parse(await Deno.readTextFile(join(report, "summary.json")));
    assert.deepEqual({ status, images, method }, { status: "done", images: 1, method: "perplexity" });
  });
});

Deno.test("Tracer says in the evidence what is odd about a file, also when it recalls the measurements", async () => {
  const odd = (name: string) => Deno.readFile(new URL(`../../fixtures/odd_images/${name}`, import.meta.url));
  const images = await Promise.all(["no-eoi.jpg", "exif-rotated.jpg", "apng.png", "palette.png"].map(odd));
  await withFolder(async (dir) => {
    for (const recalled of [0, 4]) {
      await using tracer = await Tracer.open({ ...options, report: join(dir, "report") });
      const lines = await Array.fromAsync(tracer.attribute(images));
      assert.equal(tracer.run.counts.recalled, recalled);
      assert.deepEqual(lines.map((line) => isUnreadable(line) ? line.error : line.notes), [
        ["no end-of-image marker"],
        ["EXIF orientation 6 is not applied", "EXIF software: Editor 1.0"],
        ["the first of 2 frames"],
        undefined,
      ]);
      assert.deepEqual(lines.map((line) => isUnreadable(line) ? line.error : line.facts?.file), images.map(fileFacts));
    }
    const report = await Deno.readTextFile(join(dir, "report", "evidence.jsonl"));
    assert.match(report, /"notes":\["no end-of-image marker"\]/);
    using journal = Journal.open(join(dir, "report", "journal.sqlite"));
    const stored = journal.sql(
      "SELECT text FROM evidence JOIN skeletons ON skeletons.id = evidence.skeleton WHERE text LIKE '%\"notes\":[%'",
    ).all();
    assert.equal(stored.length, 3);
  });
});
