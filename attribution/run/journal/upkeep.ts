/**
 * Maintenance of a journal: counts, an integrity check, and the removal of evidence that no run will recall.
 */
import { isRunIntact } from "./results.ts";
import { isResultIntact, isSessionIntact, type KeyTexts, readEvidence, readPart, type Row } from "./rows.ts";
import { type Journal, measuringVersion, settingsIn } from "./store.ts";

/** Contents of a journal. */
export interface JournalStats {
  readonly path: string;
  readonly bytes: number;
  /** Result of SQLite's integrity check: `ok`, or a list of errors. */
  readonly integrity: string;
  /** Rows that do not match their checksums, 0 if not checked. The images of such rows are measured again. */
  readonly damaged: number;
  readonly keys: readonly {
    readonly modelSet: string;
    readonly settings: unknown;
    /** Images with complete evidence. */
    readonly complete: number;
    /** Images with incomplete evidence. */
    readonly pending: number;
    /** The largest number of times that measuring one image began. */
    readonly mostAttempts: number;
  }[];
  readonly sessions: readonly {
    readonly shard: string;
    readonly status: string;
    readonly started: string;
    readonly ended: string | null;
    readonly listed: number;
    readonly done: number;
    /** Stored rows of its run. */
    readonly results: number;
  }[];
}

/** Counts the contents of a journal. `check` also runs the integrity checks, which read all of it. */
export function journalStats(journal: Journal, { check = true } = {}): JournalStats {
  const count = (text: string, ...values: number[]) => Number(Object.values(journal.sql(text).get(...values)!)[0] ?? 0);
  const integrity = check
    ? journal.sql("PRAGMA integrity_check").all().map((row) => String(Object.values(row)[0])).join("; ")
    : "not checked";
  const keys = journal.sql("SELECT * FROM keys ORDER BY id").all().map((row) => {
    const id = row.id as number;
    return {
      modelSet: row.model_set as string,
      settings: settingsIn(row.settings as string),
      complete: count("SELECT count(*) FROM evidence WHERE key = ?", id),
      pending: count("SELECT count(DISTINCT sha256) FROM pending WHERE key = ?", id),
      mostAttempts: Math.max(
        count("SELECT max(attempts) FROM evidence WHERE key = ?", id),
        count("SELECT max(begun) FROM attempts WHERE key = ?", id),
      ),
    };
  });
  const sessions = journal.sql("SELECT * FROM sessions ORDER BY id").all().map((row) => ({
    shard: `${row.shard}/${row.shards}`,
    status: row.status as string,
    started: row.started as string,
    ended: row.ended as string | null,
    listed: row.listed as number,
    done: row.done as number,
    results: count("SELECT count(*) FROM results WHERE run = ?", row.run as number),
  }));
  return {
    path: journal.path,
    bytes: count("PRAGMA page_count") * count("PRAGMA page_size"),
    integrity,
    damaged: check ? countDamaged(journal) : 0,
    keys,
    sessions,
  };
}

/** Number of rows that do not match their checksums. */
function countDamaged(journal: Journal): number {
  const rows = (table: string) => journal.sql(`SELECT * FROM ${table}`).iterate();
  const keys = new Map<unknown, KeyTexts>();
  for (const { id, model_set, settings } of rows("keys")) keys.set(id, [model_set as string, settings as string]);
  const runs = new Map<unknown, string>();
  let damaged = 0;
  const count = (isIntact: boolean) => damaged += isIntact ? 0 : 1;
  for (const run of rows("runs")) {
    count(isRunIntact(run));
    runs.set(run.id, run.hash as string);
  }
  const skeletonOf = (id: unknown) => journal.skeleton(id);
  const underKey = (row: Row, read: typeof readEvidence | typeof readPart) => {
    const key = keys.get(row.key);
    return key !== undefined && row.sha256 instanceof Uint8Array &&
      read(skeletonOf, key, row.sha256, row) !== undefined;
  };
  for (const row of rows("evidence")) count(underKey(row, readEvidence));
  for (const row of rows("pending")) count(underKey(row, readPart));
  for (const row of rows("sessions")) count(isSessionIntact(runs.get(row.run) ?? "", row));
  for (const row of rows("results")) count(isResultIntact(runs.get(row.run) ?? "", row));
  return damaged;
}

/** What `collectGarbage` removes in addition. */
export interface GarbageOptions {
  /** Remove evidence of all model sets but this one. Default: keep all. */
  readonly modelSet?: string;
  /** Remove tokens. Variants that have not scored an image yet then need its tokenizers again. Default false. */
  readonly tokens?: boolean;
}

/**
 * Removes evidence of other measuring versions, sessions that a later one of the same shard replaced, runs without
 * sessions, and what the options name. Returns the freed space to the file system, and the number of rows removed.
 */
export function collectGarbage(journal: Journal, { modelSet, tokens = false }: GarbageOptions = {}): number {
  let removed = 0;
  const run = (text: string, ...values: number[]) => {
    removed += Number(journal.sql(text).run(...values).changes);
  };
  const drop = (key: number) => {
    for (const table of ["evidence", "pending", "attempts"]) run(`DELETE FROM ${table} WHERE key = ?`, key);
    run("DELETE FROM keys WHERE id = ?", key);
  };
  journal.transact(() => {
    for (const { id, model_set, settings } of journal.sql("SELECT * FROM keys").all()) {
      const isOld = settingsIn(settings as string).measuring !== measuringVersion;
      if (isOld || (modelSet !== undefined && model_set !== modelSet)) drop(id as number);
    }
    run("DELETE FROM sessions WHERE id NOT IN (SELECT max(id) FROM sessions GROUP BY run, shard, shards)");
    run("DELETE FROM results WHERE run NOT IN (SELECT run FROM sessions)");
    run("DELETE FROM runs WHERE id NOT IN (SELECT run FROM sessions)");
    if (tokens) journal.sql("UPDATE evidence SET tokens = NULL, token_counts = NULL, tokens_checksum = NULL").run();
  });
  // The statement frees one page per row; exec() would stop after the first.
  journal.sql("PRAGMA incremental_vacuum").all();
  journal.sql("PRAGMA wal_checkpoint(TRUNCATE)").all();
  return removed;
}
