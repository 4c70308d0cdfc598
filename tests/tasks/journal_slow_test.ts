/** Attribution with a journal that is killed again and again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { withFolder } from "../attribution/files.ts";
import { copyImages, progressOf } from "./journals.ts";
import { runTask, spawnTask } from "./processes.ts";

Deno.test("attribute --journal: killed 6 times over 48 images, the same result, nothing computed more than twice", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await copyImages(images, 48);
    const path = join(dir, "j.sqlite");
    const args = ["in", "--journal", "j.sqlite", "--out", "killed.csv", "--device", "cpu"];
    const random = generator(11);
    Journal.open(path).close();
    for (let kills = 0; kills < 6; kills++) {
      const before = progressOf(path);
      const process = await spawnTask("attribute", dir, args);
      const output = process.output();
      let over = false;
      process.status.then(() => over = true);
      // Once it has kept something new: kills that come before would be survived, but never end.
      while (!over && progressOf(path) === before) await new Promise((wake) => setTimeout(wake, 20));
      await new Promise((wake) => setTimeout(wake, 1000 * random()));
      if (over) assert.fail(`it ended before kill ${kills + 1}: ${new TextDecoder().decode((await output).stderr)}`);
      process.kill("SIGKILL");
      assert.equal((await output).signal, "SIGKILL");
      using journal = Journal.open(path);
      assert.equal(journalStats(journal).integrity, "ok");
    }
    const last = await runTask("attribute", dir, ...args);
    assert.equal(last.code, 0, last.stderr);
    {
      using journal = Journal.open(path);
      const [stats] = journalStats(journal).keys;
      assert.deepEqual([stats.complete, stats.pending], [48, 0]);
      assert.ok(stats.mostAttempts <= 2, `work on an image began ${stats.mostAttempts} times`);
    }

    const wholeArgs = ["in", "--journal", "whole.sqlite", "--out", "whole.csv", "--device", "cpu"];
    const whole = await runTask("attribute", dir, ...wholeArgs);
    assert.equal(whole.code, 0, whole.stderr);
    const rows = await Deno.readTextFile(join(dir, "whole.csv"));
    assert.equal(await Deno.readTextFile(join(dir, "killed.csv")), rows);
    const lines = async (journal: string) => {
      const { stdout } = await runTask("journal", dir, "export", journal);
      return stdout.trimEnd().split("\n").map((line) => {
        const { evidence: { timings: _, ...evidence }, ...rest } = JSON.parse(line);
        return { ...rest, evidence };
      });
    };
    assert.deepEqual(await lines("j.sqlite"), await lines("whole.sqlite"), "every number is the same");
  });
});

/** Numbers from 0 to 1, the same ones every time. */
function generator(seed: number): () => number {
  return () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}
