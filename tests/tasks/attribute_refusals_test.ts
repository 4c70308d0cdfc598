/** What `deno task attribute` refuses before any work: arguments, folders, and sets of weights that are not what they should be. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder, writeImages } from "../attribution/files.ts";
import { hostileCheckpoint } from "../models/hostile.ts";
import { copyStandIns, standIns } from "../sets.ts";
import { runTask } from "./processes.ts";

const { families } = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
/** Files of the set that tests damage. */
const varTokenizer = families.var.tokenizer, rarb = families.rar.variants.rarb;
/** A text as part of a regular expression that means just that. */
const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

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
    "an unknown column",
    () => ["in", "--columns", "finding,magic"],
    /--columns: expected finding, confidence, family, reasons, log10lr, sha256, notes, version, commit or judged, got magic/,
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
    /memory: the limit of 1\.00 MiB is not enough; needed are:\n {2}rar: /,
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
  await copyStandIns(set, { calibration: true });
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
      const { code, stdout, stderr } = await runTask("attribute", dir, "--device", "cpu", ...args);
      assert.match(stderr.replace(/^attribute: using weights\/tiny.*\n/, ""), message);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /\n {4}at /, "no stack trace");
      const after = (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
      assert.deepEqual(after, before, "nothing is written, and nothing of a pickle is run");
    });
  });
}
