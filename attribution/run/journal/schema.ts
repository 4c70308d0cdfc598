/**
 * The tables of a journal file, and settings of SQLite under which the file survives a kill at any moment. store.ts
 * reads and writes the tables.
 */
import { DatabaseSync } from "node:sqlite";
import { fileSystemType, networkFileSystem } from "./file_system.ts";
import { formerTables, formerTablesVersion, formerVersions, migrate } from "./migrate.ts";
import { journalError } from "./statement.ts";

/** Version of the tables, in SQLite's user_version. */
export const journalVersion = 5;

/** Marks a file as a journal ("TRCR"), in SQLite's application_id. */
const applicationId = 0x54524352;

// Rows with a checksum (checksum.ts) are checked when they are read. Their checksums cover the texts of keys, skeletons and
// runs as well. No index is on such a text: an index has a copy, which can differ from the row after damage.
const tables = `
-- What measurements depend on beside the image: weights and settings.
CREATE TABLE keys(id INTEGER PRIMARY KEY, model_set TEXT NOT NULL, settings TEXT NOT NULL);
-- Skeletons of packed values (packing.ts).
CREATE TABLE skeletons(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
-- Complete evidence, one row per content and key. tokens holds the ids of all families one after the other;
-- token_counts is a skeleton with the number of tokens of each family.
CREATE TABLE evidence(id INTEGER PRIMARY KEY, key INTEGER NOT NULL, sha256 BLOB NOT NULL, skeleton INTEGER NOT NULL,
  numbers BLOB NOT NULL, checksum BLOB NOT NULL, tokens BLOB, token_counts INTEGER, tokens_checksum BLOB,
  attempts INTEGER NOT NULL DEFAULT 1);
CREATE UNIQUE INDEX evidence_of ON evidence(sha256, key);
-- Measurements of images that are not complete yet. part is signals.<family> and ids.<family> until all tokenizers have
-- run, then families and tokens; starts.<family>, classes.<family>, variants.<label>, found.<level>, search.<level>, and
-- timings, which also lists the parts that there are. sha256 may stand for an image in a pose that was found.
CREATE TABLE pending(key INTEGER NOT NULL, sha256 BLOB NOT NULL, part TEXT NOT NULL, skeleton INTEGER NOT NULL,
  numbers BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY(key, sha256, part)) WITHOUT ROWID;
-- How often measuring an image began, until its evidence is complete.
CREATE TABLE attempts(key INTEGER NOT NULL, sha256 BLOB NOT NULL, begun INTEGER NOT NULL,
  PRIMARY KEY(key, sha256)) WITHOUT ROWID;
-- Runs: inputs, and how they are decided; hash is the sha256 of spec. Sessions: processes that worked on a run; out is the
-- path of the table of labels.
CREATE TABLE runs(id INTEGER PRIMARY KEY, hash TEXT NOT NULL, spec TEXT NOT NULL);
CREATE TABLE sessions(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, shard INTEGER NOT NULL, shards INTEGER NOT NULL,
  out TEXT, started TEXT NOT NULL, ended TEXT, status TEXT NOT NULL, listed INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0, checksum BLOB NOT NULL);
`;

const resultTables = `
-- Rows of the submission of a run. position is their order within a session; verdict is what was said beside the label
-- (results.ts), as JSON.
CREATE TABLE results(run INTEGER NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, session INTEGER NOT NULL,
  sha256 BLOB, label TEXT NOT NULL, verdict TEXT NOT NULL, checksum BLOB NOT NULL,
  PRIMARY KEY(run, name)) WITHOUT ROWID;
CREATE INDEX results_in_order ON results(run, position);
`;

/** Options of `Journal.open`. */
export interface OpenJournalOptions {
  /** Throw if the file does not exist. Default false. */
  readonly mustExist?: boolean;
  /** Default false. */
  readonly readOnly?: boolean;
  /**
   * Keep the lock and use no shared memory, as network file systems require. Default false: processes of one machine
   * share the file.
   */
  readonly exclusive?: boolean;
  /** Milliseconds to wait for another process's lock. Default 20,000. */
  readonly busyTimeout?: number;
  /** Receives what the user should know: that the file is on a network file system. */
  readonly onNote?: (text: string) => void;
  /** The type of the file system of a path, as statfs gives it; undefined if unknown. Default: asks the system. */
  readonly fileSystem?: (path: string) => number | undefined;
  /** Write every commit to the disk before going on. Default true; merging can be repeated and sets it to false. */
  readonly durable?: boolean;
  /** Size of the page cache in bytes. Default 64 MiB. */
  readonly cacheBytes?: number;
}

/** Opens or creates a journal. Throws, naming the file, if it is no journal, damaged or in use. */
export function openDatabase(path: string, options: OpenJournalOptions = {}): DatabaseSync {
  const { readOnly = false, exclusive = false, busyTimeout = 20_000, durable = true } = options;
  const { cacheBytes = 64 * 2 ** 20 } = options;
  if (options.mustExist || readOnly) {
    const isFile = fileExists(path);
    if (!isFile) throw new Error(`journal ${path}: expected a journal, found no file`);
  }
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly });
    db.exec(`PRAGMA busy_timeout = ${busyTimeout}; PRAGMA cache_size = ${-Math.ceil(cacheBytes / 1024)};`);
    const number = (name: string) => Number(Object.values(db!.prepare(`PRAGMA ${name}`).get()!)[0]);
    const isNew = number("schema_version") === 0;
    if (!isNew && number("application_id") !== applicationId) throw new Error("this database is no journal");
    const version = number("user_version");
    const isFormer = formerVersions.includes(version) && !readOnly;
    if (!isNew && !isFormer && version !== journalVersion) {
      throw new Error(
        `expected version ${journalVersion} of its tables, got ${version}: it is of another version of this program, ` +
          "or damaged; name another file, and everything is measured anew",
      );
    }
    if (!isNew) expectTables(db, version === formerTablesVersion ? formerTables : resultTables);
    if (readOnly) return db;
    // Possible only before there are tables. A full VACUUM attaches a second database, which Deno does not allow.
    if (isNew) db.exec("PRAGMA auto_vacuum = INCREMENTAL;");
    // Before the first access to the write-ahead log: its index is then kept in memory, not in a shared file.
    if (exclusive) db.exec("PRAGMA locking_mode = EXCLUSIVE;");
    db.exec(`PRAGMA journal_mode = ${journalMode(path, options)};`);
    db.exec(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"};`);
    if (isNew) create(db, number);
    if (isFormer) update(db, number);
    return db;
  } catch (cause) {
    db?.close();
    throw journalError(path, cause);
  }
}

/** A write-ahead log needs memory that all processes share, which those of several machines do not. */
function journalMode(path: string, { fileSystem = fileSystemType, onNote }: OpenJournalOptions): "WAL" | "DELETE" {
  const network = networkFileSystem(fileSystem(path));
  if (network === undefined) return "WAL";
  onNote?.(
    `journal ${path}: a write-ahead log is unsafe on ${network}, using a rollback journal, which is slower; ` +
      "give every machine a journal",
  );
  return "DELETE";
}

/** Throws when the definitions are not those of the tables that all versions have, and of `others` after them. */
function expectTables(db: DatabaseSync, others: string): void {
  const expected = (tables + others).replaceAll(/^--.*$/gm, "").split(";").map((text) => text.trim()).filter((
    text,
  ) => text !== "");
  const actual = db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").all();
  if (actual.length !== expected.length || !actual.every(({ sql }, i) => sql === expected[i])) {
    throw new Error("its definitions of tables are malformed");
  }
}

/** Creates the tables, unless another process did so in the meantime. */
function create(db: DatabaseSync, number: (name: string) => number): void {
  db.exec("BEGIN IMMEDIATE");
  if (number("schema_version") === 0) {
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${journalVersion};`);
    db.exec(tables + resultTables);
  }
  db.exec("COMMIT");
}

/** Brings the tables up to date, unless another process did so in the meantime. */
function update(db: DatabaseSync, number: (name: string) => number): void {
  db.exec("BEGIN IMMEDIATE");
  const version = number("user_version");
  if (version === formerTablesVersion) migrate(db, resultTables);
  if (formerVersions.includes(version)) db.exec(`PRAGMA user_version = ${journalVersion};`);
  db.exec("COMMIT");
}

function fileExists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
