/**
 * Journals of shards joined: their rows into one submission in natural order, their evidence into one file where that is
 * wanted. It computes nothing, needs no weights, and keeps no more of the journals in memory than a row of each.
 */
import { compareNaturally } from "../../images/natural_order.ts";
import { Submission } from "../submission.ts";
import { Journal } from "./store.ts";

type Row = Record<string, unknown>;

/** A row of the submission. */
export interface MergedRow {
  readonly name: string;
  readonly label: string;
}

export interface MergeResult {
  readonly rows: number;
  readonly unreadable: number;
}

interface LastSession {
  readonly journal: Journal;
  readonly run: number;
  readonly hash: string;
  readonly shard: number;
  readonly shards: number;
  readonly status: string;
  readonly listed: number;
  readonly done: number;
}

/** Opens journals for reading, and closes them after `body`. */
export async function withJournals<T>(
  paths: readonly string[],
  body: (journals: readonly Journal[]) => T | Promise<T>,
): Promise<T> {
  using cleanup = new DisposableStack();
  // Read-only connections cannot bring a write-ahead log of a killed process in order; these can, and write nothing else.
  const journals = paths.map((path) => cleanup.use(Journal.open(path, { mustExist: true, cacheBytes: 8 * 2 ** 20 })));
  return await body(journals);
}

/**
 * The sessions that make up the run that the first journal worked on last, one per journal. Throws, saying what to run, when
 * a shard is missing, twice there or not done, or when the journals are of different runs or lists of images.
 */
export function requireWhole(journals: readonly Journal[]): readonly LastSession[] {
  const last = journals.map((journal): LastSession => {
    const row = journal.sql(
      "SELECT sessions.*, runs.hash FROM sessions JOIN runs ON runs.id = sessions.run ORDER BY sessions.id DESC LIMIT 1",
    ).get();
    if (row === undefined) throw new Error(`${journal.path}: no run was journaled here`);
    const number = (name: string) => row[name] as number;
    return {
      journal,
      hash: row.hash as string,
      status: row.status as string,
      ...{ run: number("run"), shard: number("shard"), shards: number("shards") },
      ...{ listed: number("listed"), done: number("done") },
    };
  });
  const [first] = last;
  const seen = new Map<number, LastSession>();
  for (const session of last) {
    const { journal, shard, shards } = session;
    if (session.hash !== first.hash) {
      throw new Error(
        `${journal.path}: its last run has other inputs, weights or settings than that of ${first.journal.path}`,
      );
    }
    if (shards !== first.shards) {
      throw new Error(`${journal.path}: is one of ${shards} shards, ${first.journal.path} one of ${first.shards}`);
    }
    const other = seen.get(shard);
    if (other !== undefined) {
      throw new Error(`${journal.path} and ${other.journal.path} are both shard ${shard}/${shards}`);
    }
    seen.set(shard, session);
    if (session.status !== "done") {
      throw new Error(`${journal.path}: shard ${shard}/${shards} is ${session.status}: run it again, it will go on`);
    }
    if (session.listed !== first.listed) {
      throw new Error(
        `${journal.path}: saw ${session.listed} images, ${first.journal.path} ${first.listed}: run the shards again`,
      );
    }
  }
  const missing = Array.from({ length: first.shards }, (_, i) => i + 1).filter((shard) => !seen.has(shard));
  if (missing.length > 0) {
    throw new Error(
      `expected ${first.shards} shards, missing: ${missing.map((i) => `${i}/${first.shards}`).join(", ")}`,
    );
  }
  const rows = last.reduce((sum, { done }) => sum + done, 0);
  if (rows !== first.listed) {
    throw new Error(
      `the shards have ${rows} images in all, their lists ${first.listed}: files changed, run them again`,
    );
  }
  return last;
}

/** The rows of all shards in natural order of their names. */
export function* rowsInOrder(sessions: readonly LastSession[]): Generator<MergedRow, void, void> {
  const heads = sessions.map(({ journal, run }) => {
    const rows = journal.sql("SELECT name, label FROM results WHERE run = ? ORDER BY position").iterate(run);
    return { rows, row: rows.next() };
  });
  while (true) {
    let least: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.row.done) continue;
      if (least === undefined || compareNaturally(nameOf(head.row.value), nameOf(least.row.value)) < 0) least = head;
    }
    if (least === undefined) return;
    yield { name: nameOf(least.row.value), label: least.row.value!.label as string };
    least.row = least.rows.next();
  }
}

function nameOf(row: Row | undefined): string {
  return row!.name as string;
}

/** Writes the submission of the run that journals hold. Throws as requireWhole() does, before anything is written. */
export async function mergeSubmission(journals: readonly Journal[], out: string): Promise<MergeResult> {
  const sessions = requireWhole(journals);
  const submission = await Submission.create(out);
  let rows = 0, unreadable = 0;
  try {
    for (const { name, label } of rowsInOrder(sessions)) {
      await submission.add(name, label);
      rows++;
      if (label === "unreadable") unreadable++;
    }
  } catch (error) {
    await submission.discard();
    throw error;
  }
  await submission.finish();
  return { rows, unreadable };
}

/** Rows per transaction while joining. */
const together = 20_000;

/** Adds the evidence of other journals to one. What both have stays as it is. Returns the number of rows added. */
export function joinEvidence(into: Journal, from: readonly Journal[]): number {
  let added = 0;
  for (const source of from) {
    const keys = new Map<number, number>();
    const skeletons = new Map<number, number>();
    into.transact(() => {
      for (const row of source.sql("SELECT * FROM keys").all()) {
        keys.set(row.id as number, into.keyId(row.model_set as string, row.settings as string));
      }
      for (const row of source.sql("SELECT * FROM skeletons").all()) {
        skeletons.set(row.id as number, into.skeletonId(row.text as string));
      }
    });
    const insert = into.sql(
      "INSERT OR IGNORE INTO evidence(key, sha256, skeleton, numbers, tokens, token_counts, attempts) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    // By number, so that no more than one transaction's rows are read ahead of what is written.
    const read = source.sql("SELECT * FROM evidence WHERE id > ? ORDER BY id LIMIT ?");
    for (let last = 0, more = true; more;) {
      more = false;
      into.transact(() => {
        for (const row of read.iterate(last, together)) {
          const { key, sha256, skeleton, numbers, tokens, token_counts, attempts } = row;
          const { changes } = insert.run(
            ...[keys.get(key as number)!, sha256 as Uint8Array, skeletons.get(skeleton as number)!],
            ...[numbers as Uint8Array, tokens as Uint8Array | null],
            ...[token_counts === null ? null : skeletons.get(token_counts as number)!, attempts as number],
          );
          added += Number(changes);
          last = row.id as number;
          more = true;
        }
      });
    }
  }
  return added;
}
