import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "npm:fast-check@4.10.2";
import { type Evidence as EvidenceLine, type EvidenceLine as Line } from "../../../../attribution/evidence/evidence.ts";
import {
  collectGarbage,
  exportLines,
  joinEvidence,
  Journal,
  journaled,
  type JournaledLine,
  type JournalKey,
  journalStats,
  measuringVersion,
  mergeSubmission,
  parseShard,
  shardOf,
  withJournals,
} from "../../../../attribution/run/journal/mod.ts";
import { pack, packTokens, unpack, unpackTokens } from "../../../../attribution/run/journal/packing.ts";
import type { ImageInput } from "../../../../attribution/images/load.ts";
import type { Measured } from "../../../../attribution/run/pipeline.ts";
import { withFolder } from "../../files.ts";
import { throughput } from "./throughput.ts";
import { sha256Hex } from "../../../../util/hash.ts";

const key: JournalKey = {
  modelSet: "a".repeat(64),
  settings: { condition: "none", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
};
const sha = (n: number) => n.toString(16).padStart(64, "0");
const signals = { quantLoss: 0.1 + 0.2, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 1e-300, quantErrorTail: 0.5 };
const likelihood = { tokens: 4, meanLogProb: -1 / 3, perplexity: Math.E, summaries: { "a.b": 5e-324, c: -0.125 } };

function measured(n: number, variants: string[]): Measured {
  return {
    sha256: sha(n),
    ...{ width: 8, height: 9, families: { rar: signals, var: signals } },
    tokens: { rar: Int32Array.from([n, 1023]), var: Int32Array.from([4095, 0, 65535]) },
    variants: Object.fromEntries(variants.map((name) => [name, likelihood])),
    timings: { read: 1, families: 2, variants: 3 },
  };
}

function line(image: string, sha256: string, label = "rarb"): EvidenceLine {
  const verdict = { label, confidence: 0.5, unsure: false, method: "perplexity", family: "rar" as const, scores: {} };
  const finding = { finding: "variant" as const, reasons: [] };
  const { tokens: _, ...numbers } = measured(0, ["rarb"]);
  return { image, ...verdict, ...finding, ...numbers, sha256, families: numbers.families!, ...key, calibration: null };
}

Deno.test("pack() and unpack() keep every JSON value as it is", () => {
  const value = fc.jsonValue({ maxDepth: 4 }).filter((v) => !JSON.stringify(v).includes("__proto__"));
  fc.assert(fc.property(value, (value) => {
    // JSON itself has no -0.
    const same = JSON.parse(JSON.stringify(value));
    assert.deepEqual(JSON.parse(JSON.stringify(unpack(pack(same)))), same);
  }));
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 65535 })), (ids) => {
    assert.deepEqual([...unpackTokens(packTokens(Int32Array.from(ids)))], ids);
  }));
  assert.throws(() => pack({ a: [1, NaN] }), /pack: expected finite numbers, got 1 NaN/);
  assert.throws(() => packTokens(Int32Array.of(65536)), /expected ids from 0 to 65535, got 65536/);
  assert.throws(() => unpack({ ...pack([1, 2]), skeleton: "[0]" }), /unpack: expected 1 numbers, got 2/);
  assert.throws(() => unpack({ ...pack([1]), skeleton: "[0,0]" }), /unpack: expected more numbers than the 1/);
});

Deno.test("Journal gives back what passes have left, exactly, and after settling from one row", async () => {
  await withFolder((dir) => {
    const path = join(dir, "j.sqlite");
    {
      using journal = Journal.open(path);
      const evidence = journal.evidence(key);
      assert.equal(evidence.recall(sha(1)), undefined);
      evidence.remember([measured(1, []), measured(2, [])]);
      evidence.remember([measured(1, ["rarb"])]);
    } // a kill here leaves the same
    {
      using journal = Journal.open(path);
      const evidence = journal.evidence(key);
      assert.deepEqual(evidence.recall(sha(1)), measured(1, ["rarb"]));
      assert.deepEqual(evidence.recall(sha(2)), measured(2, []));
      evidence.remember([measured(1, ["rarb", "rarl"])]);
      evidence.settle([sha(1)]);
      assert.deepEqual(evidence.find(sha(1)), measured(1, ["rarb", "rarl"]));
      const [stats] = journalStats(journal).keys;
      assert.deepEqual([stats.complete, stats.pending, stats.mostAttempts], [1, 1, 1]);
      // Another method may want more of what is complete.
      evidence.remember([measured(1, ["rarb", "rarl", "rarxl"])]);
      evidence.settle([sha(1)]);
      assert.deepEqual(evidence.find(sha(1)), measured(1, ["rarb", "rarl", "rarxl"]));
      const other = journal.evidence({ ...key, settings: { ...key.settings, weightType: "f16" } });
      assert.equal(other.find(sha(1)), undefined, "other settings, other evidence");
      journal.db.exec(
        `UPDATE keys SET settings = replace(settings, '"measuring":${measuringVersion}', '"measuring":1')`,
      );
      assert.equal(journal.evidence(key).find(sha(1)), undefined, "measured in another way");
      const core = { ...key, settings: { ...key.settings, summaries: "summaries/3" as const } };
      assert.equal(journal.evidence(core).find(sha(1)), undefined, "nor lent");
      const complete = () => journalStats(journal).keys.reduce((sum, { complete }) => sum + complete, 0);
      assert.equal(complete(), 1);
      collectGarbage(journal);
      assert.equal(complete(), 0);
      assert.equal(journal.evidence({ ...key, modelSet: "b".repeat(64) }).find(sha(1)), undefined);
    }
    return Promise.resolve();
  });
});

Deno.test("Journal counts how often work on an image began until it is complete", async () => {
  await withFolder((dir) => {
    const path = join(dir, "j.sqlite");
    for (let kill = 0; kill < 2; kill++) {
      using journal = Journal.open(path);
      assert.equal(journal.evidence(key).recall(sha(1)), undefined, "looking for it is no work either");
      journal.evidence(key).begin(sha(1));
    }
    using journal = Journal.open(path);
    const evidence = journal.evidence(key);
    assert.equal(journalStats(journal).keys[0].mostAttempts, 2);
    evidence.remember([measured(1, [])]);
    evidence.settle([sha(1)]);
    evidence.recall(sha(1));
    assert.equal(journalStats(journal).keys[0].mostAttempts, 2, "recalling is no work");
    return Promise.resolve();
  });
});

Deno.test("Journal measures anew what the user gives another class, and does not mix the two", async () => {
  await withFolder((dir) => {
    using journal = Journal.open(join(dir, "j.sqlite"));
    const evidence = journal.evidence({ ...key, settings: { ...key.settings, condition: "given" } });
    const given = (id: number, variants: string[]): Measured => {
      const own = { top: [{ class: id, weight: 1 }], cost: 0 };
      return { ...measured(1, variants), classes: { rar: own, var: own } };
    };
    evidence.remember([given(7, ["rarb", "rarl"])]);
    evidence.remember([given(8, ["rarb"])]);
    assert.deepEqual(evidence.find(sha(1)), given(8, ["rarb"]));
    return Promise.resolve();
  });
});

Deno.test("Journal.open() refuses other files, other versions, missing folders, and a shard's journal twice", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "x");
    await Deno.writeTextFile(path, "image_name,label\n".repeat(500));
    assert.throws(() => Journal.open(path), /journal .*x: file is not a database: .*name another file/);
    assert.throws(
      () => Journal.open(join(dir, "no", "j")),
      /unable to open database file.*: expected a folder that exists/,
    );
    assert.throws(() => Journal.open(join(dir, "j"), { mustExist: true }), /expected a journal, found no file/);
    const own = join(dir, "own.sqlite");
    {
      using journal = Journal.open(own);
      journal.db.exec("PRAGMA user_version = 9");
    }
    assert.throws(() => Journal.open(own), /expected version 5 of its tables, got 9: .* name another file/);
    {
      using journal = Journal.open(join(dir, "shard.sqlite"), { exclusive: true });
      journal.evidence(key);
      const again = () => Journal.open(join(dir, "shard.sqlite"), { exclusive: true, busyTimeout: 50 });
      assert.throws(again, /another process uses it \(every shard needs a separate journal\)/);
    }
  });
});

Deno.test("Journal.open() uses no write-ahead log on a network file system, and says so", async () => {
  await withFolder((dir) => {
    const path = join(dir, "j.sqlite");
    const mode = (type: number | undefined) => {
      const notes: string[] = [];
      using journal = Journal.open(path, { fileSystem: () => type, onNote: (text) => notes.push(text) });
      journal.evidence(key);
      return [Object.values(journal.sql("PRAGMA journal_mode").get()!)[0], notes.join()];
    };
    assert.deepEqual(mode(0xef53), ["wal", ""], "ext4");
    for (const [type, name] of [[0x6969, "NFS"], [0x0bd00bd0, "Lustre"], [0x47504653, "GPFS"]] as const) {
      const [used, note] = mode(type);
      assert.equal(used, "delete");
      assert.match(note as string, new RegExp(`j\\.sqlite: a write-ahead log is unsafe on ${name}, using a rollback`));
    }
    assert.deepEqual(mode(undefined), ["wal", ""], "unknown");
    return Promise.resolve();
  });
});

Deno.test("Journal names its file and a remedy when the disk is full, and keeps what it had", async () => {
  await withFolder((dir) => {
    const path = join(dir, "j.sqlite");
    using journal = Journal.open(path);
    const evidence = journal.evidence(key);
    evidence.remember([measured(1, ["rarb"])]);
    const pages = journal.sql("PRAGMA page_count").get()!.page_count;
    journal.db.exec(`PRAGMA max_page_count = ${pages}`);
    const fill = () => evidence.remember(Array.from({ length: 100 }, (_, n) => measured(n + 2, ["rarb"])));
    assert.throws(fill, /^JournalError: journal .*j\.sqlite: database or disk is full: make room .* it will go on$/);
    assert.deepEqual(evidence.find(sha(1)), measured(1, ["rarb"]));
    return Promise.resolve();
  });
});

Deno.test("shardOf() spreads content evenly and depends on nothing else; parseShard() refuses nonsense", async () => {
  const counts = new Array(4).fill(0);
  for (let n = 0; n < 4000; n++) counts[shardOf(await sha256Hex(new TextEncoder().encode(`${n}`)), 4) - 1]++;
  // Binomial, n = 4000, p = 1/4: standard deviation 27; five of them.
  for (const count of counts) assert.ok(Math.abs(count - 1000) < 137, `${counts}`);
  assert.deepEqual(parseShard("2/4"), { index: 2, count: 4 });
  for (const text of ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", ""]) {
    assert.throws(() => parseShard(text), /expected i\/n with 1 <= i <= n/);
  }
});

/** Runs images with the contents that their names begin with through a pipeline that calls all of them `rarb`. */
async function work(journal: Journal, dir: string, names: readonly string[], shard?: { index: number; count: number }) {
  const evidence = journal.evidence(key);
  const session = await journal.begin({ ...key, measuring: measuringVersion, inputs: [dir] }, names.length, shard);
  const computed: string[] = [];
  const pipeline = async function* (images: AsyncIterable<ImageInput>): AsyncGenerator<Line, void, void> {
    const chunk: ImageInput[] = [];
    for await (const image of images) chunk.push(image);
    for (const { path, imageName } of chunk) {
      const bytes = await Deno.readFile(path!);
      const sha256 = await sha256Hex(bytes);
      if (evidence.recall(sha256) === undefined) {
        computed.push(imageName);
        if (bytes[0] === 120) { // x: unreadable
          yield { image: imageName, label: "unreadable", error: { reason: "not-an-image", message: "x" } };
          continue;
        }
        evidence.remember([{ ...measured(1, ["rarb"]), sha256 }]);
      }
      yield line(imageName, sha256);
    }
  };
  const images = names.map((name) => ({ path: join(dir, name), imageName: name }));
  const lines: string[] = [];
  const onKept = (kept: readonly JournaledLine<Line>[]) => journal.addResults(session, kept);
  for await (const { image } of journaled(images, { evidence, shard, pipeline, onKept })) lines.push(image);
  journal.end(session, "done", lines.length);
  return { computed, lines };
}

Deno.test("journaled() computes what occurs twice once, in order, and only what is missing the next time", async () => {
  await withFolder(async (dir) => {
    const names = ["1.png", "2.png", "3.png", "4.png", "5.png", "6.png"];
    const contents = ["a", "b", "a", "x", "b", "a"];
    for (const [i, name] of names.entries()) await Deno.writeTextFile(join(dir, name), contents[i]);
    using journal = Journal.open(join(dir, "j.sqlite"));
    assert.deepEqual(await work(journal, dir, names), { computed: ["1.png", "2.png", "4.png"], lines: names });
    await Deno.writeTextFile(join(dir, "7.png"), "c");
    const more = [...names.slice(1), "7.png"];
    assert.deepEqual(await work(journal, dir, more), { computed: ["4.png", "7.png"], lines: more });
    assert.deepEqual([...exportLines(journal)].map(({ image, label }) => [image, label]), [
      ...[["2.png", "rarb"], ["3.png", "rarb"], ["4.png", "unreadable"], ["5.png", "rarb"]],
      ...[["6.png", "rarb"], ["7.png", "rarb"]],
    ]);
    assert.equal(journalStats(journal).keys[0].mostAttempts, 1);
    collectGarbage(journal, { tokens: true });
    assert.equal(journalStats(journal).integrity, "ok");
    assert.equal([...exportLines(journal)].length, 6, "the last run stays");
    collectGarbage(journal, { modelSet: "b".repeat(64) });
    assert.deepEqual(journalStats(journal).keys, []);
  });
});

Deno.test("mergeSubmission() joins shards in natural order, and refuses what is not whole", async () => {
  await withFolder(async (dir) => {
    const names = Array.from({ length: 30 }, (_, i) => `${i}.png`);
    for (const name of names) await Deno.writeTextFile(join(dir, name), name === "7.png" ? "x" : name);
    const paths = [1, 2, 3].map((i) => join(dir, `${i}.sqlite`));
    const out = join(dir, "submission.csv");
    const merge = (paths: readonly string[]) => withJournals(paths, (journals) => mergeSubmission(journals, out));
    for (const [k, path] of paths.entries()) {
      using journal = Journal.open(path, { exclusive: true });
      const { lines } = await work(journal, dir, names, { index: k + 1, count: 3 });
      assert.ok(lines.length > 0 && lines.length < 30);
    }
    assert.deepEqual(await merge(paths.toReversed()), { rows: 30, unreadable: 1 });
    const rows = names.map((name) => `${name},${name === "7.png" ? "unreadable" : "rarb"}\n`);
    assert.equal(await Deno.readTextFile(out), "image_name,label\n" + rows.join(""));
    {
      using all = Journal.open(join(dir, "all.sqlite"));
      await withJournals(paths, (journals) => {
        assert.equal(joinEvidence(all, journals), 29);
        assert.equal(joinEvidence(all, journals), 0);
      });
      const hash = await sha256Hex(new TextEncoder().encode("3.png"));
      assert.deepEqual(all.evidence(key).find(hash), { ...measured(1, ["rarb"]), sha256: hash });
    }

    await Deno.remove(out);
    await assert.rejects(merge(paths.slice(1)), /expected 3 shards, missing: 1\/3/);
    await assert.rejects(merge([paths[0], ...paths]), /are both shard 1\/3/);
    {
      using journal = Journal.open(paths[1]);
      await journal.begin({ ...key, measuring: measuringVersion, inputs: [dir] }, 30, { index: 2, count: 3 });
    }
    await assert.rejects(merge(paths), /2\.sqlite: shard 2\/3 is running: run it again/);
    {
      using journal = Journal.open(paths[1]);
      const other = await journal.begin({ ...key, measuring: measuringVersion, inputs: ["elsewhere"] }, 30, {
        index: 2,
        count: 3,
      });
      journal.end(other, "done", 10);
    }
    await assert.rejects(merge(paths), /2\.sqlite: its last run has other inputs, weights or settings/);
    {
      using journal = Journal.open(paths[1]);
      await work(journal, dir, names.slice(1), { index: 2, count: 3 });
    }
    await assert.rejects(merge(paths), /saw 29 images, .* 30: run the shards again/);
    await assert.rejects(Deno.stat(out), Deno.errors.NotFound);
  });
});

Deno.test("Eight shards write 8,000 records of full size and are merged, in less than 1 GiB and 6 kB per record", async () => {
  await withFolder(async (dir) => {
    const records = 8000;
    const { rows, peakBytes, mergedBytes } = await throughput(dir, records);
    assert.equal(rows, records);
    assert.ok(peakBytes < 2 ** 30, `${peakBytes} bytes at once`);
    assert.ok(mergedBytes < 6000 * records, `${mergedBytes / records} bytes per record`);
  });
});
