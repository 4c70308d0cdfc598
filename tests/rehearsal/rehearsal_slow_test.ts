/** The whole way of docs/official.md at tiny widths with two images, every command as a process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../attribution/files.ts";
import { root } from "../tasks/processes.ts";
import type { Rehearsal } from "./rehearse.ts";

Deno.test("rehearsal: pull, kill, go on, convert, check, generate, train, calibrate, attribute, evaluate, serve", async () => {
  await withFolder(async (dir) => {
    // A process of its own: processor time is that of its children.
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", join(root, "tests/rehearsal/rehearse.ts"), "--dir", dir, "--size", "tiny"],
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const done: Rehearsal = JSON.parse(await Deno.readTextFile(join(dir, "rehearsal.json")));
    const { steps, bytes, sent } = done;
    const step = (name: string) => steps.find((row) => row.step === name)!;
    const [pull, first, ...others] = steps.filter(({ killed }) => killed).map(({ step }) => step);
    assert.deepEqual([pull, first], ["pull, killed", "attribute, killed (1)"]);
    // Later ones may end before they are killed.
    assert.ok(others.every((step) => /^attribute, killed \(\d\)$/.test(step)), others.join());
    assert.ok(sent!.before > 0 && sent!.after < bytes!, "what was there is not fetched again");
    assert.equal(step("check").code, 3, "there are no figures of networks that nobody has trained");
    const kept = done.keptAtKills!;
    assert.ok(kept.length > 0 && kept.every((rows, i) => rows > (kept[i - 1] ?? 0)), "what is kept stays and grows");
    assert.equal(done.sameTable, true, "the table after a kill is that of a run that was not killed");
    assert.match(step("attribute, all in the journal").stderr, /2 from earlier runs/);
    for (const { step, peakBytes, processorSeconds } of steps) {
      assert.ok(peakBytes > 0 && peakBytes < 8 * 2 ** 30, step);
      assert.ok(processorSeconds > 0, step);
    }
  });
});
