/** Attribution with a journal that is killed again and again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { withFolder } from "../attribution/files.ts";
import { generator } from "../random.ts";
import { copyImages, progressOf } from "./journals.ts";
import { runTask, spawnTask } from "./processes.ts";

Deno.test("attribute --journal: killed 30 times over 96 images, the same result, nothing that was kept is lost", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await copyImages(images, 96);
    const path = join(dir, "j.sqlite");
    const args = ["in", "--journal", "j.sqlite", "--out", "killed.csv", "--device", "cpu"];
    const random = generator(11);
    Journal.open(path).close();
    // That no stage of an image runs twice is held by tests/attribution/run/kept_stages_test.ts.
    let complete = 0;
    for (let kills = 0; kills < 30; kills++) {
      const before = progressOf(path);
      const process = await spawnTask("attribute", dir, args);
      const output = process.output();
      let over = false;
      process.status.then(() => over = true);
      // Once it has kept something new: kills that come before would be survived, but never end.
      while (!over && progressOf(path) === before) await new Promise((wake) => setTimeout(wake, 20));
      await new Promise((wake) => setTimeout(wake, 300 * random()));
      if (over) assert.fail(`it ended before kill ${kills + 1}: ${new TextDecoder().decode((await output).stderr)}`);
      process.kill("SIGKILL");
      assert.equal((await output).signal, "SIGKILL");
      using journal = Journal.open(path);
      assert.equal(journalStats(journal).integrity, "ok");
      const now = Number(journal.sql("SELECT count(*) AS n FROM evidence").get()!.n);
      assert.ok(now >= complete, `${now} images are complete, where ${complete} were before kill ${kills + 1}`);
      complete = now;
    }
    const last = await runTask("attribute", dir, ...args);
    assert.equal(last.code, 0, last.stderr);
    {
      using journal = Journal.open(path);
      const [stats] = journalStats(journal).keys;
      assert.deepEqual([stats.complete, stats.pending], [96, 0]);
    }

    const wholeArgs = ["in", "--journal", "whole.sqlite", "--out", "whole.csv", "--device", "cpu"];
    const whole = await runTask("attribute", dir, ...wholeArgs);
    assert.equal(whole.code, 0, whole.stderr);
    const rows = await Deno.readTextFile(join(dir, "whole.csv"));
    assert.equal(await Deno.readTextFile(join(dir, "killed.csv")), rows);
    const lines = async (journal: string) => {
      const { stdout } = await runTask("journal", dir, "export", journal);
      return stdout.trimEnd().split("\n").map((line) => {
        const { evidence: { timings: _, ...evidence }, judged: __, ...rest } = JSON.parse(line);
        return { ...rest, evidence };
      });
    };
    assert.deepEqual(await lines("j.sqlite"), await lines("whole.sqlite"), "every number is the same");
  });
});

Deno.test("attribute --journal: with bits flipped in the journal, the same evidence or a refusal that names it", async () => {
  await withFolder(async (dir) => {
    await copyImages(join(dir, "in"), 4);
    const args = ["in", "--journal", "j.sqlite", "--out", "t.csv", "--report", "report", "--device", "cpu", "--force"];
    const evidence = async () =>
      (await Deno.readTextFile(join(dir, "report", "evidence.jsonl"))).trimEnd().split("\n").map((line) => {
        const { timings: _, judged: __, ...rest } = JSON.parse(line);
        return rest;
      });
    const first = await runTask("attribute", dir, ...args);
    assert.equal(first.code, 0, first.stderr);
    const right = await evidence(), path = join(dir, "j.sqlite");
    const bytes = await Deno.readFile(path), random = generator(5);
    let measuredAgain = 0;
    for (let trial = 0; trial < 12; trial++) {
      const damaged = bytes.slice();
      for (let k = 0; k < 20; k++) damaged[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(8 * random());
      await Deno.writeFile(path, damaged);
      for (const ending of ["-wal", "-shm"]) await Deno.remove(path + ending).catch(() => {});
      const { code, stderr } = await runTask("attribute", dir, ...args);
      if (code === 0) assert.deepEqual(await evidence(), right, `trial ${trial}`);
      else assert.match(stderr, /journal j\.sqlite: .*(move it away|name another file)/, `trial ${trial}`);
      if (/rows of \d images did not match their checksums and were measured again/.test(stderr)) measuredAgain++;
    }
    assert.ok(measuredAgain > 0, "some rows were hit");
  });
});
