/**
 * Merges the journals of shards: their rows into one submission in natural order and, on request, their evidence into
 * one journal. Needs no weights and no device, and holds one row per journal in memory.
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

/** Numbers of rows. */
export interface MergeResult {
  readonly rows: number;
  readonly unreadable: number;
}

/** The last session of a journal. */
export interface LastSession {
  readonly journal: Journal;
  readonly run: number;
  readonly hash: string;
  readonly shard: number;
  readonly shards: number;
  readonly status: string;
  readonly listed: number;
  readonly done: number;
}

/** Opens existing journals, runs `body` and closes them. */
export async function withJournals<T>(
  paths: readonly string[],
  body: (journals: readonly Journal[]) => T | Promise<T>,
): Promise<T> {
  using cleanup = new DisposableStack();
  // Not read-only: SQLite must be able to recover the write-ahead log of a process that was killed.
  const journals = paths.map((path) => cleanup.use(Journal.open(path, { mustExist: true, cacheBytes: 8 * 2 ** 20 })));
  return await body(journals);
}

/**
 * Returns the last session of every journal, which together are all shards of one run. Throws, with advice, when a
 * shard is missing, present twice or not done, or when the journals belong to different runs or lists of images.
 */
export function requireWhole(journals: readonly Journal[]): readonly LastSession[] {
  const sessions = journals.map(lastSession);
  const [first] = sessions;
  const seen = new Map<number, LastSession>();
  for (const session of sessions) {
    requireSameRun(session, first);
    const { journal, shard, shards } = session;
    const twin = seen.get(shard);
    if (twin !== undefined) {
      throw new Error(`${journal.path} and ${twin.journal.path} are both shard ${shard}/${shards}`);
    }
    seen.set(shard, session);
    requireFinished(session, first);
  }
  const missing = Array.from({ length: first.shards }, (_, i) => i + 1).filter((shard) => !seen.has(shard));
  if (missing.length > 0) {
    throw new Error(
      `expected ${first.shards} shards, missing: ${missing.map((i) => `${i}/${first.shards}`).join(", ")}`,
    );
  }
  const rows = sessions.reduce((sum, { done }) => sum + done, 0);
  if (rows !== first.listed) {
    throw new Error(
      `the shards have ${rows} images in all, their lists ${first.listed}: files changed, run them again`,
    );
  }
  return sessions;
}

function lastSession(journal: Journal): LastSession {
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
}

function requireSameRun({ journal, hash, shards }: LastSession, first: LastSession): void {
  if (hash !== first.hash) {
    throw new Error(
      `${journal.path}: its last run has other inputs, weights or settings than that of ${first.journal.path}`,
    );
  }
  if (shards !== first.shards) {
    throw new Error(`${journal.path}: is one of ${shards} shards, ${first.journal.path} one of ${first.shards}`);
  }
}

function requireFinished({ journal, shard, shards, status, listed }: LastSession, first: LastSession): void {
  if (status !== "done") {
    throw new Error(`${journal.path}: shard ${shard}/${shards} is ${status}: run it again, it will go on`);
  }
  if (listed !== first.listed) {
    throw new Error(
      `${journal.path}: saw ${listed} images, ${first.journal.path} ${first.listed}: run the shards again`,
    );
  }
}

/** Yields the rows of all shards in natural order of their names. */
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

/** Writes the submission of a run to `out`. Throws as `requireWhole` does, before anything is written. */
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

/** Rows per transaction of `joinEvidence`. */
const rowsPerTransaction = 20_000;

/** Copies the evidence of other journals that `into` does not have. Returns the number of rows added. */
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
    // In steps of the row id: the reader is never more than one transaction ahead of the writer.
    const read = source.sql("SELECT * FROM evidence WHERE id > ? ORDER BY id LIMIT ?");
    for (let last = 0, more = true; more;) {
      more = false;
      into.transact(() => {
        for (const row of read.iterate(last, rowsPerTransaction)) {
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
