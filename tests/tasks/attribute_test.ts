/** `deno task attribute` as a process: what it prints, writes and returns. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Finding, findings } from "../../attribution/evidence/evidence.ts";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { openDevice } from "../../core/open_device.ts";
import { openModelSet } from "../../models/model_set.ts";
import { blankPng } from "../attribution/blank_png.ts";
import { readJsonLines, withFolder, writeImages } from "../attribution/files.ts";
import { tightPlan } from "../attribution/memory.ts";
import { standIns, tiny } from "../sets.ts";
import { root, runTask, spawnTask, tableRows } from "./processes.ts";

const calibration = JSON.parse(await Deno.readTextFile(join(standIns, "calibration.json")));
/** What runs without --models say of the set that they use. */
const { description } = JSON.parse(await Deno.readTextFile(join(tiny, "manifest.json")));
/** A text as part of a regular expression that means just that. */
const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
const fixtures = join(root, "tests", "fixtures", "images");

const run = (cwd: string, ...args: string[]) => runTask("attribute", cwd, ...args);
const spawn = (cwd: string, args: readonly string[]) => spawnTask("attribute", cwd, args);

const labels = ["rarb", "rarl", "rarxl", "rarxxl", "var16", "var20", "var24", "var30", "outlier"];

Deno.test("attribute writes a row per image in natural order, and prints nothing but results", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 11, 32);
    const { code, stdout, stderr } = await run(dir, "in", "--device", "cpu");
    assert.equal(code, 0, stderr);
    const table = await tableRows(join(dir, "submission.csv"));
    assert.deepEqual(table.map(([name]) => name), Array.from({ length: 11 }, (_, k) => `${k}.png`));
    for (const [, label] of table) assert.ok(labels.includes(label), label);
    const [head, ...printed] = stdout.trimEnd().split("\n").map((line) => line.split(/ +/));
    assert.deepEqual(head.slice(0, 4), ["image", "finding", "label", "confidence"]);
    assert.deepEqual(printed.map(([name, , label]) => [name, label]), table);
    for (const [, finding, label, confidence] of printed) {
      assert.ok(findings.includes(finding as Finding), finding);
      if (finding === "variant") assert.notEqual(label, "outlier");
      assert.ok(Number(confidence) >= 0 && Number(confidence) <= 1);
    }
    const [, first] = printed[0];
    assert.match(stderr, new RegExp(`^  ${first} +\\d+  .*\\.$`, "m"), "what the finding means");
    assert.match(
      stderr,
      new RegExp(
        `^attribute: using weights/tiny \\(no --models, and weights/official is not there\\), calibrated, 64 px, ` +
          `rarb, rarl, rarxl, rarxxl, var16, var20, var24, var30: ${literal(description)}`,
      ),
    );
    assert.match(
      stderr,
      /attribute: 11 of 11 images in \d+ s \([\d.]+ images\/s\): .*; submission\.csv has 11 rows\n( {2}.*\n)+$/,
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
    args.push("--columns", "sha256,finding");
    const { code, stdout, stderr } = await run(dir, ...args);
    assert.equal(code, 0, stderr);
    const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ image }) => image), ["0.png", "440.jpg", "alpha.webp"]);
    for (const line of lines) {
      assert.deepEqual(Object.keys(line).slice(0, 4), ["image", "label", "finding", "confidence"]);
      assert.ok(labels.includes(line.label));
      assert.equal(line.unsure, true);
      assert.match(line.modelSet, /^[0-9a-f]{64}$/);
      const { quantization, signals, ...settings } = line.settings;
      assert.deepEqual(settings, { condition: "none", summaries: "summaries/3", device: "cpu", weightType: "f32" });
      assert.equal(quantization, calibration.quantization);
      assert.ok(["core", "all"].includes(signals));
      assert.ok(line.families.rar.quantLoss > 0 && line.families.var.quantLoss > 0);
    }
    assert.deepEqual(await readJsonLines(join(dir, "report", "evidence.jsonl")), lines);
    const summary = JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    assert.equal(summary.status, "done");
    assert.deepEqual(summary.images, { total: 3, done: 3, unreadable: 0, recalled: 0, computed: 3 });
    assert.equal(summary.modelSet.hash, lines[0].modelSet);
    assert.equal(summary.unsure, 3);
    assert.equal(Object.values<number>(summary.findings).reduce((sum, count) => sum + count, 0), 3);
    const table = parse(await Deno.readTextFile(join(dir, "submission.csv")), { columns: true }) as unknown[];
    assert.deepEqual(
      table,
      lines.map(({ image, label, finding, sha256 }) => ({ image_name: image, label, sha256, finding })),
    );
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
    await Deno.writeFile(join(images, "4.png"), blankPng({ width: 20_000, height: 20_000, colour: "grey" }));
    await Deno.writeFile(join(images, "5.png"), new Uint8Array(0));
    const { code, stdout, stderr } = await run(dir, "in", "--device", "cpu", "--report", "report");
    assert.equal(code, 2, stderr);
    const table = await tableRows(join(dir, "submission.csv"));
    assert.deepEqual(table.map(([name]) => name), [0, 1, 2, 3, 4, 5].map((k) => `${k}.png`));
    assert.deepEqual(table.map(([, label]) => label === "unreadable"), [false, true, false, true, true, true]);
    assert.match(stderr, /attribute: unreadable: 1\.png: /);
    assert.match(
      stderr,
      /unreadable: 4\.png: 20000x20000 is 400000000 pixels, at most \d+ are allowed \(--max-pixels\)/,
    );
    assert.match(
      stdout,
      /^3\.png +unreadable( +-){3} +expected PNG, JPEG or WebP, got text \("These are not pixels\. *"\)$/m,
    );
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

Deno.test("attribute resumes after it was killed", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 24, 32);
    const device = await openDevice("cpu");
    const { memoryBytes } = tightPlan(await openModelSet(standIns), device, calibration.quantization);
    device.close();
    const args = ["in", "--models", standIns, "--device", "cpu", "--report", "report"];
    args.push("--memory", String(memoryBytes), "--json");
    const killed = await spawn(dir, args);
    const path = join(dir, "report", "journal.sqlite");
    const pending = () => {
      using journal = Journal.open(path);
      return journalStats(journal, { check: false }).keys[0]?.pending ?? 0;
    };
    let ended = false;
    killed.status.then(() => ended = true);
    const until = async (isSo: () => boolean | Promise<boolean>) => {
      while (!await isSo()) {
        assert.ok(!ended, "it ended before it could be killed");
        await new Promise((f) => setTimeout(f, 20));
      }
    };
    await until(() => Deno.stat(path).then(() => true, () => false));
    await until(() => pending() > 0);
    killed.kill("SIGKILL");
    await killed.output();
    await assert.rejects(Deno.stat(join(dir, "submission.csv")), Deno.errors.NotFound);
    const { code, stdout, stderr } = await run(dir, ...args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /24 of 24 images in .*, \d+ from earlier runs/);
    assert.equal(stdout.trimEnd().split("\n").length, 24);
    assert.equal((await tableRows(join(dir, "submission.csv"))).length, 24);
    const { plan } = JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    assert.ok(plan.swapped.length > 0, "the transformers took turns");
    const left = await Array.fromAsync(Deno.readDir(join(dir, "report")), ({ name }) => name);
    assert.deepEqual(left.sort(), ["evidence.jsonl", "journal.sqlite", "summary.json"]);
  });
});

Deno.test("attribute gives the same labels on webgpu", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 4, 32);
    const args = ["in", "--models", standIns];
    const cpu = await run(dir, ...args, "--device", "cpu", "--out", "cpu.csv");
    const gpu = await run(dir, ...args, "--device", "webgpu", "--out", "gpu.csv", "--json");
    assert.equal(cpu.code, 0, cpu.stderr);
    assert.equal(gpu.code, 0, gpu.stderr);
    assert.deepEqual(await tableRows(join(dir, "gpu.csv")), await tableRows(join(dir, "cpu.csv")));
    assert.equal(JSON.parse(gpu.stdout.split("\n")[0]).settings.device, "webgpu");
  });
});

Deno.test("attribute --limit takes the first images in natural order, and SIGTERM ends it like Ctrl-C", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 40, 32, 4);
    const process = await spawn(dir, ["in", "--device", "cpu", "--limit", "33"]);
    const errors = new Response(process.stderr).text();
    let printed = "";
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
      if (printed === "") process.kill("SIGTERM");
      printed += text;
    }
    assert.equal((await process.status).code, 130);
    const table = await tableRows(join(dir, "submission.csv"));
    assert.ok(table.length >= 16 && table.length < 33, `${table.length} rows`);
    assert.equal(table[0][0], "0.png");
    assert.match(
      await errors,
      /of 33 images in .*; submission\.csv has \d+ rows\n( {2}.*\n)*.*interrupted; with --journal FILE/,
    );
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
