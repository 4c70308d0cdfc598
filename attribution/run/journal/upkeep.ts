/**
 * Looking into a journal and keeping it small: counts, an integrity check, and the removal of what nobody will recall.
 * It never changes evidence that stays.
 */
import { type Journal, measuringVersion } from "./store.ts";

export interface JournalStats {
  readonly path: string;
  readonly bytes: number;
  /** What SQLite's own check says; `ok` where nothing is wrong. */
  readonly integrity: string;
  readonly keys: readonly {
    readonly modelSet: string;
    readonly settings: unknown;
    /** Images whose evidence is complete, and images on their way. */
    readonly complete: number;
    readonly pending: number;
    /** How often work on one image began at most. */
    readonly mostAttempts: number;
  }[];
  readonly sessions: readonly {
    readonly shard: string;
    readonly status: string;
    readonly started: string;
    readonly ended: string | null;
    readonly listed: number;
    readonly done: number;
    /** Rows of its run that are kept. */
    readonly results: number;
  }[];
}

/** Counts what a journal has. `check` reads all of it to see whether it is whole. */
export function journalStats(journal: Journal, { check = true } = {}): JournalStats {
  const count = (text: string, ...values: number[]) => Number(Object.values(journal.sql(text).get(...values)!)[0] ?? 0);
  const integrity = check
    ? journal.sql("PRAGMA integrity_check").all().map((row) => String(Object.values(row)[0])).join("; ")
    : "not checked";
  const keys = journal.sql("SELECT * FROM keys ORDER BY id").all().map((row) => {
    const id = row.id as number;
    return {
      modelSet: row.model_set as string,
      settings: JSON.parse(row.settings as string),
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
    keys,
    sessions,
  };
}

export interface GarbageOptions {
  /** Evidence of other model sets goes. Default: all stay. */
  readonly modelSet?: string;
  /** Tokens go, too: what the variants say of an image can then not be added to. */
  readonly tokens?: boolean;
}

/**
 * Removes evidence that was measured by another version of the code, sessions that a later one of the same shard replaced,
 * rows of runs without sessions, and what the options name; gives the space back. Returns the number of rows removed.
 */
export function collectGarbage(journal: Journal, { modelSet, tokens = false }: GarbageOptions = {}): number {
  let removed = 0;
  const run = (text: string, ...values: string[]) => {
    removed += Number(journal.sql(text).run(...values).changes);
  };
  const drop = (condition: string, ...values: string[]) => {
    for (const table of ["evidence", "pending", "attempts"]) {
      run(`DELETE FROM ${table} WHERE key IN (SELECT id FROM keys WHERE ${condition})`, ...values);
    }
    run(`DELETE FROM keys WHERE ${condition}`, ...values);
  };
  journal.transact(() => {
    drop(`json_extract(settings, '$.measuring') IS NOT ${measuringVersion}`);
    if (modelSet !== undefined) drop("model_set <> ?", modelSet);
    run("DELETE FROM sessions WHERE id NOT IN (SELECT max(id) FROM sessions GROUP BY run, shard, shards)");
    run("DELETE FROM results WHERE run NOT IN (SELECT run FROM sessions)");
    run("DELETE FROM runs WHERE id NOT IN (SELECT run FROM sessions)");
    if (tokens) journal.sql("UPDATE evidence SET tokens = NULL, token_counts = NULL").run();
  });
  // A row per page that is given back; exec() would stop at the first one.
  journal.sql("PRAGMA incremental_vacuum").all();
  journal.sql("PRAGMA wal_checkpoint(TRUNCATE)").all();
  return removed;
}
