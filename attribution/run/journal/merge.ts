/**
 * Merges the journals of shards: their rows into one submission in natural order and, on request, their evidence into
 * one journal. Needs no weights and no device, and holds one row per journal in memory.
 */
import { compareNaturally } from "../../images/natural_order.ts";
import { Submission, type SubmissionColumn, type SubmissionRow } from "../submission.ts";
import { type LastSession, lastSession, resultsOf } from "./results.ts";
import { type KeyTexts, readEvidence, type Row } from "./rows.ts";
import type { Said } from "./said.ts";
import { Journal } from "./store.ts";

/** A row of the submission. */
export interface MergedRow extends SubmissionRow {
  readonly image: string;
  readonly label: string;
}

/** Numbers of rows. */
export interface MergeResult {
  readonly rows: number;
  readonly unreadable: number;
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

/** Yields the rows of all shards in natural order of their names. Throws at a damaged row. */
export function* rowsInOrder(sessions: readonly LastSession[]): Generator<MergedRow, void, void> {
  const heads = sessions.map((session) => {
    const rows = resultsOf(session);
    return { rows, row: rows.next() };
  });
  while (true) {
    let least: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.row.done) continue;
      if (least === undefined || compareNaturally(nameOf(head.row.value), nameOf(least.row.value)) < 0) least = head;
    }
    if (least === undefined) return;
    yield rowOf(least.row.value as Row);
    least.row = least.rows.next();
  }
}

function nameOf(row: Row | void): string {
  return row!.name as string;
}

function rowOf({ name, label, sha256, verdict }: Row): MergedRow {
  const said = JSON.parse(verdict as string) as Said;
  // A table has no hash of an image that could not be read.
  const hash = said.error === undefined ? { sha256: (sha256 as Uint8Array).toHex() } : {};
  return { image: name as string, label: label as string, ...hash, ...said };
}

/**
 * Writes the submission of a run to `out`, with further `columns`. Throws as `requireWhole` does, before anything is
 * written.
 */
export async function mergeSubmission(
  journals: readonly Journal[],
  out: string,
  columns: readonly SubmissionColumn[] = [],
): Promise<MergeResult> {
  const sessions = requireWhole(journals);
  const submission = await Submission.create(out, columns);
  let rows = 0, unreadable = 0;
  try {
    for (const row of rowsInOrder(sessions)) {
      await submission.add(row);
      rows++;
      if (row.label === "unreadable") unreadable++;
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

/**
 * Copies the evidence of other journals that `into` does not have. Returns the number of rows added. Rows that do not
 * match their checksums are left out; `damaged` of their journals then has their images.
 */
export function joinEvidence(into: Journal, from: readonly Journal[]): number {
  let added = 0;
  for (const source of from) {
    const keys = new Map<unknown, { id: number; texts: KeyTexts }>();
    into.transact(() => {
      for (const { id, model_set, settings } of source.sql("SELECT * FROM keys").all()) {
        const texts = [model_set as string, settings as string] as const;
        keys.set(id, { id: into.keyId(...texts), texts });
      }
    });
    const insert = into.sql(
      "INSERT OR IGNORE INTO evidence(key, sha256, skeleton, numbers, checksum, tokens, token_counts, " +
        "tokens_checksum, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    const skeletonOf = (id: unknown) => source.skeleton(id);
    // In steps of the row id: the reader is never more than one transaction ahead of the writer.
    const read = source.sql("SELECT * FROM evidence WHERE id > ? ORDER BY id LIMIT ?");
    for (let last = 0, more = true; more;) {
      more = false;
      into.transact(() => {
        for (const row of read.iterate(last, rowsPerTransaction)) {
          last = row.id as number;
          more = true;
          const key = keys.get(row.key), sha256 = row.sha256 as Uint8Array;
          const stored = key && readEvidence(skeletonOf, key.texts, sha256, row);
          if (stored === undefined) {
            source.damaged.add(String(sha256));
            continue;
          }
          const { tokens } = stored;
          const { changes } = insert.run(
            ...[key!.id, sha256, into.skeletonId(stored.packed.skeleton)],
            ...[stored.packed.numbers, row.checksum as Uint8Array],
            ...tokens === undefined ? [null, null] : [tokens.ids, into.skeletonId(tokens.counts)],
            ...[row.tokens_checksum as Uint8Array | null, row.attempts as number],
          );
          added += Number(changes);
        }
      });
    }
  }
  return added;
}
