/** Attribution and training as job arrays on a real Slurm, tasks killed and requeued. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { openDevice } from "../../core/open_device.ts";
import { withFolder } from "../attribution/files.ts";
import { writePairs } from "../training/pairs.ts";
import { standIns } from "../sets.ts";
import { root, runTask, spawnTask } from "./processes.ts";
import { Slurm } from "./slurm.ts";

const images = join(root, "examples", "Dataset", "test");
/** Enough that the task that is killed is in the middle. */
const limit = "300";

/** Like the tests of WebGPU, this one fails where its packages are missing, unless the processor alone was asked for. */
const cpuOnly = Deno.args.includes("--cpu-only") || Deno.env.get("MODEL_TRACER_CPU_ONLY") === "1";
const testOnSlurm: typeof Deno.test = cpuOnly ? (() => {}) as unknown as typeof Deno.test : Deno.test;

testOnSlurm(
  "slurm submit attribute: an array of 4, tasks killed, stopped and requeued, merges to what one process writes",
  async () => {
    await withFolder(async (dir) => {
      await using slurm = await Slurm.start(dir);
      const job = [images, "--limit", limit, "--device", "cpu"];
      const submit = ["submit", "attribute", "--shards", "4", "--dir", "journals", "--out", "slurm.csv", "--follow"];
      const process = await spawnTask("slurm", dir, [...submit, "--", ...job, "--threads", "1"], slurm.env);
      const output = process.output();
      const log = join(dir, "journals");
      /** Once a task has finished a pass: its second start must find that. */
      const onceBusy = async (task: number, act: (id: string) => Promise<unknown> | void) => {
        const isBusy = async () => /^[1-9]\d* of \d+ images/m.test(await logOf(log, "attribute", task));
        await until(isBusy, process, `task ${task} has measured something`);
        const [array] = (await slurm.run("squeue", "-h", "-o", "%F", "-t", "all")).trim().split("\n").sort();
        await act(`${array}_${task}`);
        return `${array}_${task}`;
      };
      const interrupted = await Promise.all([
        // The process alone, as the kernel does where memory ends: the script has its task requeued.
        onceBusy(2, () => killProcess(join(log, "shard-2.sqlite"))),
        // As for preemption and time limits: attribute ends its pass, and the script has its task requeued.
        onceBusy(3, (id) => slurm.run("scancel", "--signal=TERM", "--batch", id)),
        // By Slurm itself, which sends SIGTERM to all processes and does not wait for long.
        onceBusy(4, (id) => slurm.run("scontrol", "requeue", id)),
      ]);
      const { code, stdout, stderr } = await output;
      const said = new TextDecoder().decode(stderr);
      const logs = await logsOf(log);
      assert.equal(code, 0, `${said}\n${logs}`);
      assert.match(new TextDecoder().decode(stdout), /^\d+ \d+\n$/);
      assert.match(said, /merge \d+: completed/);
      for (const id of interrupted) assert.match(await slurm.run("scontrol", "show", "job", id), / Restarts=1 /, id);

      const alone = await runTask("attribute", dir, ...job, "--out", "alone.csv");
      assert.equal(alone.code, 0, alone.stderr);
      assert.equal(await Deno.readTextFile(join(dir, "slurm.csv")), await Deno.readTextFile(join(dir, "alone.csv")));
      let complete = 0;
      for (
        const [i, statuses] of ["done", "running done", "interrupted done", "(interrupted|running) done"].entries()
      ) {
        using shard = Journal.open(join(dir, "journals", `shard-${i + 1}.sqlite`));
        const { integrity, keys, sessions } = journalStats(shard);
        assert.equal(integrity, "ok");
        assert.equal(keys[0].pending, 0);
        assert.ok(keys[0].mostAttempts <= 2);
        assert.match(
          sessions.map(({ status }) => status).join(" "),
          new RegExp(`^${statuses}$`),
          `shard ${i + 1}\n${logs}`,
        );
        complete += keys[0].complete;
      }
      assert.equal(complete, Number(limit), "every image is in one shard");
    });
  },
);

testOnSlurm(
  "slurm submit train: a task that is killed goes on from its state to the bytes of one process",
  async () => {
    await withFolder(async (dir) => {
      const device = await openDevice("cpu");
      await writePairs(device, "rar", join(dir, "pairs"), 16);
      device.close();
      await using slurm = await Slurm.start(dir);
      const job = ["--pairs", join(dir, "pairs"), "--models", standIns, "--device", "cpu", "--threads", "1"];
      job.push("--batch", "4", "--epochs", "3", "--clip", "1");
      const submit = ["submit", "train", "--families", "rar", "--dir", "runs", "--follow"];
      const process = await spawnTask("slurm", dir, [...submit, "--", ...job], slurm.env);
      const output = process.output();
      const run = join(dir, "runs", "rar");
      const hasEpoch = async () => /^epoch +1 /m.test(await logOf(join(dir, "runs"), "train", 1));
      await until(hasEpoch, process, "an epoch is over");
      await killProcess(run);
      const { code, stdout, stderr } = await output;
      const logs = await logsOf(join(dir, "runs"));
      assert.equal(code, 0, `${new TextDecoder().decode(stderr)}\n${logs}`);
      const id = new TextDecoder().decode(stdout).trim();
      assert.match(await slurm.run("scontrol", "show", "job", `${id}_1`), / Restarts=1 /, logs);

      const alone = await runTask("train", dir, "--family", "rar", ...job, "--run", "alone");
      assert.equal(alone.code, 0, alone.stderr);
      const encoder = async (run: string) => await Deno.readFile(join(run, "encoder.safetensors"));
      assert.deepEqual(await encoder(run), await encoder(join(dir, "alone")));
    });
  },
);

/** What a task of the array has said so far. */
async function logOf(dir: string, job: string, task: number): Promise<string> {
  const names = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name).catch(() => []);
  const name = names.find((name) => name.startsWith(`${job}-`) && name.endsWith(`_${task}.log`));
  return name === undefined ? "" : await Deno.readTextFile(join(dir, name));
}

/** All that tasks have said. */
async function logsOf(dir: string): Promise<string> {
  const names = (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).filter((name) => name.endsWith(".log"));
  return (await Promise.all(names.map(async (name) => `${name}: ${await Deno.readTextFile(join(dir, name))}`))).join(
    "\n",
  );
}

/** Kills the one process of this program that has `argument` on its command line. */
async function killProcess(argument: string): Promise<void> {
  const pids: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const [program, ...args] = (await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "")).split("\0");
    if (program === Deno.execPath() && args.includes(argument)) pids.push(Number(name));
  }
  assert.equal(pids.length, 1, `processes with ${argument}: ${pids}`);
  Deno.kill(pids[0], "SIGKILL");
}

/** Waits for a condition as long as the process that follows the jobs runs: it ends when they do. */
async function until(condition: () => Promise<boolean>, follower: Deno.ChildProcess, what: string): Promise<void> {
  let ended = false;
  follower.status.then(() => ended = true);
  while (!(await condition())) {
    if (ended) throw new Error(`the jobs ended before ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}
