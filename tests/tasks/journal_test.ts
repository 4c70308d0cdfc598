/** Attribution with a journal, as processes: kills, second runs, shards, and `deno task journal`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { compareNaturally } from "../../attribution/images/natural_order.ts";
import { withFolder, writeImages } from "../attribution/files.ts";
import { standIns } from "../sets.ts";
import { root, runTask, spawnTask } from "./processes.ts";

const dataset = join(root, "examples", "Dataset", "test");
const cpu = ["--device", "cpu"];

/** Copies the first images of the dataset's test set, those from `first` on. */
async function copyImages(to: string, count: number, first = 0): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  const names = await Array.fromAsync(Deno.readDir(dataset), ({ name }) => name);
  for (const name of names.sort(compareNaturally).slice(first, first + count)) {
    await Deno.copyFile(join(dataset, name), join(to, name));
  }
}

async function attribute(dir: string, ...args: string[]) {
  return await runTask("attribute", dir, ...args, ...cpu);
}

/** Changes with everything that is kept. */
function progressOf(path: string): string {
  using journal = Journal.open(path);
  const count = (table: string) => journal.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n;
  return `${count("evidence")} ${count("pending")}`;
}

Deno.test("attribute --journal: killed 6 times over 48 images, the same result, nothing computed more than twice", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await copyImages(images, 48);
    const path = join(dir, "j.sqlite");
    const args = ["in", "--journal", "j.sqlite", "--out", "killed.csv"];
    const random = generator(11);
    Journal.open(path).close();
    for (let kills = 0; kills < 6; kills++) {
      const before = progressOf(path);
      const process = await spawnTask("attribute", dir, [...args, ...cpu]);
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
    const last = await attribute(dir, ...args);
    assert.equal(last.code, 0, last.stderr);
    {
      using journal = Journal.open(path);
      const [stats] = journalStats(journal).keys;
      assert.deepEqual([stats.complete, stats.pending], [48, 0]);
      assert.ok(stats.mostAttempts <= 2, `work on an image began ${stats.mostAttempts} times`);
    }

    const whole = await attribute(dir, "in", "--journal", "whole.sqlite", "--out", "whole.csv");
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

    // A second run over the same images computes nothing; ten more cost ten.
    const again = await attribute(dir, "in", "--journal", "whole.sqlite", "--out", "again.csv", "--report", "report");
    assert.equal(again.code, 0, again.stderr);
    assert.equal(await Deno.readTextFile(join(dir, "again.csv")), rows);
    const summary = async () => JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    const { images: counted } = await summary();
    assert.deepEqual([counted.done, counted.recalled, counted.computed], [48, 48, 0]);
    await copyImages(images, 10, 48);
    const more = await attribute(dir, "in", "--journal", "whole.sqlite", "--out", "more.csv", "--report", "report");
    assert.equal(more.code, 0, more.stderr);
    const { images: grown } = await summary();
    assert.deepEqual([grown.done, grown.recalled, grown.computed], [58, 48, 10]);
  });
});

Deno.test("attribute --shard and journal merge: unreadable images, twins, and the same bytes as one process", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await copyImages(images, 10);
    const [first] = (await Array.fromAsync(Deno.readDir(images), ({ name }) => name)).sort();
    for (const k of [2, 10]) await Deno.copyFile(join(images, first), join(images, `twin${k}.png`));
    await Deno.writeTextFile(join(images, "no.png"), "These are no pixels.\n");
    await Deno.symlink("nowhere", join(images, "gone.png"));
    const alone = await attribute(dir, "in", "--out", "alone.csv", "--journal", "alone.sqlite");
    assert.equal(alone.code, 2, alone.stderr);
    const { stdout: stats } = await runTask("journal", dir, "stats", "alone.sqlite", "--json");
    assert.equal(JSON.parse(stats)[0].keys[0].complete, 10, "twins are computed once");
    const shards = await Promise.all(
      [1, 2].map((i) => attribute(dir, "in", "--shard", `${i}/2`, "--journal", `${i}.sqlite`)),
    );
    for (const { code, stderr } of shards) assert.ok(code === 0 || code === 2, stderr);
    const part = await runTask("journal", dir, "merge", "1.sqlite");
    assert.equal(part.code, 1);
    assert.match(part.stderr, /journal: expected 2 shards, missing: 2\/2/);
    const merged = await runTask("journal", dir, "merge", "2.sqlite", "1.sqlite", "--into", "all.sqlite");
    assert.equal(merged.code, 2, merged.stderr);
    assert.match(
      merged.stderr,
      /submission\.csv has 14 rows, 2 of them unreadable; all\.sqlite has the evidence of 10/,
    );
    const rows = await Deno.readTextFile(join(dir, "alone.csv"));
    assert.match(rows, /^gone\.png,unreadable$/m);
    assert.match(rows, /^no\.png,unreadable$/m);
    assert.equal(await Deno.readTextFile(join(dir, "submission.csv")), rows);
    const gc = await runTask("journal", dir, "gc", "all.sqlite", "--tokens");
    assert.equal(gc.code, 0, gc.stderr);
  });
});

Deno.test("attribute --journal: two processes share a journal", async () => {
  await withFolder(async (dir) => {
    await copyImages(join(dir, "in"), 6);
    const both = await Promise.all(
      ["a", "b"].map((name) => attribute(dir, "in", "--journal", "j.sqlite", "--out", name)),
    );
    for (const { code, stderr } of both) assert.equal(code, 0, stderr);
    assert.equal(await Deno.readTextFile(join(dir, "a")), await Deno.readTextFile(join(dir, "b")));
    using journal = Journal.open(join(dir, "j.sqlite"));
    const { integrity, keys } = journalStats(journal);
    assert.deepEqual([integrity, keys[0].complete, keys[0].pending], ["ok", 6, 0]);
  });
});

Deno.test("features --journal: killed after its first pass, it goes on from there and repeats none", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 24, 32);
    const path = join(dir, "j.sqlite");
    Journal.open(path).close();
    const args = [
      "in",
      "--journal",
      "j.sqlite",
      "--condition",
      "none",
      "--signals",
      "core",
      "--models",
      standIns,
      ...cpu,
    ];
    const process = await spawnTask("features", dir, args);
    const output = process.output();
    let ended = false;
    process.status.then(() => ended = true);
    while (!ended && progressOf(path) === "0 0") await new Promise((wake) => setTimeout(wake, 5));
    process.kill("SIGKILL");
    assert.equal((await output).signal, "SIGKILL");
    const { keys: [killed], integrity } = stats(path);
    assert.equal(integrity, "ok");
    assert.ok(
      killed.complete < 24 && killed.complete + killed.pending >= 1,
      `${killed.complete} and ${killed.pending}`,
    );
    const { code, stderr } = await runTask("features", dir, ...args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, new RegExp(`features: measured ${24 - killed.complete} images, kept in j\\.sqlite`));
    const { keys: [done] } = stats(path);
    // Of the second batch, work may have begun before the kill, and been lost.
    assert.deepEqual([done.complete, done.pending, done.mostAttempts <= 2], [24, 0, true]);
  });
});

function stats(path: string) {
  using journal = Journal.open(path);
  return journalStats(journal);
}

for (
  const [args, message] of [
    [["attribute", "in", "--shard", "1/2"], /--shard: expects --journal FILE/],
    [["attribute", "in", "--shard", "3/2", "--journal", "j"], /--shard: expected i\/n with 1 <= i <= n/],
    [["attribute", "in", "--journal", "no/j"], /journal no\/j: unable to open .*: expected a folder that exists/],
    [["journal"], /expected stats, export, merge, gc, got nothing/],
    [["journal", "stat", "j"], /got stat; did you mean stats\?/],
    [["journal", "stats"], /stats: expected journal files/],
    [["journal", "stats", "j"], /journal j: expected a journal, found no file/],
  ] as const
) {
  Deno.test(`${args.join(" ")} is refused with exit code 1`, async () => {
    await withFolder(async (dir) => {
      await copyImages(join(dir, "in"), 1);
      const [task, ...rest] = args;
      const { code, stderr } = await runTask(task, dir, ...rest);
      assert.equal(code, 1);
      assert.match(stderr, message);
    });
  });
}

/** Numbers from 0 to 1, the same ones every time. */
function generator(seed: number): () => number {
  return () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}
