/** `deno task slurm` as a process, without Slurm: the commands that it would run, and what it refuses. */
import assert from "node:assert/strict";
import { withFolder } from "../attribution/files.ts";
import { runTask } from "./processes.ts";

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
        [["submit", "serve"], /slurm: submit: expected attribute or train, got serve/],
      ] as const
    ) {
      const { code, stderr } = await runTask("slurm", dir, ...args);
      assert.equal(code, 1);
      assert.match(stderr, message);
    }
  });
});
