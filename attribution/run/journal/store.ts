/**
 * The journal: measurements by content hash, model set and settings, and the rows of submissions, in one SQLite file.
 * It stores and finds; the pipeline measures, and merge.ts merges the journals of shards.
 */
import { resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { EvidenceLine, Settings } from "../../evidence/evidence.ts";
import { EvidenceCache, type ReusableKey } from "./evidence_cache.ts";
import { reusablePart } from "./reuse.ts";
import { resultChecksum, sessionChecksum } from "./rows.ts";
import { saidOf } from "./said.ts";
import { openDatabase, type OpenJournalOptions } from "./schema.ts";
import type { Shard } from "./shards.ts";
import { named, Statement } from "./statement.ts";
import { canonicalJson } from "../../../util/json.ts";
import { sha256Hex } from "../../../util/hash.ts";

/** What evidence depends on beside the image. */
export interface JournalKey {
  /** Hash of the model set. */
  readonly modelSet: string;
  readonly settings: Settings;
}

/** What the rows of a submission depend on beside the evidence: inputs, method, rules. A JSON object. */
export type RunSpec = Readonly<Record<string, unknown>>;

/** The work of one process on a run. */
export interface Session {
  readonly id: number;
  readonly run: number;
  /** sha256 of the run's specification. */
  readonly hash: string;
  readonly shard: number;
  readonly shards: number;
  /** Absolute path of the table of labels; null for none. */
  readonly out: string | null;
  /** Number of images in the whole list. */
  readonly listed: number;
  /** ISO 8601. */
  readonly started: string;
}

/** A row of the submission. */
export interface ResultRow {
  readonly line: EvidenceLine;
  /** Of the image in the whole list, from 0. */
  readonly position: number;
  /** Of its content. */
  readonly sha256: string;
}

/**
 * Version of the measuring code. Raise it when a change of the code changes numbers under the same weights and
 * settings. Evidence of other versions stays in the file and is not used.
 */
export const measuringVersion = 9;

/** An open journal file. */
export class Journal {
  /** Path of the file. */
  readonly path: string;
  /** The database connection. */
  readonly db: DatabaseSync;
  /** Hashes of images of which a row did not match its checksum when it was read. */
  readonly damaged: Set<string> = new Set();
  readonly #statements = new Map<string, Statement>();
  readonly #skeletonIds = new Map<string, number>();
  readonly #skeletons = new Map<number, string>();
  #closed = false;

  private constructor(path: string, db: DatabaseSync) {
    this.path = path;
    this.db = db;
  }

  /** Opens or creates a journal file. Throws, naming the file, if it is no journal, damaged or in use. */
  static open(path: string, options: OpenJournalOptions = {}): Journal {
    return new Journal(path, openDatabase(path, options));
  }

  /** A prepared statement; the same one for the same text. */
  sql(text: string): Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = new Statement(this.path, named(this.path, () => this.db.prepare(text)));
      this.#statements.set(text, statement);
    }
    return statement;
  }

  /** Runs `body` as one transaction. When it throws, nothing of it is in the file. */
  transact<T>(body: () => T): T {
    named(this.path, () => this.db.exec("BEGIN IMMEDIATE"));
    try {
      const result = body();
      named(this.path, () => this.db.exec("COMMIT"));
      return result;
    } catch (error) {
      // After some errors, such as a full disk, SQLite has rolled back already.
      if (this.db.isTransaction) this.db.exec("ROLLBACK");
      throw error;
    }
  }

  /**
   * The evidence under a key, with the reusable parts of evidence under other settings of the same model set. Default:
   * that of today's measuring code.
   */
  evidence({ modelSet, settings }: JournalKey, version = measuringVersion): EvidenceCache {
    const text = canonicalJson({ ...settings, measuring: version });
    const id = this.transact(() => this.keyId(modelSet, text));
    const otherKeys = this.sql("SELECT * FROM keys WHERE model_set = ? AND id <> ? ORDER BY id");
    const reusable = otherKeys.all(modelSet, id).flatMap((row): ReusableKey[] => {
      const { measuring, ...stored } = settingsIn(row.settings as string);
      const reuse = measuring === version ? reusablePart(stored, settings) : undefined;
      const key = { id: row.id as number, texts: [modelSet, row.settings as string] as const };
      return reuse === undefined ? [] : [{ key, settings: stored, reuse }];
    });
    return new EvidenceCache(this, { id, texts: [modelSet, text] }, settings, reusable);
  }

  /** The row id of a key, which is inserted if it is new. Call it within a transaction. */
  keyId(modelSet: string, settings: string): number {
    const row = this.sql("SELECT id FROM keys WHERE model_set = ? AND settings = ?").get(modelSet, settings);
    return row?.id as number | undefined ??
      Number(this.sql("INSERT INTO keys(model_set, settings) VALUES (?, ?)").run(modelSet, settings).lastInsertRowid);
  }

  /** The row id of a skeleton, which is inserted if it is new. Call it within a transaction. */
  skeletonId(text: string): number {
    let id = this.#skeletonIds.get(text);
    if (id === undefined) {
      id = this.sql("SELECT id FROM skeletons WHERE text = ?").get(text)?.id as number | undefined ??
        Number(this.sql("INSERT INTO skeletons(text) VALUES (?)").run(text).lastInsertRowid);
      // A failed transaction removes the row; its error ends the process, and with it this stale entry.
      this.#skeletonIds.set(text, id);
    }
    return id;
  }

  /** The skeleton with a row id; undefined if there is none. */
  skeleton(id: unknown): string | undefined {
    if (typeof id !== "number") return undefined;
    let text = this.#skeletons.get(id);
    if (text === undefined) {
      text = this.sql("SELECT text FROM skeletons WHERE id = ?").get(id)?.text as string | undefined;
      if (text !== undefined) this.#skeletons.set(id, text);
    }
    return text;
  }

  /**
   * Begins a session of a run over `listed` images. With a shard, the session works on the shard's images only. `out`
   * is the path of the table of labels, if the session writes one.
   */
  async begin(spec: RunSpec, listed: number, shard?: Shard, out?: string): Promise<Session> {
    const text = canonicalJson(spec);
    const hash = await sha256Hex(new TextEncoder().encode(text));
    const { index, count } = shard ?? { index: 1, count: 1 };
    const place = out === undefined ? null : resolve(out);
    const session = { hash, shard: index, shards: count, out: place, listed, started: new Date().toISOString() };
    return this.transact(() => {
      const run = this.runId(hash, text);
      const id = 1 + Number(this.sql("SELECT max(id) AS id FROM sessions").get()?.id ?? 0);
      this.#writeSession({ id, run, ...session }, "running", null, 0);
      return { id, run, ...session };
    });
  }

  /** The row id of a run, which is inserted if it is new. Call it within a transaction. */
  runId(hash: string, spec: string): number {
    return this.sql("SELECT id FROM runs WHERE hash = ? AND spec = ?").get(hash, spec)?.id as number | undefined ??
      Number(this.sql("INSERT INTO runs(hash, spec) VALUES (?, ?)").run(hash, spec).lastInsertRowid);
  }

  /** Whether a session of this journal began to write a table of labels to this path. */
  hasWritten(out: string): boolean {
    return this.sql("SELECT id FROM sessions WHERE out = ?").get(resolve(out)) !== undefined;
  }

  #writeSession(session: Session, status: string, ended: string | null, done: number): void {
    const { id, run, hash, shard, shards, out, started, listed } = session;
    this.sql(
      "INSERT OR REPLACE INTO sessions(id, run, shard, shards, out, started, ended, status, listed, done, " +
        "checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ).run(
      ...[id, run, shard, shards, out, started, ended, status, listed, done],
      sessionChecksum(hash, { ...session, status, ended, done }),
    );
  }

  /** Stores rows of the submission. */
  addResults({ id, run, hash }: Session, rows: readonly ResultRow[]): void {
    if (rows.length === 0) return;
    const insert = this.sql(
      "INSERT OR REPLACE INTO results(run, name, position, session, sha256, label, verdict, checksum) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.transact(() => {
      for (const { line, position, sha256: hex } of rows) {
        const sha256 = Uint8Array.fromHex(hex), { image: name, label } = line;
        const row = { name, position, session: id, sha256, label, verdict: JSON.stringify(saidOf(line)) };
        insert.run(run, ...Object.values(row), resultChecksum(hash, row));
      }
    });
  }

  /**
   * Ends a session. If it is `done`, rows of earlier sessions, whose images are not in the inputs any more, are
   * deleted.
   */
  end(session: Session, status: "done" | "interrupted" | "failed", done: number): void {
    const { id, run } = session;
    this.transact(() => {
      if (status === "done") this.sql("DELETE FROM results WHERE run = ? AND session <> ?").run(run, id);
      this.#writeSession(session, status, new Date().toISOString(), done);
    });
  }

  /** Closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The settings in a row of `keys`; none if the text is damaged. */
export function settingsIn(text: string): Settings & { readonly measuring?: number } {
  try {
    return JSON.parse(text);
  } catch {
    return {} as Settings;
  }
}
