/**
 * `deno task weights pull|list|verify|convert|check`: the published checkpoints, from the hub to a set that every task
 * loads. It calls models/download/, and alone has network permission; `check` is a process of its own, without it.
 * stdout has nothing but results.
 */
import { familyNames } from "../models/registry.ts";
import { join } from "node:path";
import { type FileList, readFileList, selectFiles } from "../models/download/list.ts";
import { addEncoder, convertedBytes, convertFiles, listFiles, verifyFiles } from "../models/download/local.ts";
import { pullFiles } from "../models/download/pull.ts";
import { formatBytes } from "../util/bytes.ts";
import { anyText, choice, group, listOf, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { interruptible } from "./cli/interrupt.ts";
import { runWords } from "./cli/launch.ts";
import { jsonLines } from "./cli/options.ts";
import { duration, type Progress } from "./cli/progress.ts";
import { textTable } from "./cli/table.ts";

export const command = defineCommand({
  name: "weights",
  about: "Fetches the published checkpoints of RAR and VAR, checks them, and makes them a set that every task loads.",
  usage: ["pull|list|verify|convert|check [options]"],
  actions: {
    pull: "downloads what is missing; an interrupted pull goes on where it stopped",
    list: "what there is to pull, what is on the disk, and how it was checked; uses no network",
    verify: "compares every file on the disk with its sha256",
    convert:
      "rewrites the checkpoints as safetensors that load faster: transformers in half precision (half the size), " +
      "tokenizers in float32; with --encoder adds an inverse decoder instead",
    check:
      "says whether this installation would find its own images, by drawing a few; its options are those of deno task " +
      "weights-check",
  },
  options: {
    family: { value: "NAME", type: choice(familyNames), help: "only the networks of this family", unset: "all" },
    only: {
      value: "NAMES",
      many: true,
      type: listOf(anyText),
      help: "only these networks: rar, rarb, ..., var, var16, ... (rar and var are the tokenizers)",
    },
    out: { value: "DIR", help: "folder of the set", unset: "weights/official" },
    list: { value: "FILE", help: "another list of files", unset: "weights/official.json" },
    json: jsonLines("one per file"),
    ...group("pull", {
      connections: {
        value: "N",
        type: whole(1, 64),
        default: "4",
        help: "connections at once, for one file after the other",
      },
      endpoint: {
        value: "URL",
        env: "HF_ENDPOINT",
        default: "https://huggingface.co",
        help: "the hub or a mirror of it",
      },
      tries: {
        value: "N",
        type: whole(1, 1000),
        default: "8",
        help: "tries in a row without a new byte before giving up",
      },
      update: { help: "take today's file where an earlier pull noted another sha256" },
      convert: { help: "convert every file when it is there" },
    }),
    ...group("convert, pull --convert", {
      removeOriginals: { help: "remove a checkpoint when its converted file is complete" },
      tokenizers: {
        value: "TYPE",
        type: choice(["f32", "f16"]),
        default: "f32",
        help:
          "precision of tokenizers; half precision moves tokens at near ties and the losses that thresholds compare",
      },
    }),
    ...group("convert", {
      encoder: {
        value: "FILE",
        help:
          "with --family: a fine-tuned encoder, such as encoder_final.pth of the paper's authors or one of deno task " +
          "train",
      },
      delta: { help: "with --encoder: the file has differences to the tokenizer's own encoder, which are added to it" },
    }),
  },
  notes: "An access token for files that need one is read from HF_TOKEN, and sent to the endpoint only.",
  exitCodes: { 1: "usage or fatal error or (verify) damaged or missing files", 130: "interrupted" },
});

type Action = "pull" | "list" | "verify" | "convert";

/** Refuses options that go with another action, and fills in what the user left out. */
function taskOptions(action: Action, { only, out, ...values }: Input<typeof command.options>["values"]) {
  const converts = action === "convert" || (action === "pull" && values.convert);
  const onlyFor = (isSet: boolean, option: string, isAllowed: boolean, where: string) => {
    if (isSet && !isAllowed) throw new Error(`${option}: goes with ${where}, not with ${action} (--help)`);
  };
  onlyFor(values.update, "--update", action === "pull", "pull");
  onlyFor(values.convert, "--convert", action === "pull", "pull");
  onlyFor(values.removeOriginals, "--remove-originals", converts, "convert and pull --convert");
  onlyFor(values.encoder !== undefined, "--encoder", action === "convert", "convert");
  onlyFor(values.delta ?? false, "--delta", values.encoder !== undefined, "convert --encoder");
  if (values.encoder !== undefined && values.family === undefined) {
    throw new Error(`--encoder: expected --family ${familyNames.join(" or --family ")} with it`);
  }
  return {
    ...values,
    ...{ action, converts },
    only: only?.flat().filter((name) => name !== ""),
    out: out ?? join(import.meta.dirname ?? ".", "..", "weights", "official"),
    hub: { endpoint: values.endpoint, token: Deno.env.get("HF_TOKEN")?.trim() || undefined },
  };
}

type Options = ReturnType<typeof taskOptions>;

/** Bytes on their way: a bar on a terminal, a plain line every few seconds elsewhere. */
class ByteProgress {
  #shown = -Infinity;
  #from: { time: number; bytes: number } | undefined;
  #what = "";

  constructor(readonly progress: Progress) {}

  update(bytes: number, total: number, what: string): void {
    const now = performance.now();
    if (what !== this.#what || this.#from === undefined) {
      this.#what = what;
      this.#from = { time: now, bytes };
    }
    const terminal = Deno.stderr.isTerminal();
    if (now - this.#shown < (terminal ? 100 : 5000)) return;
    this.#shown = now;
    const rate = (bytes - this.#from.bytes) / Math.max(1, now - this.#from.time) * 1000;
    const left = rate > 0 ? `, ${formatBytes(rate)}/s, ${duration((total - bytes) / rate)} left` : "";
    const text = `${what}: ${formatBytes(bytes)} of ${formatBytes(total)}${left}`;
    if (terminal) this.progress.prepare(`${String(Math.floor(100 * bytes / total)).padStart(3)} % ${text}`);
    else this.progress.note(text);
  }
}

class Task {
  readonly #progress: Progress;
  readonly #bytes: ByteProgress;
  readonly #signal: AbortSignal;

  constructor(readonly options: Options, readonly list: FileList, progress: Progress) {
    this.#progress = progress;
    this.#bytes = new ByteProgress(progress);
    this.#signal = interruptible(progress);
  }

  async run(): Promise<number> {
    const { action, encoder } = this.options;
    if (action === "list") return await this.#list();
    if (action === "verify") return await this.#verify();
    if (encoder !== undefined) return await this.#addEncoder(encoder);
    return action === "pull" ? await this.#pull() : await this.#convert(this.#files, true);
  }

  get #files() {
    return selectFiles(this.list, this.options);
  }

  async #pull(): Promise<number> {
    const { out: dir, hub, connections, update, converts, tries } = this.options;
    const { defaultRetryPolicy } = await import("../models/download/retry.ts");
    let missing = await pullFiles({
      ...{ dir, hub, connections, update, list: this.list, files: this.#files, signal: this.#signal },
      policy: { ...defaultRetryPolicy, tries },
      extraBytes: converts ? convertedBytes : undefined,
    }, {
      onNote: (text) => this.#note(text),
      onProgress: (bytes, total, file, phase) =>
        this.#bytes.update(bytes, total, phase === "hashing" ? `${file}: checking` : file),
      onFile: async (result) => {
        const { file, status, bytes, sha256, checkedAgainst } = result;
        this.#print(
          result,
          `${file}  ${status}  ${formatBytes(bytes)}  ${sha256}  (checked against ${checkedAgainst})`,
        );
        const row = this.list.files.find(({ network }) => network === result.network);
        if (converts && row !== undefined) await this.#convert([row], false);
      },
    });
    if (converts) missing = await convertFiles({ dir, list: this.list, files: [] });
    return this.#end(missing);
  }

  async #convert(files: Task["list"]["files"], last: boolean): Promise<number> {
    const { out: dir, tokenizers, removeOriginals } = this.options;
    let done = 0;
    const missing = await convertFiles({ dir, list: this.list, files, tokenizers, removeOriginals }, {
      signal: this.#signal,
      onNote: (text) => this.#note(text),
      onProgress: (bytes, total, file) => this.#bytes.update(bytes, total, file),
      onNetwork: (result) => {
        done++;
        const { network, from, file, status, bytes, seconds, removedOriginal } = result;
        const time = status === "present" ? "" : `  ${duration(seconds)}`;
        const gone = removedOriginal ? `  (${from} removed)` : "";
        this.#print(result, `${network}  ${from} -> ${file}  ${status}  ${formatBytes(bytes)}${time}${gone}`);
      },
    });
    if (!last) return 0;
    if (done === 0) throw new Error(`${dir}: has none of these files: deno task weights pull`);
    return this.#end(missing);
  }

  async #addEncoder(path: string): Promise<number> {
    const { out: dir, family, delta } = this.options;
    const result = await addEncoder({ dir, list: this.list, path, family: family!, delta }, {
      signal: this.#signal,
      onProgress: (bytes, total, file) => this.#bytes.update(bytes, total, file),
    });
    this.#print({ family, ...result }, `${family} encoder  ${result.file}  ${formatBytes(result.bytes)}`);
    this.#note("the set's encoder is another one now: thresholds of its calibration no longer apply");
    return this.#end([]);
  }

  async #list(): Promise<number> {
    const rows = await listFiles(this.options.out, this.#files);
    if (this.options.json) {
      for (const row of rows) this.#print(row, "");
      return 0;
    }
    const cells = rows.map(({ network, repo, file, status, bytes, estimated, onDisk, sha256, checkedAgainst }) => [
      network,
      `${repo}/${file}`,
      `${estimated ? "about " : ""}${formatBytes(bytes)}`,
      status === "partial" ? `partial, ${Math.floor(100 * onDisk / bytes)} %` : status,
      onDisk > 0 ? formatBytes(onDisk) : "-",
      sha256 === undefined ? "-" : `${sha256.slice(0, 12)}${checkedAgainst ? ` (${checkedAgainst})` : ""}`,
    ]);
    this.#progress.print(
      textTable(["network", "file", "size", "status", "on disk", "sha256 (checked against)"], cells),
    );
    return 0;
  }

  async #verify(): Promise<number> {
    const results = await verifyFiles(this.options.out, {
      signal: this.#signal,
      onProgress: (bytes, total, file) => this.#bytes.update(bytes, total, file),
    });
    for (const row of results) {
      const problem = row.problem === undefined ? "" : `: ${row.problem}`;
      this.#print(row, `${row.file}  ${row.result}${problem}  ${formatBytes(row.bytes)}`);
    }
    const bad = results.filter(({ result }) => result !== "ok").length;
    this.#note(`${results.length - bad} of ${results.length} files are what they should be`);
    if (bad > 0) {
      this.#note("remove the damaged files and pull again; what comes from deno task train has to be put back");
    }
    return bad === 0 ? 0 : 1;
  }

  #end(missing: readonly string[]): number {
    const { out } = this.options;
    if (missing.length === 0) this.#note(`the set is in ${out}; tasks load it with --models ${out}`);
    else this.#note(`${out} is not a whole set yet: without ${missing.join(", ")} there is no manifest.json`);
    return 0;
  }

  #note(text: string): void {
    this.#progress.note(text);
  }

  #print(value: unknown, text: string): void {
    this.#progress.print((this.options.json ? JSON.stringify(value) : text) + "\n");
  }

  /** Whether the user asked to stop. */
  get interrupted(): boolean {
    return this.#signal.aborted;
  }
}

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  const [action, ...more] = operands;
  if (more.length > 0) throw new Error(`expected options after ${action}, got ${more[0]} (--help)`);
  const options = taskOptions(action as Action, values);
  const task = new Task(options, await readFileList(options.list), progress);
  try {
    return await task.run();
  } catch (error) {
    if (!task.interrupted) throw error;
    progress.note("interrupted; the same command goes on where this one stopped");
    return 130;
  }
}

/**
 * Runs the task `weights-check` of deno.json, which has the rights and flags for computing that this task lacks, and
 * returns its exit code. Ctrl-C reaches both; a SIGTERM is passed on.
 */
async function runCheck(args: readonly string[]): Promise<number> {
  const { wordsOf } = await import("./v8_flags.ts");
  const root = join(import.meta.dirname ?? ".", "..");
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const [command, ...words] = await wordsOf(tasks["weights-check"]);
  const process = new Deno.Command(command, { args: [...runWords(words, root), ...args] }).spawn();
  Deno.addSignalListener("SIGINT", () => {});
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", () => process.kill("SIGTERM"));
  return (await process.status).code;
}

if (import.meta.main) {
  const at = Deno.args.findIndex((arg) => !arg.startsWith("-"));
  if (Deno.args[at] === "check") Deno.exit(await runCheck(Deno.args.toSpliced(at, 1)));
  await runTask(command, main);
}
