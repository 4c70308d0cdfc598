/**
 * `deno task slurm submit attribute|train`: a job array on Slurm, the job that merges its results, and their progress.
 * Scheduling, restarting and ordering are Slurm's; this fills in slurm/*.sbatch and reads what squeue says.
 */
import { readFileList } from "../models/download/list.ts";
import { familyNames } from "../models/registry.ts";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "../deno.json" with { type: "json" };
import { expectNoFile, isFile } from "../util/files.ts";
import { choice, group, listOf, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { runWords } from "./cli/launch.ts";
import { jsonLines } from "./cli/options.ts";
import { wordsOf } from "./v8_flags.ts";
import { type Progress, writeStdout } from "./cli/progress.ts";

/** Families that a pull of everything brings. */
const defaultFamilies = [
  ...new Set((await readFileList()).files.flatMap(({ family, extra }) => extra ? [] : [family])),
];

export const command = defineCommand({
  name: "slurm",
  about: "Runs attribute or train on a cluster with Slurm.",
  usage: [
    "submit attribute --shards N [options] -- <images and options of attribute>",
    "submit train [options] -- <options of train>",
    "follow <job>...",
    "cancel <job>...",
  ],
  actions: {
    submit: "submits a job array; submitting the same again goes on where the journals end",
    follow: "waits for jobs, and says how their tasks fare",
    cancel: "ends jobs",
  },
  operands: "attribute or train, or numbers of jobs",
  rest: "images and options of the task that runs",
  options: {
    shards: { value: "N", type: whole(1), help: "attribute: tasks of the array; each takes the images of its shard" },
    dir: {
      value: "DIR",
      help: "attribute: folder of the shards' journals; train: of the runs",
      unset: "slurm-journals, runs",
    },
    out: { value: "FILE", default: "submission.csv", help: "attribute: the table of labels that the merge job writes" },
    force: { help: "attribute: replace a file at --out; where DIR has journals already, it is replaced without" },
    families: {
      value: "LIST",
      type: listOf(choice(familyNames)),
      default: defaultFamilies.join(","),
      help: "train: which to train, one task each",
    },
    atOnce: { value: "N", type: whole(1), help: "run at most N tasks at a time" },
    follow: { help: "wait, and say how the tasks fare" },
    dryRun: { help: "print the sbatch commands and submit nothing" },
    json: jsonLines("submit: one with the numbers of the jobs; --dry-run: one per command"),
    ...group("Resources of each task of the array, as sbatch takes them", {
      partition: { value: "NAME", help: "partition" },
      gres: { value: "LIST", help: "generic resources, such as gpu:1" },
      time: { value: "LIMIT", help: "time limit" },
      mem: { value: "SIZE", help: "memory" },
      cpus: { value: "N", type: whole(1), help: "processors" },
      account: { value: "NAME", help: "account" },
    }),
  },
  notes:
    "All nodes must see this repository, the images, DIR and the deno that runs this task under the same paths. Job " +
    "numbers go to stdout.",
  exitCodes: { 0: "submitted or (--follow) done", 1: "usage error or refused by Slurm or (--follow) a failed job" },
});

type Values = Input<typeof command.options>["values"];

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** `deno run` with the permissions that deno.json gives a task: `deno task` would keep signals for itself. */
async function commandOf(task: keyof typeof manifest.tasks): Promise<string[]> {
  const [, ...words] = await wordsOf(manifest.tasks[task]);
  return [Deno.execPath(), ...runWords(words, root)];
}

async function slurm(command: string, args: readonly string[]): Promise<string> {
  let result: Deno.CommandOutput;
  try {
    result = await new Deno.Command(command, { args: [...args], stdout: "piped", stderr: "piped" }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(`${command}: not found: this needs a machine from which Slurm jobs are submitted`, { cause });
  }
  const decoder = new TextDecoder();
  if (!result.success) throw new Error(`${command}: ${decoder.decode(result.stderr).trim()}`);
  return decoder.decode(result.stdout);
}

/** Submits, or prints what would be, and returns the job's number. */
async function sbatch(args: readonly string[], { dryRun, json }: Pick<Values, "dryRun" | "json">): Promise<string> {
  if (dryRun) {
    const words = ["sbatch", ...args];
    writeStdout((json ? JSON.stringify({ words }) : words.map(quote).join(" ")) + "\n");
    return "JOB";
  }
  return (await slurm("sbatch", ["--parsable", ...args])).trim().split(";")[0];
}

function quote(word: string): string {
  return /^[\w./:=,%@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** States in which a job will not run any more. */
const ended = /^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|TIMEOUT|REVOKED)/;

/** Says when a task's state changes, until all have ended. False when one did not complete. */
async function follow(jobs: readonly string[], progress: Progress, logs?: string): Promise<boolean> {
  const known = new Map<string, string>();
  for (let round = 0;; round++) {
    const listed = (await slurm("squeue", ["-h", "-a", "-t", "all", "-o", "%i|%T|%j", "-j", jobs.join(",")])).trim();
    const rows = listed === "" ? [] : listed.split("\n").map((row) => row.split("|"));
    for (const [id, state, name] of rows) {
      if (known.get(id) !== state) progress.note(`${name} ${id}: ${state.toLowerCase()}`);
      known.set(id, state);
      if (state === "RUNNING" && logs !== undefined && round % 6 === 5) {
        const last = await lastLine(join(logs, `${name}-${id}.log`));
        if (last !== undefined) progress.note(`${name} ${id}: ${last}`);
      }
    }
    if (rows.every(([, state]) => ended.test(state))) return rows.every(([, state]) => state === "COMPLETED");
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

async function lastLine(path: string): Promise<string | undefined> {
  return (await Deno.readTextFile(path).catch(() => "")).trimEnd().split("\n").at(-1) || undefined;
}

/** Arguments that attribute and train are given for every task of the array. */
const filledIn = ["--shard", "--journal", "--out", "--family", "--run", "--resume"];

async function main({ values, operands, rest, progress }: Input<typeof command.options>): Promise<number> {
  const [verb, ...words] = operands;
  if (verb !== "submit") {
    if (words.length === 0) throw new Error(`${verb}: expected the numbers of jobs`);
    if (verb === "follow") return await follow(words, progress) ? 0 : 1;
    await slurm("scancel", words);
    return 0;
  }
  const what = words[0];
  if (what !== "attribute" && what !== "train") {
    throw new Error(`submit: expected attribute or train, got ${what ?? "nothing"}`);
  }
  for (const option of filledIn) {
    if (rest.some((word) => word === option || word.startsWith(`${option}=`))) {
      throw new Error(`${option}: is filled in for every task of the array; remove it after --`);
    }
  }
  const dir = resolve(values.dir ?? (what === "attribute" ? "slurm-journals" : "runs"));
  if (!values.dryRun) await Deno.mkdir(dir, { recursive: true });
  const jobs = await (what === "train" ? submitTraining : submitAttribution)(values, rest, dir);
  if (values.dryRun) return 0;
  writeStdout((values.json ? JSON.stringify({ jobs }) : jobs.join(" ")) + "\n");
  return !values.follow || await follow(jobs, progress, dir) ? 0 : 1;
}

async function submitTraining(values: Values, rest: readonly string[], dir: string): Promise<string[]> {
  const { families } = values;
  const words = [...await commandOf("train"), ...rest];
  return [
    await sbatch([...array(families.length, values, dir), script("train"), dir, families.join(" "), ...words], values),
  ];
}

/** The array, and the job that merges its shards. */
async function submitAttribution(values: Values, rest: readonly string[], dir: string): Promise<string[]> {
  const { shards, out, partition, force } = values;
  if (shards === undefined) throw new Error("attribute: expects --shards N");
  if (rest.length === 0) throw new Error("attribute: expected images and options of attribute after --");
  const isContinued = await isFile(join(dir, "shard-1.sqlite"));
  await expectNoFile("--out", out, force || isContinued);
  const words = [...await commandOf("attribute"), ...rest];
  const job = await sbatch([...array(shards, values, dir), script("attribute"), dir, ...words], values);
  const merge = [...await commandOf("journal"), "merge", "--out", resolve(out), "--force"];
  // Not afterok: Slurm counts the exit code of a task that was requeued against the array. Merging looks for itself
  // whether every shard is done.
  const after = [`--dependency=afterany:${job}`];
  const where = partition === undefined ? [] : [`--partition=${partition}`];
  const log = `--output=${join(dir, "%x-%A.log")}`;
  return [job, await sbatch([...after, ...where, log, script("merge"), dir, ...merge], values)];
}

function array(count: number, values: Values, dir: string): string[] {
  const resources = (["partition", "gres", "time", "mem", "account"] as const)
    .flatMap((name) => (values[name] === undefined ? [] : [`--${name}=${values[name]}`]));
  if (values.cpus !== undefined) resources.push(`--cpus-per-task=${values.cpus}`);
  const atOnce = values.atOnce === undefined ? "" : `%${values.atOnce}`;
  return [`--array=1-${count}${atOnce}`, `--output=${join(dir, "%x-%A_%a.log")}`, ...resources];
}

function script(name: string): string {
  return join(root, "slurm", `${name}.sbatch`);
}

if (import.meta.main) await runTask(command, main);
