/** Training on pairs that are drawn from the set's transformers, and what of it can be asked for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { runTraining, type TrainingJobOptions } from "../../training/run_training.ts";
import { loadState } from "../../training/state.ts";
import { withFolder } from "../attribution/files.ts";
import { standIns } from "../sets.ts";

const options = { family: "rar", models: standIns, device: "cpu", sample: { count: 10 } } as const;

Deno.test("a run on pairs that are drawn goes on to the same bytes as one that never stopped", async () => {
  await withFolder(async (dir) => {
    const recipe = { epochs: 2, batch: 3 };
    const whole = await runTraining({ ...options, recipe, run: join(dir, "whole") });
    assert.equal(whole.status, "done");
    // The other family's images are drawn as well.
    assert.ok(whole.last!.auc !== null && whole.last!.heldOutLoss !== null);
    const stop = new AbortController();
    const run = join(dir, "parts");
    const parts = await runTraining({ ...options, recipe, run, signal: stop.signal }, {
      onProgress: (images) => images > 9 && stop.abort(),
    });
    assert.equal(parts.status, "interrupted");
    const { settings, position } = await loadState(run);
    assert.deepEqual([position.epoch, position.position], [1, 3]);
    assert.equal(settings.inputs.sample?.count, 10);
    const resumed = await runTraining({ resume: run });
    assert.deepEqual(await Deno.readFile(resumed.out!), await Deno.readFile(whole.out!));
  });
});

const refused: Record<string, { options: TrainingJobOptions; message: RegExp }> = {
  "together with files": {
    options: { ...options, pairs: ["somewhere"] },
    message: /^--sample: draws all pairs itself, expected no --pairs, --data and --limit with it$/,
  },
  "from variants of the other family": {
    options: { ...options, sample: { count: 10, variants: ["rarb", "var16"] } },
    message: /^--variants: expected variants of the family rar, got var16$/,
  },
  "in too little memory": {
    options: { ...options, sample: { count: 10, memoryBytes: 1000 } },
    message: /^memory: the limit of .* is not enough for one image; needed are:\n {2}rarb: /,
  },
  "without saying how many": {
    options: { ...options, sample: { variants: ["rarb"] } },
    message: /^--variants, --memory, --weight-type: .* expected --sample N with them$/,
  },
};

for (const [what, { options, message }] of Object.entries(refused)) {
  Deno.test(`pairs are not drawn ${what}`, async () => {
    await withFolder(async (dir) => {
      const run = join(dir, "run");
      const started = runTraining({ ...options, recipe: { epochs: 1, batch: 4 }, run });
      await assert.rejects(started, (error: Error) => message.test(error.message) || assert.fail(error.message));
      await assert.rejects(Deno.stat(run), Deno.errors.NotFound);
    });
  });
}
