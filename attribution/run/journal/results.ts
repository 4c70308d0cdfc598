/** Reads the rows of the last run of a journal, and checks them. Rows are written by store.ts. */
import { createHash } from "node:crypto";
import { isResultIntact, isSessionIntact, type Row } from "./rows.ts";
import { JournalError } from "./statement.ts";
import type { Journal } from "./store.ts";

/** The last session of a journal. */
export interface LastSession {
  readonly journal: Journal;
  readonly id: number;
  readonly run: number;
  readonly hash: string;
  /** The run's specification as JSON. */
  readonly spec: string;
  readonly shard: number;
  readonly shards: number;
  readonly status: string;
  readonly listed: number;
  readonly done: number;
}

/** The last session of a journal. Throws if there is none, or if it is damaged. */
export function lastSession(journal: Journal): LastSession {
  const session = journal.sql("SELECT * FROM sessions ORDER BY id DESC LIMIT 1").get();
  if (session === undefined) throw new JournalError(`${journal.path}: no run was journaled here`);
  const run = journal.sql("SELECT hash, spec FROM runs WHERE id = ?").get(session.run as number);
  if (run === undefined || !isRunIntact(run) || !isSessionIntact(run.hash as string, session)) {
    throw damage(journal, "the row of its last run");
  }
  const number = (name: string) => session[name] as number;
  return {
    ...{ journal, hash: run.hash as string, spec: run.spec as string, status: session.status as string },
    ...{ id: number("id"), run: number("run"), shard: number("shard"), shards: number("shards") },
    ...{ listed: number("listed"), done: number("done") },
  };
}

/** Whether the hash of a run is that of its specification. */
export function isRunIntact({ hash, spec }: Row): boolean {
  return typeof spec === "string" && createHash("sha256").update(spec).digest("hex") === hash;
}

/**
 * Yields the rows of the last run in the order of its images. Throws at a row that does not match its checksum and, if
 * the run is done, when rows are missing.
 */
export function* resultsOf({ journal, id, run, hash, status, done }: LastSession): Generator<Row, void, void> {
  let count = 0, last = -1;
  for (const row of journal.sql("SELECT * FROM results WHERE run = ? ORDER BY position").iterate(run)) {
    if (!isResultIntact(hash, row)) throw damage(journal, `the row of ${row.name}`);
    const position = row.position as number;
    if (status === "done" && (row.session !== id || position <= last)) throw damage(journal, "the order of its rows");
    last = position;
    count++;
    yield row;
  }
  if (status === "done" && count !== done) throw damage(journal, `its list of ${done} rows`);
}

function damage({ path }: Journal, what: string): JournalError {
  return new JournalError(
    `journal ${path}: ${what} is damaged: run attribute again with the same options, which measures only what is damaged`,
  );
}
