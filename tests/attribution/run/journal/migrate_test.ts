/** Journals with the tables of version 3, which kept less of a verdict. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { exportLines, Journal, type JournalKey, journalStats } from "../../../../attribution/run/journal/mod.ts";
import { checksum } from "../../../../attribution/run/journal/checksum.ts";
import { withFolder } from "../../files.ts";

const key: JournalKey = {
  modelSet: "a".repeat(64),
  settings: { condition: "none", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
};
const sha = (n: number) => String(n).repeat(64);
const signals = { quantLoss: 0.25, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 0.375, quantErrorTail: 0.5 };
const measured = (n: number) => ({
  ...{ sha256: sha(n), width: 8, height: 8, families: { rar: { ...signals, quantLoss: n } }, variants: {} },
  timings: { read: 1, families: 2, variants: 3 },
});

/** The table as version 3 had it. */
const formerTable =
  `CREATE TABLE results(run INTEGER NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, session INTEGER NOT NULL,
  sha256 BLOB, label TEXT NOT NULL, confidence REAL, unsure INTEGER, error TEXT, checksum BLOB NOT NULL,
  PRIMARY KEY(run, name)) WITHOUT ROWID;
CREATE INDEX results_in_order ON results(run, position);`;

const error = { reason: "empty", message: "0 bytes" };
/** Confidence, unsure and error of each row. */
const rows = [[0.75, 0, null], [0.25, 1, null], [null, null, JSON.stringify(error)]] as const;
const names = ["a.png", "b.png", "c.png"];

/** Writes a journal of version 3 with three images; `damage` runs before it is closed. */
async function writeFormer(path: string, damage = ""): Promise<void> {
  using journal = Journal.open(path);
  const evidence = journal.evidence(key, 6);
  evidence.remember([measured(1), measured(2)]);
  evidence.settle([sha(1), sha(2)]);
  const session = await journal.begin({ ...key, method: "joint", calibration: "c".repeat(64) }, 3);
  journal.db.exec(`DROP TABLE results; ${formerTable} PRAGMA user_version = 3;`);
  const insert = journal.db.prepare("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  rows.forEach(([confidence, unsure, error], i) => {
    const label = error === null ? "rarb" : "unreadable";
    const values = [names[i], i, session.id, Uint8Array.fromHex(sha(i + 1)), label, confidence, unsure, error] as const;
    insert.run(session.run, ...values, checksum(session.hash, ...values));
  });
  journal.end(session, "done", 3);
  journal.db.exec(damage);
}

function versionOf(path: string): unknown {
  using db = new DatabaseSync(path, { readOnly: true });
  return db.prepare("PRAGMA user_version").get()!.user_version;
}

Deno.test("Journal.open() brings a journal of version 3 up to date: all its evidence, and what its rows said", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "j.sqlite");
    await writeFormer(path);
    assert.equal(versionOf(path), 3);
    for (let time = 0; time < 2; time++) {
      using journal = Journal.open(path);
      assert.equal(versionOf(path), 5);
      assert.deepEqual(journal.evidence(key, 6).recall(sha(2)), measured(2));
      const said = [...exportLines(journal)].map(({ image, label, confidence, unsure, error, finding, judged }) => ({
        ...{ image, label, confidence, unsure, error, finding, judged },
      }));
      const nothing = { finding: undefined, judged: undefined };
      assert.deepEqual(said, [
        { image: "a.png", label: "rarb", confidence: 0.75, unsure: false, error: undefined, ...nothing },
        { image: "b.png", label: "rarb", confidence: 0.25, unsure: true, error: undefined, ...nothing },
        { image: "c.png", label: "unreadable", confidence: undefined, unsure: undefined, error, ...nothing },
      ]);
      const [first] = exportLines(journal);
      assert.equal(
        first.evidence?.families?.rar.quantLoss,
        1,
        "what the run measured, though it would be measured anew",
      );
      assert.deepEqual([first.method, first.calibration, first.settings], ["joint", "c".repeat(64), key.settings]);
      const { damaged, integrity, sessions } = journalStats(journal);
      assert.deepEqual([damaged, integrity, sessions[0].results], [0, "ok", 3]);
    }
  });
});

Deno.test("Journal.open() makes no right row of a damaged one of version 3", async () => {
  for (const change of ["confidence = 0.76", "error = '{', confidence = NULL", "label = 'var16'", "run = 7"]) {
    await withFolder(async (dir) => {
      const path = join(dir, "j.sqlite");
      await writeFormer(path, `UPDATE results SET ${change} WHERE name = 'b.png'`);
      using journal = Journal.open(path);
      assert.equal(journalStats(journal).damaged, 1, change);
      assert.throws(() => [...exportLines(journal)], /is damaged: run attribute again/, change);
    });
  }
});

Deno.test("Journal.open() leaves a journal of version 3 as it is when its tables are not that version's", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "j.sqlite");
    await writeFormer(path, "ALTER TABLE results DROP COLUMN unsure");
    assert.throws(() => Journal.open(path), /journal .*j\.sqlite: .*malformed.*: the file is damaged: move it away/);
    assert.equal(versionOf(path), 3);
  });
});

Deno.test("Journal.open() takes a journal of version 4 as it is, whose tables are today's", async () => {
  await withFolder((dir) => {
    const path = join(dir, "j.sqlite");
    {
      using journal = Journal.open(path);
      const evidence = journal.evidence(key);
      evidence.remember([measured(1), measured(2)]);
      evidence.settle([sha(1)]);
      journal.db.exec("PRAGMA user_version = 4");
    }
    using journal = Journal.open(path);
    assert.equal(versionOf(path), 5);
    for (const n of [1, 2]) assert.equal(journal.evidence(key).recall(sha(n))!.families!.rar.quantLoss, n);
    return Promise.resolve();
  });
});
