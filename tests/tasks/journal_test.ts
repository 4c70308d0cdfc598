/** Attribution with a journal, as processes: kills, second runs, shards, and `deno task journal`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Journal, journalStats } from "../../attribution/run/journal/mod.ts";
import { PartFile } from "../../util/files.ts";
import { withFolder, writeImages } from "../attribution/files.ts";
import { standIns } from "../sets.ts";
import { copyImages, progressOf } from "./journals.ts";
import { runTask, spawnTask } from "./processes.ts";

const cpu = ["--device", "cpu"];

async function attribute(dir: string, ...args: string[]) {
  return await runTask("attribute", dir, ...args, ...cpu);
}

Deno.test("attribute --journal: a second run over the same images computes nothing, and more images cost only themselves", async () => {
  await withFolder(async (dir) => {
    const images = join(dir, "in");
    await copyImages(images, 12);
    const whole = await attribute(dir, "in", "--journal", "j.sqlite", "--out", "whole.csv");
    assert.equal(whole.code, 0, whole.stderr);
    const again = await attribute(dir, "in", "--journal", "j.sqlite", "--out", "again.csv", "--report", "report");
    assert.equal(again.code, 0, again.stderr);
    assert.equal(
      await Deno.readTextFile(join(dir, "again.csv")),
      await Deno.readTextFile(join(dir, "whole.csv")),
    );
    const summary = async () => JSON.parse(await Deno.readTextFile(join(dir, "report", "summary.json")));
    const { images: counted } = await summary();
    assert.deepEqual([counted.done, counted.recalled, counted.computed], [12, 12, 0]);
    await copyImages(images, 5, 12);
    const more = await attribute(dir, "in", "--journal", "j.sqlite", "--out", "more.csv", "--report", "report");
    assert.equal(more.code, 0, more.stderr);
    const { images: grown } = await summary();
    assert.deepEqual([grown.done, grown.recalled, grown.computed], [17, 12, 5]);
  });
});

Deno.test("attribute --out: replaces what the same journal wrote, refuses other files and those being written", async () => {
  await withFolder(async (dir) => {
    await copyImages(join(dir, "in"), 1);
    const path = join(dir, "t.csv");
    const run = (...args: string[]) => attribute(dir, "in", "--out", "t.csv", ...args);
    await Deno.writeTextFile(path, "other");
    const refused = await run("--journal", "j.sqlite");
    assert.deepEqual([refused.code, await Deno.readTextFile(path)], [1, "other"]);
    assert.match(
      refused.stderr,
      /--out t\.csv: this file exists, and no run .* wrote it: name another file, or replace it with --force\n$/,
    );
    assert.equal((await run("--journal", "j.sqlite", "--force")).code, 0);
    const table = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, "stale");
    assert.equal((await run("--journal", "j.sqlite")).code, 0, "goes on");
    assert.equal(await Deno.readTextFile(path), table);
    Journal.open(join(dir, "k.sqlite")).close();
    const other = await run("--journal", "k.sqlite");
    assert.equal(other.code, 1);
    assert.match(other.stderr, /this file exists, and no run with the journal k\.sqlite wrote it: name another file/);
    const file = await PartFile.create("--out", path);
    const second = await run("--journal", "j.sqlite");
    assert.equal(second.code, 1);
    assert.match(second.stderr, /--out t\.csv: another run is writing this file: wait until it ends/);
    await file.discard();
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
    const all = ["--columns", "finding,confidence,family,reasons,log10lr,sha256,notes,version,commit"];
    const alone = await attribute(dir, "in", "--out", "alone.csv", "--journal", "alone.sqlite", ...all);
    assert.equal(alone.code, 2, alone.stderr);
    const { stdout: stats } = await runTask("journal", dir, "stats", "alone.sqlite", "--json");
    assert.equal(JSON.parse(stats).keys[0].complete, 10, "twins are computed once");
    const shards = await Promise.all(
      [1, 2].map((i) => attribute(dir, "in", "--shard", `${i}/2`, "--journal", `${i}.sqlite`)),
    );
    for (const { code, stderr } of shards) assert.ok(code === 0 || code === 2, stderr);
    const part = await runTask("journal", dir, "merge", "1.sqlite");
    assert.equal(part.code, 1);
    assert.match(part.stderr, /journal: expected 2 shards, missing: 2\/2/);
    const merged = await runTask("journal", dir, "merge", "2.sqlite", "1.sqlite", "--into", "all.sqlite", ...all);
    assert.equal(merged.code, 2, merged.stderr);
    assert.match(
      merged.stderr,
      /submission\.csv has 14 rows, 2 of them unreadable; all\.sqlite has the evidence of 10/,
    );
    const rows = await Deno.readTextFile(join(dir, "alone.csv"));
    assert.match(rows, /^gone\.png,unreadable,/m);
    assert.match(rows, /^no\.png,unreadable,,,,"?expected PNG, JPEG or WebP, got text.*,,,\d+\.\d+\.\d+,[0-9a-f]*$/m);
    assert.match(rows, /^twin2\.png,\w+,\w+,[\d.]+,/m);
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
    [["journal"], /expected stats, export, merge or gc, got nothing/],
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
