/**
 * `deno task slurm submit attribute|train`: a job array on Slurm, the job that merges its results, and their progress.
 * Scheduling, restarting and ordering are Slurm's; this fills in slurm/*.sbatch and reads what squeue says.
 */
import { join, resolve } from "node:path";
import { choice, number, parseOptions } from "./cli/args.ts";
import { fail } from "./cli/measuring.ts";
import { writeStderr, writeStdout } from "./cli/progress.ts";

const usage = `Runs attribute or train on a cluster with Slurm.

usage: deno task slurm submit attribute --shards N [options] -- <images and options of attribute>
       deno task slurm submit train [options] -- <options of train>
       deno task slurm follow <job>...
       deno task slurm cancel <job>...

  --shards N          attribute: tasks of the array; each takes the images of its shard
  --dir DIR           attribute: folder of the shards' journals; train: of the runs (default slurm-journals, runs)
  --out FILE          attribute: the table of labels that the merge job writes (default submission.csv)
  --families LIST     train: which to train, one task each (default rar,var)
  --partition NAME, --gres LIST, --time LIMIT, --mem SIZE, --cpus N, --account NAME
                      as for sbatch, for the tasks of the array
  --at-once N         run at most N tasks at a time
  --follow            wait, and say how the tasks fare
  --dry-run           print the sbatch commands and submit nothing
  --help              this text

Submitting the same again goes on where the journals end. All nodes must see this repository, the images, DIR and the
deno that runs this task under the same paths. Job numbers go to stdout.
Exit code: 0 submitted, with --follow done; 1 usage, or Slurm refused; with --follow a job failed.`;

const root = new URL("..", import.meta.url).pathname;

/** `deno run` with the permissions that deno.json gives a task, for a job's command line. `deno task` keeps signals for itself. */
async function commandOf(task: string): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const [, run, ...rest] = (tasks[task] as string).split(" ");
  const own = rest.map((word) => (word.endsWith(".ts") ? join(root, word) : word));
  return [Deno.execPath(), run, "--config", join(root, "deno.json"), "--no-check", ...own];
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
async function sbatch(args: readonly string[], dryRun: boolean): Promise<string> {
  if (dryRun) {
    writeStdout(["sbatch", ...args].map(quote).join(" ") + "\n");
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
async function follow(jobs: readonly string[], logs?: string): Promise<boolean> {
  const known = new Map<string, string>();
  for (let round = 0;; round++) {
    const listed = (await slurm("squeue", ["-h", "-a", "-t", "all", "-o", "%i|%T|%j", "-j", jobs.join(",")])).trim();
    const rows = listed === "" ? [] : listed.split("\n").map((row) => row.split("|"));
    for (const [id, state, name] of rows) {
      if (known.get(id) !== state) writeStderr(`slurm: ${name} ${id}: ${state.toLowerCase()}\n`);
      known.set(id, state);
      if (state === "RUNNING" && logs !== undefined && round % 6 === 5) {
        const last = await lastLine(join(logs, `${name}-${id}.log`));
        if (last !== undefined) writeStderr(`slurm: ${name} ${id}: ${last}\n`);
      }
    }
    if (rows.every(([, state]) => ended.test(state))) return rows.every(([, state]) => state === "COMPLETED");
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

async function lastLine(path: string): Promise<string | undefined> {
  return (await Deno.readTextFile(path).catch(() => "")).trimEnd().split("\n").at(-1) || undefined;
}

async function main(args: readonly string[]): Promise<number> {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  const passed = end < 0 ? [] : args.slice(end + 1);
  const { values, positionals } = parseOptions(own, {
    shards: { type: "string" },
    dir: { type: "string" },
    out: { type: "string", default: "submission.csv" },
    families: { type: "string", default: "rar,var" },
    partition: { type: "string" },
    gres: { type: "string" },
    time: { type: "string" },
    mem: { type: "string" },
    cpus: { type: "string" },
    account: { type: "string" },
    "at-once": { type: "string" },
    follow: { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  const [verb, ...rest] = positionals;
  if (verb === undefined) throw new Error("expected submit, follow or cancel (--help)");
  if (choice("slurm", verb, ["submit", "follow", "cancel"]) !== "submit") {
    if (rest.length === 0) throw new Error(`${verb}: expected the numbers of jobs`);
    if (verb === "follow") return await follow(rest) ? 0 : 1;
    await slurm("scancel", rest);
    return 0;
  }
  const what = choice("slurm submit", rest[0] ?? "nothing", ["attribute", "train"]);
  for (const option of ["--shard", "--journal", "--out", "--family", "--run", "--resume"]) {
    if (passed.some((word) => word === option || word.startsWith(`${option}=`))) {
      throw new Error(`${option}: is filled in for every task of the array; remove it after --`);
    }
  }
  const resources = (["partition", "gres", "time", "mem", "account"] as const)
    .flatMap((name) => (values[name] === undefined ? [] : [`--${name}=${values[name]}`]));
  if (values.cpus !== undefined) resources.push(`--cpus-per-task=${number("--cpus", values.cpus, { low: 1 })}`);
  const dir = resolve(values.dir ?? (what === "attribute" ? "slurm-journals" : "runs"));
  const dryRun = values["dry-run"];
  if (!dryRun) await Deno.mkdir(dir, { recursive: true });
  const array = (count: number) => {
    const atOnce = values["at-once"] === undefined ? "" : `%${number("--at-once", values["at-once"], { low: 1 })}`;
    return [`--array=1-${count}${atOnce}`, `--output=${join(dir, "%x-%A_%a.log")}`, ...resources];
  };
  const script = (name: string) => join(root, "slurm", `${name}.sbatch`);
  const jobs: string[] = [];
  if (what === "train") {
    const families = values.families.split(",").map((name) => choice("--families", name, ["rar", "var"]));
    const command = [...await commandOf("train"), ...passed];
    jobs.push(await sbatch([...array(families.length), script("train"), dir, families.join(" "), ...command], dryRun));
  } else {
    if (values.shards === undefined) throw new Error("attribute: expects --shards N");
    const shards = number("--shards", values.shards, { low: 1, integer: true });
    if (passed.length === 0) throw new Error("attribute: expected images and options of attribute after --");
    const command = [...await commandOf("attribute"), ...passed];
    jobs.push(await sbatch([...array(shards), script("attribute"), dir, ...command], dryRun));
    const merge = [...await commandOf("journal"), "merge", "--out", resolve(values.out)];
    // Not afterok: Slurm counts the exit code of a task that was requeued against the array. Merging looks for itself
    // whether every shard is done.
    const after = [`--dependency=afterany:${jobs[0]}`];
    const where = values.partition === undefined ? [] : [`--partition=${values.partition}`];
    const log = `--output=${join(dir, "%x-%A.log")}`;
    jobs.push(await sbatch([...after, ...where, log, script("merge"), dir, ...merge], dryRun));
  }
  if (dryRun) return 0;
  writeStdout(jobs.join(" ") + "\n");
  return !values.follow || await follow(jobs, dir) ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    fail("slurm", error);
  }
}
