/** Journals with flipped bits: what comes out of them is right, missing, or an error that says what to do. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  exportLines,
  Journal,
  JournalError,
  type JournalKey,
  journalStats,
  measuringVersion,
  mergeSubmission,
} from "../../../../attribution/run/journal/mod.ts";
import type { Measured } from "../../../../attribution/run/pipeline.ts";
import { withFolder } from "../../files.ts";

const key: JournalKey = {
  modelSet: "a".repeat(64),
  settings: {
    condition: "infer",
    summaries: "summaries/3",
    quantization: "greedy",
    signals: "core",
    device: "cpu",
    weightType: "f32",
  },
};
/** Evidence under these settings serves `key`, too. */
const richer: JournalKey = { ...key, settings: { ...key.settings, signals: "all" } };

const count = 24;
const judged = "2026-11-30T12:00:00.000Z";
const sha = (n: number) => (n * 0x9e3779b1 >>> 0).toString(16).padStart(8, "0").repeat(8);
const labels = ["rarb", "rarl", "var16"];
const labelOf = (n: number) => labels[n % labels.length];
const nameOf = (n: number) => `image-${n}.png`;

function measured(n: number, more: Partial<Measured> = {}): Measured {
  const number = (k: number) => Math.sin(31 * n + k);
  const signals = (k: number) => ({
    ...{ quantLoss: number(k), encLoss: number(k + 1), encLossUncalibrated: number(k + 2) },
    ...{ combined: number(k + 3), quantErrorTail: number(k + 4) },
  });
  const classes = { top: [{ class: n, weight: 1 }], cost: 5 };
  const variant = (k: number) => ({
    tokens: 8,
    meanLogProb: number(k),
    perplexity: number(k + 1),
    summaries: { a: number(k + 2) },
  });
  return {
    sha256: sha(n),
    ...{ width: 256, height: 256, families: { rar: signals(0), var: signals(10) } },
    tokens: { rar: new Int32Array(16).fill(n), var: new Int32Array(40).fill(n + 1) },
    classes: { rar: classes, var: classes },
    variants: Object.fromEntries(labels.map((label, k) => [label, variant(20 + 3 * k)])),
    timings: { read: 1, families: 2, variants: 3 },
    ...more,
  };
}

/** Images 0 to 11 are complete, 12 to 17 have parts, 18 to 23 are complete under other settings. All have rows. */
async function write(path: string): Promise<void> {
  using journal = Journal.open(path);
  const evidence = journal.evidence(key);
  const all = Array.from({ length: count }, (_, n) => n);
  const complete = all.slice(0, 12), begun = all.slice(12, 18), lent = all.slice(18);
  evidence.remember(complete.map((n) => measured(n)));
  evidence.settle(complete.map(sha));
  evidence.remember(begun.map((n) => measured(n, { variants: {}, classes: undefined })));
  evidence.remember(begun.map((n) => measured(n)));
  const other = journal.evidence(richer);
  other.remember(lent.map((n) => measured(n)));
  other.settle(lent.map(sha));
  const session = await journal.begin({ ...key, measuring: measuringVersion, inputs: ["in"] }, count);
  // deno-lint-ignore no-explicit-any -- a row needs no more of a line than this
  const line = (n: number): any => ({
    image: nameOf(n),
    label: labelOf(n),
    confidence: n / count,
    unsure: n % 2 === 0,
    ...{ finding: "variant", reasons: [`Reason ${n}.`], version: "0.2.0", commit: "c".repeat(40), judged },
  });
  journal.addResults(session, all.map((n) => ({ line: line(n), position: n, sha256: sha(n) })));
  journal.end(session, "done", count);
}

/** Numbers below `limit`, the same ones for a seed. */
function generator(seed: number): (limit: number) => number {
  return (limit) => {
    seed = (seed * 1664525 + 1013904223) % 2 ** 32;
    return Math.floor(seed / 2 ** 32 * limit);
  };
}

/** Fails if a part of the evidence differs from what was measured. Parts may be missing. */
function expectRight(n: number, found: Measured | undefined): void {
  if (found === undefined) return;
  const right = measured(n);
  for (const name of ["families", "tokens", "classes"] as const) {
    if (found[name] !== undefined) assert.deepEqual(found[name], right[name], `${name} of image ${n}`);
  }
  for (const [label, variant] of Object.entries(found.variants)) assert.deepEqual(variant, right.variants[label]);
  if (found.families !== undefined) assert.deepEqual([found.width, found.height], [256, 256]);
  if (Object.keys(found.variants).length > 0) assert.ok(found.classes !== undefined, `classes of image ${n}`);
}

/** Does what a run does with a journal: recalls, measures what is missing, keeps it. Returns the images with damage. */
function run(path: string): number {
  using journal = Journal.open(path, { busyTimeout: 100 });
  const evidence = journal.evidence(key);
  for (let n = 0; n < count; n++) {
    expectRight(n, evidence.recall(sha(n)));
    evidence.remember([measured(n)]);
  }
  evidence.settle(Array.from({ length: count }, (_, n) => sha(n)));
  for (let n = 0; n < count; n++) expectRight(n, evidence.find(sha(n)));
  return journal.damaged.size;
}

/** Fails if a row of the export or of the table of labels differs from what was decided. */
async function expectRightRows(path: string, out: string): Promise<void> {
  using journal = Journal.open(path, { busyTimeout: 100 });
  let n = 0;
  for (const line of exportLines(journal)) {
    const { image, label, confidence, unsure, sha256, settings } = line;
    assert.deepEqual([image, label, confidence, unsure], [nameOf(n), labelOf(n), n / count, n % 2 === 0]);
    assert.deepEqual([sha256, settings], [sha(n), key.settings]);
    assert.deepEqual([line.reasons, line.version, line.judged], [[`Reason ${n}.`], "0.2.0", judged]);
    expectRight(n, line.evidence && { ...line.evidence, sha256: sha(n) } as Measured);
    n++;
  }
  assert.equal(n, count);
  await mergeSubmission([journal], out);
  const rows = Array.from({ length: count }, (_, n) => `${nameOf(n)},${labelOf(n)}\n`).join("");
  assert.equal(await Deno.readTextFile(out), "image_name,label\n" + rows);
}

/** Runs `body`. Returns the error with which it refuses a damaged journal. */
async function refusal(path: string, body: () => unknown): Promise<JournalError | undefined> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof JournalError)) throw error;
    assert.ok(error.message.includes(path), `names the file: ${error.message}`);
    assert.match(error.message, /move it away|name another file|run attribute again/, "says what to do");
    return error;
  }
}

/** Flips bits of copies of a journal. Returns how many were refused, had images measured again, were as before. */
async function flip(dir: string, seed: number, trials: number, flips: number) {
  const path = join(dir, "j.sqlite"), whole = join(dir, "whole.sqlite");
  await write(whole);
  const bytes = await Deno.readFile(whole), random = generator(seed);
  const counts = { refused: 0, measuredAgain: 0, unharmed: 0 };
  for (let trial = 0; trial < trials; trial++) {
    const damaged = bytes.slice();
    const places = Array.from({ length: flips }, () => random(8 * bytes.length));
    for (const place of places) damaged[place >> 3] ^= 1 << (place & 7);
    for (const ending of ["-wal", "-shm", "-journal"]) await Deno.remove(path + ending).catch(() => {});
    await Deno.writeFile(path, damaged);
    try {
      const rows = await refusal(path, () => expectRightRows(path, join(dir, "out.csv")));
      let images = 0;
      const refused = await refusal(path, () => images = run(path));
      if (refused !== undefined || rows !== undefined) counts.refused++;
      else if (images > 0) counts.measuredAgain++;
      else counts.unharmed++;
    } catch (error) {
      throw new Error(`seed ${seed}, trial ${trial}, bits ${places}`, { cause: error });
    }
  }
  return counts;
}

Deno.test("bits flipped at 100 places of a journal change no evidence and no row", async () => {
  await withFolder(async (dir) => {
    const one = await flip(dir, 1, 70, 1);
    assert.ok(one.refused > 0 && one.measuredAgain > 0 && one.unharmed > 0, JSON.stringify(one));
    const many = await flip(dir, 2, 30, 20);
    assert.ok(many.unharmed < 30, JSON.stringify(many));
  });
});

Deno.test("a damaged number is measured again, and the journal is whole afterwards", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "j.sqlite");
    await write(path);
    const damage = (path: string, text: string) => {
      using journal = Journal.open(path);
      journal.db.exec(text);
      return journalStats(journal).damaged;
    };
    const zeros = (table: string) =>
      `UPDATE ${table} SET numbers = zeroblob(length(numbers)) WHERE length(numbers) > 0`;
    assert.equal(damage(path, zeros("evidence")), 18);
    assert.equal(run(path), 18, "the complete ones, and those of other settings");
    assert.equal(run(path), 0, "once");
    const parts = join(dir, "parts.sqlite"), missing = join(dir, "missing.sqlite");
    for (const path of [parts, missing]) await write(path);
    assert.ok(damage(parts, zeros("pending")) > 0);
    assert.equal(run(parts), 6);
    damage(missing, "DELETE FROM pending WHERE part LIKE 'classes.%'");
    assert.equal(run(missing), 6, "what depends on a part is not used without it");
    using journal = Journal.open(path);
    const evidence = journal.evidence(key);
    for (let n = 0; n < count; n++) assert.deepEqual(evidence.find(sha(n)), measured(n));
    assert.deepEqual(exportLines(journal).next().value!.label, "rarb");
    journal.db.exec("UPDATE results SET label = 'rarl' WHERE position = 3");
    assert.throws(
      () => [...exportLines(journal)],
      /j\.sqlite: the row of image-3\.png is damaged: run attribute again with the same options/,
    );
  });
});
