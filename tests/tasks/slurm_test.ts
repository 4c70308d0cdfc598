/** Attribution as a job array on a real Slurm, one task killed and requeued, and `deno task slurm` as a process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/journal/mod.ts";
import { withFolder } from "../attribution/files.ts";
import { root, runTask, spawnTask } from "./processes.ts";
import { Slurm } from "./slurm.ts";

const images = join(root, "examples", "Dataset", "test");
/** Enough that the task that is killed is in the middle, few enough for about a minute. */
const limit = "48";

/** Like the tests of WebGPU, this one fails where its packages are missing, unless the processor alone was asked for. */
const cpuOnly = Deno.args.includes("--cpu-only") || Deno.env.get("MODEL_TRACER_CPU_ONLY") === "1";
const testOnSlurm: typeof Deno.test = cpuOnly ? (() => {}) as unknown as typeof Deno.test : Deno.test;

testOnSlurm(
  "slurm submit attribute: an array of 4 with a task killed and requeued merges to what one process writes",
  async () => {
    await withFolder(async (dir) => {
      await using slurm = await Slurm.start(dir);
      const job = [images, "--limit", limit, "--device", "cpu"];
      const submit = ["submit", "attribute", "--shards", "4", "--dir", "journals", "--out", "slurm.csv", "--follow"];
      using _ = environment(slurm.env);
      const process = await spawnTask("slurm", dir, [...submit, "--", ...job, "--threads", "1"]);
      const output = process.output();
      const log = join(dir, "journals");
      // Killed once it has finished a pass: its second start must find that.
      await until(async () => /^[1-9]\d* of \d+ images/m.test(await logOf(log, 2)), "task 2 has measured something");
      const [array] = (await slurm.run("squeue", "-h", "-o", "%F", "-t", "all")).trim().split("\n").sort();
      await slurm.run("scancel", "--signal=KILL", "--full", `${array}_2`).catch(() => {});
      await slurm.run("scontrol", "requeue", `${array}_2`);
      const { code, stdout, stderr } = await output;
      const said = new TextDecoder().decode(stderr);
      const logs = await Promise.all(
        (await Array.fromAsync(Deno.readDir(log))).filter(({ name }) => name.endsWith(".log"))
          .map(async ({ name }) => `${name}: ${await Deno.readTextFile(join(log, name))}`),
      );
      assert.equal(code, 0, `${said}\n${logs.join("\n")}`);
      assert.match(new TextDecoder().decode(stdout), /^\d+ \d+\n$/);
      assert.match(said, /merge \d+: completed/);
      assert.match(await slurm.run("scontrol", "show", "job", `${array}_2`), / Restarts=1 /);

      const alone = await runTask("attribute", dir, ...job, "--out", "alone.csv");
      assert.equal(alone.code, 0, alone.stderr);
      assert.equal(await Deno.readTextFile(join(dir, "slurm.csv")), await Deno.readTextFile(join(dir, "alone.csv")));
      let complete = 0;
      for (const i of [1, 2, 3, 4]) {
        using shard = Journal.open(join(dir, "journals", `shard-${i}.sqlite`));
        const { integrity, keys, sessions } = journalStats(shard);
        assert.equal(integrity, "ok");
        assert.equal(keys[0].pending, 0);
        assert.ok(keys[0].mostAttempts <= 2);
        assert.equal(sessions.length, i === 2 ? 2 : 1, "task 2 began twice");
        complete += keys[0].complete;
      }
      assert.equal(complete, Number(limit), "every image is in one shard");
    });
  },
);

Deno.test("slurm --dry-run prints the sbatch commands; it refuses options that it fills in", async () => {
  await withFolder(async (dir) => {
    const submit = ["submit", "attribute", "--shards", "4", "--dry-run", "--gres", "gpu:1", "--at-once", "2", "--"];
    const { code, stdout, stderr } = await runTask("slurm", dir, ...submit, "my images", "--limit", "3");
    assert.equal(code, 0, stderr);
    const [array, merge] = stdout.trimEnd().split("\n");
    assert.match(array, /^sbatch --array=1-4%2 .* --gres=gpu:1 .*\/attribute\.sbatch .* 'my images' --limit 3$/);
    assert.match(merge, /^sbatch --dependency=afterany:JOB .*\/merge\.sbatch .* merge --out /);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir)), []);
    const refused = await runTask("slurm", dir, ...submit, "in", "--shard", "1/2");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /--shard: is filled in for every task of the array/);
    const train = await runTask("slurm", dir, "submit", "train", "--dry-run", "--", "--pairs", "p");
    assert.match(
      train.stdout,
      /^sbatch --array=1-2 .*\/train\.sbatch \S+\/runs 'rar var' .*tasks\/train\.ts --pairs p\n$/,
    );
    for (
      const [args, message] of [
        [[], /expected submit, follow or cancel/],
        [["submit", "attribute", "--", "in"], /attribute: expects --shards N/],
        [["submit", "attribute", "--shards", "4"], /expected images and options of attribute after --/],
        [["submit", "serve"], /slurm submit: expected attribute or train, got serve/],
      ] as const
    ) {
      const { code, stderr } = await runTask("slurm", dir, ...args);
      assert.equal(code, 1);
      assert.match(stderr, message);
    }
  });
});

/** What a task of the array has said so far. */
async function logOf(dir: string, task: number): Promise<string> {
  const names = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name).catch(() => []);
  const name = names.find((name) => name.startsWith("attribute-") && name.endsWith(`_${task}.log`));
  return name === undefined ? "" : await Deno.readTextFile(join(dir, name));
}

/** Sets variables for the processes that are started until it is disposed of. */
function environment(variables: Readonly<Record<string, string>>): Disposable {
  const former = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of former) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    },
  };
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  for (const begin = performance.now(); !(await condition());) {
    if (performance.now() - begin > 120_000) throw new Error(`waited two minutes until ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}
