/** Statements of a journal, and errors of SQLite that name its file and say what to do. */
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { NamedError } from "../../../util/errors.ts";

/** A journal cannot be used: it is damaged, in use, of another version, or its disk is full. */
export class JournalError extends NamedError {}

/** What to do about an error of SQLite, by its message. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [/locked|busy/, "another process uses it (every shard needs a separate journal)"],
  [/unable to open/, "expected a folder that exists and can be written to"],
  [/is full|No space left/, "make room on this disk and run the same command again, it will go on"],
  [/disk I\/O error/, "the disk is full or failing: make room or copy the file to another disk, and run again"],
  [/readonly|read-only/, "expected a file and a folder that can be written to"],
  [/not a database/, "it is no journal, or a damaged one: name another file, or move it away and run again"],
  [
    /malformed|corrupt|no such (table|column)|too large/,
    "the file is damaged: move it away and run again, and everything is measured anew",
  ],
];

/** An error of SQLite as one that names the journal and says what to do. */
export function journalError(path: string, cause: unknown): Error {
  if (cause instanceof JournalError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const remedy = remedies.find(([pattern]) => pattern.test(reason))?.[1];
  return new JournalError(`journal ${path}: ${reason}${remedy === undefined ? "" : `: ${remedy}`}`, { cause });
}

/** Runs `body`. Errors of it name the journal. */
export function named<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw journalError(path, cause);
  }
}

/** A prepared statement. Its errors name the journal. */
export class Statement {
  readonly #path: string;
  readonly #statement: StatementSync;

  constructor(path: string, statement: StatementSync) {
    this.#path = path;
    this.#statement = statement;
  }

  /** The first row, if there is any. */
  get(...values: SQLInputValue[]): Record<string, SQLOutputValue> | undefined {
    return named(this.#path, () => this.#statement.get(...values));
  }

  /** All rows. */
  all(...values: SQLInputValue[]): Record<string, SQLOutputValue>[] {
    return named(this.#path, () => this.#statement.all(...values));
  }

  /** Runs a statement without rows. */
  run(...values: SQLInputValue[]): { changes: number | bigint; lastInsertRowid: number | bigint } {
    return named(this.#path, () => this.#statement.run(...values));
  }

  /** Yields rows as they are read. */
  *iterate(...values: SQLInputValue[]): Generator<Record<string, SQLOutputValue>, void, void> {
    const rows = named(this.#path, () => this.#statement.iterate(...values));
    while (true) {
      const { done, value } = named(this.#path, () => rows.next());
      if (done) return;
      yield value;
    }
  }
}
