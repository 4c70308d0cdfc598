/**
 * Rehearses docs/official.md without the published files: a hub on this machine offers checkpoints with synthetic
 * values, and every command of the document runs as a process with the permissions of deno.json.
 *
 *     deno run -A tests/rehearsal/rehearse.ts --dir DIR [--size official|tiny] [--stages LIST] [--markdown FILE]
 *
 * DIR stays, with rehearsal.json, what every step took. --stages runs some of the stages, such as calibrate,attribute,
 * where the earlier ones have run. Official sizes need 12 GB of disk and 8 GiB of memory. Verdicts about images of such networks mean nothing; what is
 * rehearsed is that every step works, goes on after a kill, and what it costs. Linux only: it reads /proc.
 */
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { DatabaseSync } from "node:sqlite";
import { encodePng } from "../../attribution/images/decode.ts";
import { readFileList } from "../../models/download/list.ts";
import { PartFile } from "../../models/download/part.ts";
import { formatBytes } from "../../util/bytes.ts";
import { readTextIfThere } from "../../util/files.ts";
import { goldenImage } from "../attribution/golden_image.ts";
import { startFileHub } from "./file_hub.ts";
import { type Job, record, type Recorded } from "./measured.ts";
import { imageSide, type Size, writeCheckpoints, writeList } from "./sets.ts";

/** Settings of a rehearsal. */
export interface RehearsalOptions {
  /** Folder for everything, made where it is missing. */
  readonly dir: string;
  readonly size: Size;
  /** Only these. Default: all. */
  readonly stages?: readonly Stage[];
  /** Called when a step has ended. */
  readonly onStep?: (recorded: Recorded) => void;
}

/** What a rehearsal did so far; rehearsal.json. */
export interface Rehearsal {
  readonly size: Size;
  /** Bytes of the checkpoints that were pulled. */
  bytes?: number;
  readonly steps: Recorded[];
  /** Whether the table after a kill has the same bytes as one of a run that was not killed. */
  sameTable?: boolean;
  /** Measurements in the journal whenever `attribute` was killed: at its first new one. */
  keptAtKills?: number[];
  /** Bytes that the hub sent before and after the kill of the pull. */
  sent?: { readonly before: number; readonly after: number };
}

/** Parts of a rehearsal, in order. */
export const stages = [
  ...["files", "pull", "convert", "check", "generate", "train", "calibrate", "attribute", "evaluate", "serve"] as const,
];

/** Name of a stage. */
export type Stage = typeof stages[number];

/** Words of every command, without those that say where a rehearsal's files are. docs/official.md has the same. */
export const commands = {
  list: "weights list",
  pull: "weights pull --only rar,rarb,var,var16",
  convert: "weights convert --remove-originals",
  verify: "weights verify",
  check: "weights check",
  generate: "generate --model rarb --model var16 -n 4 --out pairs",
  trainRar: "train --family rar --pairs pairs --run runs/rar",
  trainVar: "train --family var --pairs pairs --run runs/var",
  encoderRar: "weights convert --family rar --encoder runs/rar/encoder.safetensors",
  encoderVar: "weights convert --family var --encoder runs/var/encoder.safetensors",
  calibrate: "calibrate --train Dataset/train --val Dataset/val --report runs/calibrate",
  attribute: "attribute Dataset/test --out submission.csv --report runs/attribute",
  journal: "journal stats runs/attribute/journal.sqlite",
  evaluate: "evaluate --val Dataset/val --journal runs/calibrate/journal.sqlite",
  serve: "serve",
} as const;

/** Runs the stages. Throws at the first step that does not end as it should. */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const { dir, size } = options;
  await Deno.mkdir(dir, { recursive: true });
  const path = join(dir, "rehearsal.json");
  const text = await readTextIfThere(path);
  const rehearsing = new Rehearsing(options, text === null ? { size, steps: [] } : JSON.parse(text));
  for (const stage of options.stages ?? stages) {
    await rehearsing[stage]();
    await Deno.writeTextFile(path, JSON.stringify(rehearsing.done, null, 1) + "\n");
  }
  return rehearsing.done;
}

/** A job of a step. */
interface StepJob extends Omit<Job, "step" | "words" | "cwd"> {
  readonly name: string;
  readonly words: string;
  /** Exit codes that are right. */
  readonly codes?: readonly number[];
  /** Whether a process that is to be killed may end before. */
  readonly mayEnd?: boolean;
}

/** How often `attribute` is killed. */
const mostKills = 3;

/** Where files of sets are, for `weights`. */
const place = ["--list", "list.json", "--out", "set"];

class Rehearsing implements Record<Stage, () => Promise<void>> {
  constructor(readonly options: RehearsalOptions, readonly done: Rehearsal) {}

  async files(): Promise<void> {
    const { size } = this.options;
    this.done.bytes = await writeCheckpoints(this.#path("hub"), await writeList(this.#path("list.json"), size));
  }

  /** Lists, and pulls with a kill on the way. */
  async pull(): Promise<void> {
    const { files } = await readFileList(this.#path("list.json"));
    const hub = await startFileHub(this.#path("hub"), files);
    try {
      const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: "" };
      await this.#step({ name: "list", words: commands.list, more: place });
      const pull = { words: commands.pull, more: place, env };
      // So slow that it lasts half a minute: its record of bytes is written every two seconds.
      hub.bytesPerSecond = Math.max(20_000, this.done.bytes! / 30 / 4);
      await this.#step({ ...pull, name: "pull, killed", killWhen: () => this.#hasRecord("set") });
      const before = hub.sent;
      hub.bytesPerSecond = undefined;
      await this.#step({ ...pull, name: "pull, again" });
      this.done.sent = { before, after: hub.sent - before };
    } finally {
      await hub.close();
    }
  }

  async convert(): Promise<void> {
    await this.#step({ name: "convert", words: commands.convert, more: place });
    await this.#step({ name: "verify", words: commands.verify, more: place });
  }

  /** Whether a download has recorded bytes that it has, so that it can go on from there. */
  async #hasRecord(folder: string): Promise<boolean> {
    for await (const { name } of readIfThere(this.#path(folder))) {
      const end = ".part.json";
      if (name.endsWith(end) && await PartFile.bytesOf(this.#path(folder, name.slice(0, -end.length))) > 0) return true;
    }
    return false;
  }

  async check(): Promise<void> {
    const check = { name: "check", words: commands.check, more: [...this.#models, ...cheap.check] };
    await this.#step({ ...check, codes: [0, 2, 3] }); // networks with synthetic values do not find their images
  }

  /** Draws images, and makes a Dataset folder of them. */
  async generate(): Promise<void> {
    await this.#step({ name: "generate", words: commands.generate, more: this.#models });
    await makeDataset(this.options.dir, imageSide(this.options.size));
  }

  async train(): Promise<void> {
    for (
      const [family, train, convert] of [
        ["rar", commands.trainRar, commands.encoderRar],
        ["var", commands.trainVar, commands.encoderVar],
      ]
    ) {
      await this.#step({ name: `train ${family}`, words: train, more: [...this.#models, ...cheap.train] });
      await this.#step({ name: `encoder ${family}`, words: convert, more: place });
    }
  }

  async calibrate(): Promise<void> {
    await this.#step({ name: "calibrate", words: commands.calibrate, more: [...this.#models, ...cheap.calibrate] });
  }

  async evaluate(): Promise<void> {
    await this.#step({ name: "evaluate", words: commands.evaluate, more: this.#models });
  }

  /** Attributes with kills, each when something new is in the journal; then to the end, and elsewhere without a kill. */
  async attribute(): Promise<void> {
    const words = commands.attribute, kept: number[] = [];
    const path = this.#path("runs/attribute/journal.sqlite");
    for (let kill = 1; kill <= mostKills; kill++) {
      const killWhen = () => rowsOf(path) > (kept.at(-1) ?? 0);
      const name = `attribute, killed (${kill})`;
      const { killed } = await this.#step({ name, words, more: this.#models, killWhen, mayEnd: kill > 1 });
      if (!killed) break;
      kept.push(rowsOf(path));
    }
    this.done.keptAtKills = kept;
    await this.#step({ name: "attribute, again", words, more: this.#models });
    const table = await Deno.readTextFile(this.#path("submission.csv"));
    await this.#step({ name: "attribute, all in the journal", words, more: this.#models });
    await this.#step({ name: "journal", words: commands.journal });
    const whole = words.replace("submission.csv", "whole.csv").replace("runs/attribute", "runs/whole");
    await this.#step({ name: "attribute, not killed", words: whole, more: this.#models });
    this.done.sameTable = table === await Deno.readTextFile(this.#path("whole.csv"));
  }

  /** Serves, and asks for a verdict about one image. */
  async serve(): Promise<void> {
    const more = [...this.#models, ...cheap.serve];
    await this.#step({
      ...{ name: "serve one image", words: commands.serve, more, read: [this.options.dir] },
      whileItRuns: async (log) => {
        const url = await waitFor(() => /"url":"(http:[^"]+)"/.exec(log())?.[1], log);
        const isReady = () => fetch(new URL("readyz", url)).then(({ ok }) => ok || undefined, () => undefined);
        await waitFor(isReady, log);
        const body = await Deno.readFile(this.#path("Dataset/test/0.png"));
        const headers = { "Content-Type": "image/png" };
        const response = await fetch(new URL("v1/attribute", url), { method: "POST", headers, body });
        const text = await response.text();
        if (!response.ok) throw new Error(`serve: expected a verdict, got ${response.status} ${text}`);
      },
    });
  }

  async #step({ name, words, codes = [0], mayEnd = false, ...job }: StepJob): Promise<Recorded> {
    const recorded = await record({ step: name, words: words.split(" "), cwd: this.options.dir, ...job });
    this.done.steps.push(recorded);
    this.options.onStep?.(recorded);
    const { code, killed, stderr } = recorded;
    const isMeant = killed || (job.killWhen === undefined || mayEnd) && codes.includes(code);
    if (!isMeant) throw new Error(`${name}: ended with ${code}, killed: ${killed}\n${stderr}`);
    return recorded;
  }

  #path(...parts: readonly string[]): string {
    return join(this.options.dir, ...parts);
  }

  get #models(): readonly string[] {
    return ["--models", join(this.options.dir, "set"), "--device", "cpu"];
  }
}

/** What makes a rehearsal shorter than the real thing. */
const cheap = {
  check: ["--each", "1", "--minutes", "10"],
  train: ["--epochs", "1", "--batch", "1", "--limit", "2", "--holdout", "0.5"],
  calibrate: ["--thresholds-only"],
  serve: ["--port", "0", "--deadline-ms", "600000", "--batch-ms", "600000"],
};

/** Two images of each variant to train on, one for val and one for test; outliers in val. */
async function makeDataset(dir: string, side: number): Promise<void> {
  const copy = async (from: string, to: string) => {
    await Deno.mkdir(dirname(join(dir, to)), { recursive: true });
    await Deno.copyFile(join(dir, from), join(dir, to));
  };
  for (const [i, variant] of ["rarb", "var16"].entries()) {
    for (const n of [0, 1]) await copy(`pairs/${variant}/${n}.png`, `Dataset/train/${variant}/${n}.png`);
    await copy(`pairs/${variant}/2.png`, `Dataset/val/${variant}/2.png`);
    await copy(`pairs/${variant}/3.png`, `Dataset/test/${i}.png`);
  }
  await Deno.mkdir(join(dir, "Dataset/val/outlier"), { recursive: true });
  for (const k of [0, 1]) {
    await Deno.writeFile(join(dir, `Dataset/val/outlier/${k}.png`), await encodePng(goldenImage(k, side, side)));
  }
}

async function* readIfThere(dir: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(dir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Rows of measurements in a journal; 0 while there is none. */
function rowsOf(path: string): number {
  try {
    using db = new DatabaseSync(path, { readOnly: true });
    const count = (table: string) => Number(db.prepare(`select count(*) as n from ${table}`).get()!.n);
    return count("evidence") + count("pending");
  } catch {
    return 0; // not there yet, or just being made
  }
}

/** What `look` finds, as soon as it does. Throws after ten minutes, with the log. */
async function waitFor<T>(look: () => T | undefined | Promise<T | undefined>, log: () => string): Promise<T> {
  for (let tries = 0; tries < 6000; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`nothing came of waiting:\n${log()}`);
}

/** A table for docs/official.md. */
export function asMarkdown({ steps }: Pick<Rehearsal, "steps">): string {
  const rows = steps.map(({ step, seconds, processorSeconds, peakBytes, stdout, stderr, killed }) => {
    const last = (text: string) => text.trimEnd().split("\n").at(-1) ?? "";
    const said = killed ? "(SIGKILL)" : (last(stdout) || last(stderr)).replaceAll("|", "\\|").slice(0, 100);
    return `| ${step} | ${seconds.toFixed(1)} | ${processorSeconds.toFixed(1)} | ${formatBytes(peakBytes)} | ${said} |`;
  });
  return ["| step | seconds | processor | memory | last line |", "| - | -: | -: | -: | - |", ...rows].join("\n") + "\n";
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: "string" },
      size: { type: "string", default: "tiny" },
      stages: { type: "string" },
      markdown: { type: "string" },
    },
  });
  const { dir, size } = values;
  const chosen = values.stages?.split(",") as readonly Stage[] | undefined;
  if (dir === undefined || (size !== "official" && size !== "tiny") || chosen?.some((name) => !stages.includes(name))) {
    throw new Error(`rehearse: expected --dir DIR, --size official or tiny, --stages of ${stages.join(", ")}`);
  }
  const onStep = ({ step, code, killed, seconds, processorSeconds, peakBytes }: Recorded) =>
    console.error(
      `${step}: ${killed ? "killed" : `exit code ${code}`}, ${seconds.toFixed(1)} s, processor ` +
        `${processorSeconds.toFixed(1)} s, ${formatBytes(peakBytes)}`,
    );
  const result = await rehearse({ dir, size, stages: chosen, onStep });
  if (values.markdown !== undefined) await Deno.writeTextFile(values.markdown, asMarkdown(result));
}

if (import.meta.main) await main();
