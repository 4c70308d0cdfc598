/**
 * The journal: measurements by content hash, model set and settings, and the rows of submissions, in one SQLite file.
 * It stores and finds; the pipeline measures, and merge.ts merges the journals of shards.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { FamilyName } from "../../../models/family.ts";
import { type EvidenceLine, isUnreadable, type Settings } from "../../evidence/evidence.ts";
import { classOf, type Measured } from "../image_state.ts";
import { pack, type Packed, packTokens, unpack, unpackTokens } from "./packing.ts";
import { openDatabase, type OpenJournalOptions } from "./schema.ts";
import type { Shard } from "./shards.ts";
import { mergeReusable, reusablePart, type Reuse } from "./reuse.ts";
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
}

/** A row of the submission. */
export interface ResultRow {
  readonly line: EvidenceLine;
  /** Of the image in the whole list, from 0. */
  readonly position: number;
  /** Of its content. */
  readonly sha256: string;
}

type Row = Record<string, unknown>;

/**
 * Version of the measuring code. Raise it when a change of the code changes numbers under the same weights and
 * settings. Evidence of other versions stays in the file and is not used.
 */
export const measuringVersion = 4;

/** An open journal file. */
export class Journal {
  /** Path of the file. */
  readonly path: string;
  /** The database connection. */
  readonly db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
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
  sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) this.#statements.set(text, statement = this.db.prepare(text));
    return statement;
  }

  /** Runs `body` as one transaction. When it throws, nothing of it is in the file. */
  transact<T>(body: () => T): T {
    this.db.exec("BEGIN IMMEDIATE");
    try {
      const result = body();
      this.db.exec("COMMIT");
      return result;
    } catch (error) {
      // After some errors, such as a full disk, SQLite has rolled back already.
      if (this.db.isTransaction) this.db.exec("ROLLBACK");
      throw error;
    }
  }

  /** The evidence under a key, with the reusable parts of evidence under other settings of the same model set. */
  evidence({ modelSet, settings }: JournalKey): EvidenceCache {
    const text = canonicalJson({ ...settings, measuring: measuringVersion });
    const id = this.transact(() => this.keyId(modelSet, text));
    const otherKeys = this.sql("SELECT id, settings FROM keys WHERE model_set = ? AND id <> ? ORDER BY id");
    const reusable = otherKeys.all(modelSet, id).flatMap((row): ReusableKey[] => {
      const { measuring, ...stored } = JSON.parse(row.settings as string) as Settings & { readonly measuring?: number };
      const reuse = measuring === measuringVersion ? reusablePart(stored, settings) : undefined;
      return reuse === undefined ? [] : [{ key: row.id as number, settings: stored, reuse }];
    });
    return new EvidenceCache(this, id, settings, reusable);
  }

  /** The row id of a key, which is inserted if it is new. */
  keyId(modelSet: string, settings: string): number {
    this.sql("INSERT OR IGNORE INTO keys(model_set, settings) VALUES (?, ?)").run(modelSet, settings);
    return this.sql("SELECT id FROM keys WHERE model_set = ? AND settings = ?").get(modelSet, settings)!.id as number;
  }

  /** The row id of a skeleton, which is inserted if it is new. */
  skeletonId(text: string): number {
    let id = this.#skeletonIds.get(text);
    if (id === undefined) {
      this.sql("INSERT OR IGNORE INTO skeletons(text) VALUES (?)").run(text);
      id = this.sql("SELECT id FROM skeletons WHERE text = ?").get(text)!.id as number;
      // A failed transaction removes the row; its error ends the process, and with it this stale entry.
      this.#skeletonIds.set(text, id);
    }
    return id;
  }

  /** The skeleton in a row. Throws if it is missing. */
  skeleton(id: number): string {
    let text = this.#skeletons.get(id);
    if (text === undefined) {
      text = this.sql("SELECT text FROM skeletons WHERE id = ?").get(id)?.text as string | undefined;
      if (text === undefined) throw new Error(`journal ${this.path}: skeleton ${id} is missing`);
      this.#skeletons.set(id, text);
    }
    return text;
  }

  /** Begins a session of a run over `listed` images. With a shard, the session works on the shard's images only. */
  async begin(spec: RunSpec, listed: number, shard: Shard = { index: 1, count: 1 }): Promise<Session> {
    const text = canonicalJson(spec);
    const hash = await sha256Hex(new TextEncoder().encode(text));
    return this.transact(() => {
      const run = this.runId(hash, text);
      const { lastInsertRowid } = this.sql(
        "INSERT INTO sessions(run, shard, shards, started, status, listed) VALUES (?, ?, ?, ?, 'running', ?)",
      ).run(run, shard.index, shard.count, new Date().toISOString(), listed);
      return { id: Number(lastInsertRowid), run };
    });
  }

  /** The row id of a run, which is inserted if it is new. */
  runId(hash: string, spec: string): number {
    this.sql("INSERT OR IGNORE INTO runs(hash, spec) VALUES (?, ?)").run(hash, spec);
    return this.sql("SELECT id FROM runs WHERE hash = ?").get(hash)!.id as number;
  }

  /** Stores rows of the submission. */
  addResults({ id, run }: Session, rows: readonly ResultRow[]): void {
    if (rows.length === 0) return;
    const insert = this.sql(
      "INSERT OR REPLACE INTO results(run, name, position, session, sha256, label, confidence, unsure, error) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.transact(() => {
      for (const { line, position, sha256 } of rows) {
        const [confidence, unsure, error] = isUnreadable(line)
          ? [null, null, JSON.stringify(line.error)]
          : [line.confidence, Number(line.unsure), null];
        insert.run(run, line.image, position, id, Uint8Array.fromHex(sha256), line.label, confidence, unsure, error);
      }
    });
  }

  /**
   * Ends a session. If it is `done`, rows of earlier sessions, whose images are not in the inputs any more, are
   * deleted.
   */
  end({ id, run }: Session, status: "done" | "interrupted" | "failed", done: number): void {
    this.transact(() => {
      if (status === "done") this.sql("DELETE FROM results WHERE run = ? AND session <> ?").run(run, id);
      this.sql("UPDATE sessions SET status = ?, ended = ?, done = ? WHERE id = ?")
        .run(status, new Date().toISOString(), done, id);
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

/** A key under which parts of the evidence can be reused. */
interface ReusableKey {
  readonly key: number;
  readonly settings: Settings;
  readonly reuse: Reuse;
}

/**
 * The evidence under one key. Parts of an image's evidence are stored as soon as they are measured, and gathered into
 * one row once it is complete (`settle`).
 */
export class EvidenceCache {
  readonly #journal: Journal;
  readonly #key: number;
  readonly #settings: Settings;
  readonly #reusable: readonly ReusableKey[];
  /** By image: the parts that are stored separately. */
  readonly #stored = new Map<string, Set<string>>();
  /** Under the condition `given`, by image: the class under which its stored parts were measured. */
  readonly #classOf = new Map<string, number | undefined>();

  constructor(journal: Journal, key: number, settings: Settings, reusable: readonly ReusableKey[]) {
    this.#journal = journal;
    this.#key = key;
    this.#settings = settings;
    this.#reusable = reusable;
  }

  /** Finds the evidence of an image by its content hash. Without any, counts an attempt to measure it. */
  recall(sha256: string): Measured | undefined {
    const known = this.find(sha256);
    if (known === undefined) {
      this.#journal.sql(
        "INSERT INTO attempts VALUES (?, ?, 1) ON CONFLICT(key, sha256) DO UPDATE SET begun = begun + 1",
      ).run(this.#key, Uint8Array.fromHex(sha256));
    }
    return known;
  }

  /** Finds the evidence of an image by its content hash, with reusable parts from other keys. */
  find(sha256: string): Measured | undefined {
    let known = this.#readThisKey(sha256);
    for (const { key, settings, reuse } of this.#reusable) {
      const other = this.#read(key, sha256).measured;
      if (other === undefined) continue;
      known = mergeReusable(known, other, reuse, { stored: settings, wanted: this.#settings });
    }
    return known;
  }

  /** The evidence of an image under this key alone. Notes in #stored which parts are stored separately. */
  #readThisKey(sha256: string): Measured | undefined {
    const { measured, parts } = this.#read(this.#key, sha256);
    if (parts.length === 0) return measured;
    const stored = this.#storedOf(sha256);
    for (const part of parts) stored.add(part);
    if (this.#isClassGiven) this.#classOf.set(sha256, classOf(measured!));
    return measured;
  }

  /** The evidence of an image under a key, and the names of the parts that are stored separately. */
  #read(key: number, sha256: string): { measured: Measured | undefined; parts: readonly string[] } {
    const hash = Uint8Array.fromHex(sha256);
    const row = this.#journal.sql("SELECT * FROM evidence WHERE sha256 = ? AND key = ?").get(hash, key);
    let measured = row === undefined ? undefined : this.#complete(sha256, row);
    const parts = this.#journal.sql("SELECT part, skeleton, numbers FROM pending WHERE key = ? AND sha256 = ?")
      .all(key, hash) as Row[];
    if (parts.length === 0) return { measured, parts: [] };
    measured ??= { sha256, width: 0, height: 0, variants: {}, timings: { read: 0, families: 0, variants: 0 } };
    for (const row of parts) {
      const [kind, name] = (row.part as string).split(".");
      if (kind === "tokens") {
        measured.tokens = this.#tokens(row.numbers as Uint8Array, row.skeleton as number);
        continue;
      }
      // deno-lint-ignore no-explicit-any -- remember() wrote it, with these types
      const value = unpack(this.#packed(row)) as any;
      if (kind === "families") Object.assign(measured, value);
      else if (kind === "classes") measured.classes = { ...measured.classes, [name]: value };
      else if (kind === "variants") measured.variants[name] = value;
      else if (kind === "timings") measured.timings = value;
    }
    return { measured, parts: parts.map(({ part }) => part as string) };
  }

  get #isClassGiven(): boolean {
    return this.#settings.condition === "given";
  }

  /** Stores the measurements of a pass as separate parts, in one transaction. */
  remember(measured: readonly Measured[]): void {
    const insert = this.#journal.sql("INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?)");
    const insertRow = (item: Measured, part: string, skeleton: string, numbers: Uint8Array) =>
      insert.run(this.#key, Uint8Array.fromHex(item.sha256), part, this.#journal.skeletonId(skeleton), numbers);
    this.#journal.transact(() => {
      for (const item of measured) {
        if (this.#isClassGiven) this.#dropOtherClass(item);
        const stored = this.#storedOf(item.sha256);
        const add = (part: string, value: unknown) => {
          if (stored.has(part)) return;
          stored.add(part);
          const { skeleton, numbers } = pack(value);
          insertRow(item, part, skeleton, numbers);
        };
        const { width, height, families, tokens, classes = {}, variants, timings } = item;
        if (tokens !== undefined && !stored.has("tokens")) {
          stored.add("tokens");
          const { counts, ids } = joinTokens(tokens);
          insertRow(item, "tokens", counts, ids);
        }
        add("families", { width, height, families });
        for (const [name, value] of Object.entries(classes)) add(`classes.${name}`, value);
        for (const [name, value] of Object.entries(variants)) add(`variants.${name}`, value);
        stored.delete("timings");
        add("timings", timings);
      }
    });
  }

  /** Deletes the stored parts of an image that were measured under another class than `item`. */
  #dropOtherClass(item: Measured): void {
    const stored = this.#storedOf(item.sha256);
    const itemClass = classOf(item);
    if (stored.size > 0 && this.#classOf.get(item.sha256) !== itemClass) {
      this.#journal.sql("DELETE FROM pending WHERE key = ? AND sha256 = ?")
        .run(this.#key, Uint8Array.fromHex(item.sha256));
      stored.clear();
    }
    this.#classOf.set(item.sha256, itemClass);
  }

  /** Number of images with parts that are stored separately. */
  get unsettled(): number {
    return this.#stored.size;
  }

  /** Gathers the parts of images into one row each. Call it for images whose evidence is complete. */
  settle(hashes: readonly string[]): void {
    const open = hashes.filter((sha256) => this.#stored.has(sha256));
    if (open.length === 0) return;
    const sql = (text: string) => this.#journal.sql(text);
    this.#journal.transact(() => {
      for (const sha256 of new Set(open)) {
        const measured = this.#readThisKey(sha256);
        if (measured?.families === undefined) continue;
        const hash = Uint8Array.fromHex(sha256);
        const begun = sql("SELECT begun FROM attempts WHERE key = ? AND sha256 = ?").get(this.#key, hash)?.begun ?? 1;
        this.insert(measured, begun as number);
        sql("DELETE FROM pending WHERE key = ? AND sha256 = ?").run(this.#key, hash);
        sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(this.#key, hash);
      }
    });
    for (const sha256 of open) {
      this.#stored.delete(sha256);
      this.#classOf.delete(sha256);
    }
  }

  /** Deletes the count of attempts at an image, which turned out to be unreadable. */
  giveUp(sha256: string): void {
    this.#journal.sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(this.#key, Uint8Array.fromHex(sha256));
  }

  /** Writes complete evidence. Call it within a transaction. */
  insert({ sha256, tokens, ...rest }: Measured, attempts = 1): void {
    const { width, height, families, classes, variants, timings } = rest;
    const { skeleton, numbers } = pack({ width, height, families, classes, variants, timings });
    const joined = tokens === undefined ? null : joinTokens(tokens);
    this.#journal.sql(
      "INSERT INTO evidence(key, sha256, skeleton, numbers, tokens, token_counts, attempts) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?) " +
        "ON CONFLICT(sha256, key) DO UPDATE SET skeleton = excluded.skeleton, numbers = excluded.numbers, " +
        "tokens = coalesce(excluded.tokens, tokens), token_counts = coalesce(excluded.token_counts, token_counts)",
    ).run(
      ...[this.#key, Uint8Array.fromHex(sha256), this.#journal.skeletonId(skeleton), numbers],
      ...[joined && joined.ids, joined && this.#journal.skeletonId(joined.counts), attempts],
    );
  }

  #complete(sha256: string, row: Row): Measured {
    const value = unpack(this.#packed(row)) as Omit<Measured, "sha256" | "tokens">;
    if (row.tokens === null) return { sha256, ...value };
    return { sha256, ...value, tokens: this.#tokens(row.tokens as Uint8Array, row.token_counts as number) };
  }

  /** Tokens by family, from the ids of all families and the row id of their counts. */
  #tokens(ids: Uint8Array, counts: number): Record<FamilyName, Int32Array> {
    const all = unpackTokens(ids);
    let at = 0;
    const numbers = Object.entries(JSON.parse(this.#journal.skeleton(counts)) as Record<FamilyName, number>);
    return Object.fromEntries(numbers.map(([family, n]) => [family, all.slice(at, at += n)]));
  }

  #packed(row: Row): Packed {
    return { skeleton: this.#journal.skeleton(row.skeleton as number), numbers: row.numbers as Uint8Array };
  }

  #storedOf(sha256: string): Set<string> {
    let stored = this.#stored.get(sha256);
    if (stored === undefined) this.#stored.set(sha256, stored = new Set());
    return stored;
  }
}

/** The tokens of all families one after the other, and the number of tokens of each as JSON. */
function joinTokens(tokens: Record<FamilyName, Int32Array>): { ids: Uint8Array; counts: string } {
  const parts = Object.entries(tokens);
  const all = Int32Array.from(parts.flatMap(([, ids]) => [...ids]));
  const counts = JSON.stringify(Object.fromEntries(parts.map(([family, ids]) => [family, ids.length])));
  return { ids: packTokens(all), counts };
}
