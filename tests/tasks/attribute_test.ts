/** `deno task attribute` as a process: what it prints, writes and returns. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { openDevice } from "../../core/open_device.ts";
import { openModelSet } from "../../models/model_set.ts";
import { readJsonLines, withFolder, writeImages } from "../attribution/files.ts";
import { tightPlan } from "../attribution/memory.ts";
import { hostileCheckpoint } from "../models/hostile.ts";
import { standIns, tiny } from "../sets.ts";

const root = new URL("../..", import.meta.url).pathname;
const calibration = JSON.parse(await Deno.readTextFile(join(standIns, "calibration.json")));
const { families } = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
/** What runs without --models say of the set that they use. */
const { description } = JSON.parse(await Deno.readTextFile(join(tiny, "manifest.json")));
/** Files of the set that tests damage. */
const varTokenizer = families.var.tokenizer, rarb = families.rar.variants.rarb;
/** A text as part of a regular expression that means just that. */
const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
const fixtures = join(root, "tests", "fixtures", "images");

/** The permissions and the file of the task in deno.json, without the `deno task` around it, which swallows signals. */
const command: string[] = JSON.parse(await Deno.readTextFile(join(root, "deno.json"))).tasks.attribute.split(" ").slice(
  1,
);

function spawn(cwd: string, args: readonly string[]): Deno.ChildProcess {
  const own = command.map((arg) => (arg.endsWith(".ts") ? join(root, arg) : arg));
  const config = ["--config", join(root, "deno.json"), "--no-check"];
  return new Deno.Command(Deno.execPath(), {
    args: [own[0], ...config, ...own.slice(1), ...args],
    cwd,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(cwd: string, ...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await spawn(cwd, args).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** The rows of a table, its header checked. */
async function rows(path: string): Promise<string[][]> {
  const [header, ...lines] = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assert.equal(header, "image_name,label");
  return lines.map((line) => line.split(","));
}

const labels = ["rarb", "rarl", "rarxl", "rarxxl", "var16", "var20", "var24", "var30", "outlier"];

/** A PNG of one grey level; its pixels deflate to almost nothing. */
function greyPng(width: number, height: number): Uint8Array {
  const chunk = (type: string, content: Uint8Array) => {
    const bytes = new Uint8Array(12 + content.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, content.length);
    bytes.set(new TextEncoder().encode(type), 4);
    bytes.set(content, 8);
    view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
    return bytes;
  };
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([1, 0], 8); // one bit per pixel, grey
  const pixels = deflateSync(new Uint8Array(height * (1 + Math.ceil(width / 8))), { level: 1 });
  const parts = [chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", new Uint8Array(0))];
  const file = new Uint8Array(8 + parts.reduce((sum, part) => sum + part.length, 0));
  file.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  let at = 8;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

Deno.test("attribute writes a row per image in natural order, and prints nothing but results", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 11, 32);
    const { code, stdout, stderr } = await run(dir, "in", "--device", "cpu");
    assert.equal(code, 0, stderr);
    const table = await rows(join(dir, "submission.csv"));
    assert.deepEqual(table.map(([name]) => name), Array.from({ length: 11 }, (_, k) => `${k}.png`));
    for (const [, label] of table) assert.ok(labels.includes(label), label);
    const printed = stdout.trimEnd().split("\n").map((line) => line.split(/ +/));
    assert.deepEqual(printed.map(([name, label]) => [name, label]), table);
    for (const [, , confidence] of printed) assert.ok(Number(confidence) >= 0 && Number(confidence) <= 1);
    assert.match(
      stderr,
      new RegExp(
        `^attribute: using weights/tiny \\(no --models, and weights/official is not there\\): ${literal(description)}`,
      ),
    );
    assert.match(
      stderr,
      /attribute: 11 of 11 images in \d+ s \([\d.]+ images\/s\): .*; submission\.csv has 11 rows\n$/,
    );
    const left = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
    assert.deepEqual(left.sort(), ["in", "submission.csv"]);
  });
});

Deno.test("attribute reads JPEG and WebP too, and with --json prints a line of evidence per image", async () => {
  await withFolder(async (dir) => {
    await Deno.mkdir(join(dir, "in"));
    for (const name of ["alpha.webp", "440.jpg"]) await Deno.copyFile(join(fixtures, name), join(dir, "in", name));
    await writeImages(join(dir, "in"), 1, 48);
    const args = ["in", "--json", "--device", "cpu", "--report", "report", "--models", standIns, "--unsure-below", "1"];
    const { code, stdout, stderr } = await run(dir, ...args);
    assert.equal(code, 0, stderr);
    const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ image }) => image), ["0.png", "440.jpg", "alpha.webp"]);
    for (const line of lines) {
      assert.ok(labels.includes(line.label));
      assert.equal(line.unsure, true);
      assert.match(line.modelSet, /^[0-9a-f]{64}$/);
      const { quantization, signals, ...settings } = line.settings;
      assert.deepEqual(settings, { condition: "none", summaries: "summaries/1", device: "cpu", weightType: "f32" });
      assert.equal(quantization, calibration.quantization);
      assert.ok(["core", "all"].includes(signals));
      assert.ok(line.families.rar.quantLoss > 0 && line.families.var.quantLoss > 0);
    }
    assert.deepEqual(await readJsonLines(join(dir, "report", "evidence.jsonl")), lines);
    const summary = JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    assert.equal(summary.status, "done");
    assert.deepEqual(summary.images, { total: 3, done: 3, unreadable: 0, recalled: 0 });
    assert.equal(summary.modelSet.hash, lines[0].modelSet);
    assert.equal(summary.unsure, 3);
    assert.doesNotMatch(stderr, /using weights/);
  });
});

Deno.test("attribute gives files that it cannot read rows of their own, goes on, and ends with exit code 2", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await writeImages(images, 3, 64);
    const whole = await Deno.readFile(join(images, "1.png"));
    await Deno.writeFile(join(images, "1.png"), whole.subarray(0, whole.length / 2));
    await Deno.writeTextFile(join(images, "3.png"), "These are not pixels.\n");
    await Deno.writeFile(join(images, "4.png"), greyPng(20_000, 20_000));
    await Deno.writeFile(join(images, "5.png"), new Uint8Array(0));
    const start = performance.now();
    const { code, stdout, stderr } = await run(dir, "in", "--device", "cpu", "--report", "report");
    assert.equal(code, 2, stderr);
    assert.ok(performance.now() - start < 20_000, "a large image is refused by its header");
    const table = await rows(join(dir, "submission.csv"));
    assert.deepEqual(table.map(([name]) => name), [0, 1, 2, 3, 4, 5].map((k) => `${k}.png`));
    assert.deepEqual(table.map(([, label]) => label === "unreadable"), [false, true, false, true, true, true]);
    assert.match(stderr, /attribute: unreadable: 1\.png: /);
    assert.match(
      stderr,
      /unreadable: 4\.png: 20000x20000 is 400000000 pixels, at most \d+ are allowed \(--max-pixels\)/,
    );
    assert.match(stdout, /^3\.png +unreadable +expected PNG, JPEG or WebP, got text \("These are not pixels\. *"\)$/m);
    const evidence = await readJsonLines(join(dir, "report", "evidence.jsonl"));
    assert.deepEqual(evidence.map(({ image, error }) => [image, error?.reason]), [
      ["0.png", undefined],
      ["1.png", "truncated"],
      ["2.png", undefined],
      ["3.png", "not-an-image"],
      ["4.png", "too-large"],
      ["5.png", "empty"],
    ]);
    const summary = JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    assert.deepEqual(summary.unreadable.map(({ image }: { image: string }) => image), [
      "1.png",
      "3.png",
      "4.png",
      "5.png",
    ]);
  });
});

Deno.test("attribute streams 200 images of 256x256: memory does not grow with their number, Ctrl-C keeps what is done", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 200, 256, 8);
    const report = (name: string) => ["in", "--device", "cpu", "--report", name, "--out", `${name}.csv`, "--json"];

    const few = await run(dir, ...report("few"), "--limit", "50");
    assert.equal(few.code, 0, few.stderr);

    // All of them, interrupted on the way.
    const process = spawn(dir, report("many"));
    const errors = new Response(process.stderr).text();
    let printed = "";
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
      if (countLines(printed) < 80 && countLines(printed + text) >= 80) process.kill("SIGINT");
      printed += text;
    }
    const many = { code: (await process.status).code, stdout: printed, stderr: await errors };
    assert.equal(many.code, 130, many.stderr);
    const done = (await rows(join(dir, "many.csv"))).length;
    assert.ok(done >= 80 && done < 200, `${done} rows`);
    assert.equal(many.stdout.trimEnd().split("\n").length, done);
    assert.match(many.stderr, /attribute: interrupted: finishing the pass in progress/);
    assert.match(
      many.stderr,
      /attribute: interrupted; to continue, run the same command with --resume \(evidence is in many\)/,
    );
    assert.equal(JSON.parse(await Deno.readTextFile(join(dir, "many", "summary.json"))).status, "interrupted");

    // Without --resume that work would be lost; with it, it is used.
    const again = await run(dir, ...report("many"));
    assert.equal(again.code, 1);
    assert.match(again.stderr, /has the evidence of a run that was not finished: continue it with --resume/);
    const rest = await run(dir, ...report("many"), "--resume");
    assert.equal(rest.code, 0, rest.stderr);
    const whole = await run(dir, ...report("whole"));
    assert.equal(whole.code, 0, whole.stderr);
    assert.equal((await rows(join(dir, "many.csv"))).length, 200);
    const summary = JSON.parse(await Deno.readTextFile(join(dir, "many", "summary.json")));
    assert.ok(summary.images.recalled >= done, `${summary.images.recalled} of ${done} recalled`);
    // A run that was interrupted ends with the same lines as one that was not.
    const numbers = (line: { image: string; timings: unknown }) => ({ ...line, timings: null });
    assert.deepEqual(
      (await readJsonLines(join(dir, "many", "evidence.jsonl"))).map(numbers),
      (await readJsonLines(join(dir, "whole", "evidence.jsonl"))).map(numbers),
    );

    const memory = async (name: string) => JSON.parse(await Deno.readTextFile(join(dir, name, "summary.json"))).memory;
    const [less, more] = [await memory("few"), await memory("whole")];
    assert.equal(more.devicePeakBytes, less.devicePeakBytes);
    // The rest of the process is JavaScript's heap, which is collected when it pleases: 64 MiB of play, where the pixels
    // of the 150 images that are more would take 113 MiB as float32.
    const grown = more.processPeakBytes - less.processPeakBytes;
    assert.ok(less.processPeakBytes > 0 && grown < 64 * 2 ** 20, `memory grew by ${grown} bytes from 50 images to 200`);
  });
});

function countLines(text: string): number {
  return text.split("\n").length - 1;
}

Deno.test("attribute resumes after it was killed", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 24, 32);
    const device = await openDevice("cpu");
    const { memoryBytes } = tightPlan(await openModelSet(standIns), device);
    device.close();
    const args = ["in", "--device", "cpu", "--report", "report", "--memory", String(memoryBytes), "--json"];
    const killed = spawn(dir, args);
    const part = join(dir, "report", "unfinished.jsonl.part");
    while (await Deno.stat(part).then(({ size }) => size === 0, () => true)) {
      await new Promise((f) => setTimeout(f, 20));
    }
    killed.kill("SIGKILL");
    await killed.output();
    await assert.rejects(Deno.stat(join(dir, "submission.csv")), Deno.errors.NotFound);
    const { code, stdout, stderr } = await run(dir, ...args, "--resume");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /24 of 24 images in .*, \d+ from earlier runs/);
    assert.equal(stdout.trimEnd().split("\n").length, 24);
    assert.equal((await rows(join(dir, "submission.csv"))).length, 24);
    const { plan } = JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    assert.ok(plan.swapped.length > 0, "the transformers took turns");
    const left = await Array.fromAsync(Deno.readDir(join(dir, "report")), ({ name }) => name);
    assert.deepEqual(left.sort(), ["evidence.jsonl", "summary.json"]);
  });
});

Deno.test("attribute gives the same labels on webgpu", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 4, 32);
    const cpu = await run(dir, "in", "--device", "cpu", "--out", "cpu.csv");
    const gpu = await run(dir, "in", "--device", "webgpu", "--out", "gpu.csv", "--json");
    assert.equal(cpu.code, 0, cpu.stderr);
    assert.equal(gpu.code, 0, gpu.stderr);
    assert.deepEqual(await rows(join(dir, "gpu.csv")), await rows(join(dir, "cpu.csv")));
    assert.equal(JSON.parse(gpu.stdout.split("\n")[0]).settings.device, "webgpu");
  });
});

Deno.test("attribute --limit takes the first images in natural order, and SIGTERM ends it like Ctrl-C", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 40, 32, 4);
    const process = spawn(dir, ["in", "--device", "cpu", "--limit", "33"]);
    const errors = new Response(process.stderr).text();
    let printed = "";
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
      if (printed === "") process.kill("SIGTERM");
      printed += text;
    }
    assert.equal((await process.status).code, 130);
    const table = await rows(join(dir, "submission.csv"));
    assert.ok(table.length >= 16 && table.length < 33, `${table.length} rows`);
    assert.equal(table[0][0], "0.png");
    assert.match(await errors, /of 33 images in .*; submission\.csv has \d+ rows\n.*interrupted; with --report DIR/);
  });
});

Deno.test("attribute --help explains itself", async () => {
  const { code, stdout } = await run(root, "--help");
  assert.equal(code, 0);
  for (const option of ["--models", "--out", "--report", "--resume", "--memory", "--json", "--unsure-below"]) {
    assert.ok(stdout.includes(option), option);
  }
  assert.match(stdout, /Exit code: 0 done, 1 usage or fatal error, 2 done but some images could not be read/);
});

/** Refusals: what is wrong, how to call the task in a folder with `in/0.png`, and what it says. */
const refusals: [string, (dir: string) => Promise<string[]> | string[], RegExp][] = [
  ["no input", () => [], /^attribute: expected image files or folders \(--help\)\n$/],
  [
    "an unknown option, with a suggestion",
    () => ["in", "--divice", "cpu"],
    /unknown option --divice; did you mean --device\?/,
  ],
  ["an option without its value", () => ["in", "--out", "--json"], /--out: expects a value/],
  [
    "a word that is none of the allowed ones",
    () => ["in", "--device", "gpu"],
    /--device: expected auto, cpu or webgpu, got gpu/,
  ],
  [
    "an unknown method",
    () => ["in", "--method", "magic"],
    /--method: expected joint, two-stage, perplexity, .*, got magic/,
  ],
  [
    "an unknown strategy",
    () => ["in", "--threshold", "magic"],
    /--threshold: expected quantile, gaussian or roc, got magic/,
  ],
  [
    "a size without sense",
    () => ["in", "--memory", "much"],
    /--memory: expected a size such as 4GiB or 512MiB, got much/,
  ],
  [
    "a number out of range",
    () => ["in", "--unsure-below", "2"],
    /--unsure-below: expected a number, from 0 to 1, got 2/,
  ],
  ["a path that does not exist", () => ["in", "nowhere"], /nowhere: expected an image file or a folder, found nothing/],
  ["an empty folder", async (dir) => {
    await Deno.mkdir(join(dir, "empty"));
    return ["empty"];
  }, /empty: expected PNG, JPEG or WebP files in this folder or below it, got an empty folder/],
  ["--resume without a report", () => ["in", "--resume"], /--resume: expects --report DIR/],
  [
    "an output folder that does not exist",
    () => ["in", "--out", "no/s.csv"],
    /--out no\/s\.csv: cannot write s\.csv to no: the folder/,
  ],
  [
    "a report folder that cannot be made",
    () => ["in", "--report", "in/0.png/r"],
    /--report in\/0\.png\/r: cannot make this folder/,
  ],
  [
    "memory that is not enough",
    () => ["in", "--memory", "1MiB"],
    /memory: the limit of 1 MiB is not enough; needed are:\n {2}rar: /,
  ],
  [
    "a folder without a manifest",
    () => ["in", "--models", "in"],
    /in\/manifest\.json: expected the manifest of a set of weights/,
  ],
  [
    "missing weights",
    (dir) =>
      models(dir, async (set) => {
        await Deno.remove(join(set, varTokenizer.file));
      }),
    new RegExp(
      "1 of the weight files are missing; expected:\n" +
        literal(`  models/${varTokenizer.file} (VAR tokenizer, ${varTokenizer.bytes} bytes)`),
    ),
  ],
  [
    "the checkpoint of another variant",
    (dir) =>
      models(dir, async (_, manifest) => {
        const { rarb, rarl } = manifest.families.rar.variants;
        const { config, sampler } = rarl;
        manifest.families.rar.variants.rarl = { ...rarb, config, sampler };
        await Promise.resolve();
      }),
    new RegExp(
      `${literal(rarb.file)}: does not fit RAR transformer rarl: .*; the file fits RAR transformer rarb`,
    ),
  ],
  ["a pickle that calls os.system", (dir) =>
    models(dir, async (set, manifest) => {
      const bytes = await hostileCheckpoint();
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      Object.assign(manifest.families.rar.variants.rarb, { bytes: bytes.length, sha256: digest });
      await Deno.writeFile(join(set, rarb.file), bytes);
    }), new RegExp(`${literal(rarb.file)}: .*refuses global os\\.system`)],
  [
    "a checkpoint in the place of another, with the manifest as it was",
    (dir) => models(dir, (set) => Deno.copyFile(join(standIns, varTokenizer.file), join(set, rarb.file))),
    new RegExp(
      literal(`${rarb.file} (RAR transformer rarb, ${rarb.bytes} bytes): has ${varTokenizer.bytes} bytes; `) +
        ".*; the file fits VAR tokenizer",
    ),
  ],
  ["a calibration of other weights", (dir) =>
    models(dir, (_, manifest) => {
      manifest.families.rar.variants.rarl.sampler.guidance += 1;
      return Promise.resolve();
    }), /calibration\.json: was made for the model set [0-9a-f]{12}, these weights are [0-9a-f]{12}/],
  ["a manifest with a mistake", (dir) =>
    models(dir, (_, manifest) => {
      delete manifest.families.rar.tokenizer.file;
      return Promise.resolve();
    }), /models\/manifest\.json: families\.rar\.tokenizer\.file: is missing/],
];

/** A changed copy of the stand-ins in `models`, and the arguments that use it. */
async function models(
  dir: string,
  // deno-lint-ignore no-explicit-any -- manifests that need not be valid
  change: (set: string, manifest: any) => Promise<void>,
): Promise<string[]> {
  const set = join(dir, "models");
  await Deno.mkdir(set);
  for await (const { name } of Deno.readDir(standIns)) await Deno.copyFile(join(standIns, name), join(set, name));
  const manifest = JSON.parse(await Deno.readTextFile(join(set, "manifest.json")));
  await change(set, manifest);
  await Deno.writeTextFile(join(set, "manifest.json"), JSON.stringify(manifest));
  return ["in", "--models", "models"];
}

for (const [what, prepare, message] of refusals) {
  Deno.test(`attribute refuses ${what} before work starts, with exit code 1`, async () => {
    await withFolder(async (dir) => {
      await writeImages(join(dir, "in"), 1, 32);
      const args = await prepare(dir);
      const before = (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
      const { code, stdout, stderr } = await run(dir, "--device", "cpu", ...args);
      assert.match(stderr.replace(/^attribute: using weights\/tiny.*\n/, ""), message);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /\n {4}at /, "no stack trace");
      const after = (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
      assert.deepEqual(after, before, "nothing is written, and nothing of a pickle is run");
    });
  });
}
