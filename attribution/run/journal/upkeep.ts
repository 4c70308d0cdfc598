/**
 * Maintenance of a journal: counts, an integrity check, and the removal of evidence that no run will recall.
 */
import { type Journal, measuringVersion } from "./store.ts";

/** Contents of a journal. */
export interface JournalStats {
  readonly path: string;
  readonly bytes: number;
  /** Result of SQLite's integrity check: `ok`, or a list of errors. */
  readonly integrity: string;
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

/** Counts the contents of a journal. `check` runs the integrity check, which reads the whole file. */
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
  // The statement frees one page per row; exec() would stop after the first.
  journal.sql("PRAGMA incremental_vacuum").all();
  journal.sql("PRAGMA wal_checkpoint(TRUNCATE)").all();
  return removed;
}
