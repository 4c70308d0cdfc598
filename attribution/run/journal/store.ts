/**
 * The journal: what was measured, by content hash, model set and settings, in one SQLite file that every commit leaves
 * whole. It stores and finds; what to measure is the pipeline's business, and files of shards are joined in merge.ts.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { FamilyName } from "../../../models/family.ts";
import { type EvidenceLine, isUnreadable, type Settings } from "../../evidence/evidence.ts";
import { classOf, type Measured } from "../image_state.ts";
import { pack, type Packed, packTokens, unpack, unpackTokens } from "./packing.ts";
import { openDatabase, type OpenJournalOptions } from "./schema.ts";
import type { Shard } from "./shards.ts";
import { mergeReusable, reusablePart, type Use } from "./reuse.ts";
import { canonicalJson } from "../../../util/json.ts";
import { sha256Hex } from "../../../util/hash.ts";

/** What evidence must agree on to be used again. */
export interface JournalKey {
  readonly modelSet: string;
  readonly settings: Settings;
}

/** What the rows of a submission depend on beside the evidence. Anything that is JSON. */
export type RunSpec = Readonly<Record<string, unknown>>;

/** A process's work on a run. */
export interface Session {
  readonly id: number;
  readonly run: number;
}

/** A row of the submission: the verdict, the image's place in the list, and the hash of its content. */
export interface ResultRow {
  readonly line: EvidenceLine;
  readonly position: number;
  readonly sha256: string;
}

type Row = Record<string, unknown>;

/**
 * Version of how images are measured: to be raised by whoever changes numbers that weights and settings do not tell apart.
 * Evidence of another version stays in the file and is not used.
 */
export const measuringVersion = 4;

export class Journal {
  readonly path: string;
  readonly db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #skeletonIds = new Map<string, number>();
  readonly #skeletons = new Map<number, string>();
  #closed = false;

  private constructor(path: string, db: DatabaseSync) {
    this.path = path;
    this.db = db;
  }

  /** Opens or creates a journal file. Throws, naming it, when it cannot be used. */
  static open(path: string, options: OpenJournalOptions = {}): Journal {
    return new Journal(path, openDatabase(path, options));
  }

  /** A prepared statement, kept. */
  sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) this.#statements.set(text, statement = this.db.prepare(text));
    return statement;
  }

  /** Runs `body` as one transaction: all of it is in the file afterwards, or nothing. */
  transact<T>(body: () => T): T {
    this.db.exec("BEGIN IMMEDIATE");
    try {
      const result = body();
      this.db.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite has rolled back by itself on some errors, such as a full disk.
      if (this.db.isTransaction) this.db.exec("ROLLBACK");
      throw error;
    }
  }

  /** The evidence under one key, with what that under other settings of the same weights has to add. */
  evidence({ modelSet, settings }: JournalKey): EvidenceCache {
    const text = canonicalJson({ ...settings, measuring: measuringVersion });
    const id = this.transact(() => this.keyId(modelSet, text));
    const others = this.sql("SELECT id, settings FROM keys WHERE model_set = ? AND id <> ? ORDER BY id").all(
      modelSet,
      id,
    );
    const lenders = others.flatMap((row): Lender[] => {
      const { measuring, ...theirs } = JSON.parse(row.settings as string) as Settings & { readonly measuring?: number };
      const use = measuring === measuringVersion ? reusablePart(theirs, settings) : undefined;
      return use === undefined ? [] : [{ key: row.id as number, settings: theirs, use }];
    });
    return new EvidenceCache(this, id, settings, lenders);
  }

  keyId(modelSet: string, settings: string): number {
    this.sql("INSERT OR IGNORE INTO keys(model_set, settings) VALUES (?, ?)").run(modelSet, settings);
    return this.sql("SELECT id FROM keys WHERE model_set = ? AND settings = ?").get(modelSet, settings)!.id as number;
  }

  skeletonId(text: string): number {
    let id = this.#skeletonIds.get(text);
    if (id === undefined) {
      this.sql("INSERT OR IGNORE INTO skeletons(text) VALUES (?)").run(text);
      id = this.sql("SELECT id FROM skeletons WHERE text = ?").get(text)!.id as number;
      // A transaction that fails takes the row with it, and the process ends: nothing is left behind here.
      this.#skeletonIds.set(text, id);
    }
    return id;
  }

  skeleton(id: number): string {
    let text = this.#skeletons.get(id);
    if (text === undefined) {
      text = this.sql("SELECT text FROM skeletons WHERE id = ?").get(id)?.text as string | undefined;
      if (text === undefined) throw new Error(`journal ${this.path}: skeleton ${id} is missing`);
      this.#skeletons.set(id, text);
    }
    return text;
  }

  /** Begins a session of a run, over `listed` images of which the shard's are worked on. */
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

  runId(hash: string, spec: string): number {
    this.sql("INSERT OR IGNORE INTO runs(hash, spec) VALUES (?, ?)").run(hash, spec);
    return this.sql("SELECT id FROM runs WHERE hash = ?").get(hash)!.id as number;
  }

  /** Keeps rows of the submission. */
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

  /** Ends a session. One that is done drops the rows of images that are not there any more. */
  end({ id, run }: Session, status: "done" | "interrupted" | "failed", done: number): void {
    this.transact(() => {
      if (status === "done") this.sql("DELETE FROM results WHERE run = ? AND session <> ?").run(run, id);
      this.sql("UPDATE sessions SET status = ?, ended = ?, done = ? WHERE id = ?")
        .run(status, new Date().toISOString(), done, id);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Evidence under other settings that serves these, too. */
interface Lender {
  readonly key: number;
  readonly settings: Settings;
  readonly use: Use;
}

/** Evidence of one model set under one group of settings: the pipeline's `recall` and `remember`. */
export class EvidenceCache {
  readonly #journal: Journal;
  readonly #key: number;
  readonly #settings: Settings;
  readonly #lenders: readonly Lender[];
  /** Parts that are stored of images in work. */
  readonly #stored = new Map<string, Set<string>>();
  /** Where the user says classes: the one that the stored parts of an image are of. */
  readonly #classOf = new Map<string, number | undefined>();

  constructor(journal: Journal, key: number, settings: Settings, lenders: readonly Lender[]) {
    this.#journal = journal;
    this.#key = key;
    this.#settings = settings;
    this.#lenders = lenders;
  }

  /**
   * What is known of an image with this content. Where that is nothing, work on it begins now, and is counted.
   */
  recall(sha256: string): Measured | undefined {
    const found = this.find(sha256);
    if (found === undefined) {
      this.#journal.sql(
        "INSERT INTO attempts VALUES (?, ?, 1) ON CONFLICT(key, sha256) DO UPDATE SET begun = begun + 1",
      ).run(this.#key, Uint8Array.fromHex(sha256));
    }
    return found;
  }

  /** What is known of an image with this content, under these settings or under others that serve. */
  find(sha256: string): Measured | undefined {
    let found = this.#own(sha256);
    for (const { key, settings, use } of this.#lenders) {
      const theirs = this.#read(key, sha256).found;
      if (theirs === undefined) continue;
      found = mergeReusable(found, theirs, use, { theirs: settings, wanted: this.#settings });
    }
    return found;
  }

  /** What was measured under these settings, and in #stored which parts of it are still by themselves. */
  #own(sha256: string): Measured | undefined {
    const { found, parts } = this.#read(this.#key, sha256);
    if (parts.length === 0) return found;
    const stored = this.#storedOf(sha256);
    for (const part of parts) stored.add(part);
    if (this.#given) this.#classOf.set(sha256, classOf(found!));
    return found;
  }

  /** The row of an image under a key, with the parts that are not in it yet. */
  #read(key: number, sha256: string): { found: Measured | undefined; parts: readonly string[] } {
    const hash = Uint8Array.fromHex(sha256);
    const row = this.#journal.sql("SELECT * FROM evidence WHERE sha256 = ? AND key = ?").get(hash, key);
    let found = row === undefined ? undefined : this.#complete(sha256, row);
    const parts = this.#journal.sql("SELECT part, skeleton, numbers FROM pending WHERE key = ? AND sha256 = ?")
      .all(key, hash) as Row[];
    if (parts.length === 0) return { found, parts: [] };
    found ??= { sha256, width: 0, height: 0, variants: {}, timings: { read: 0, families: 0, variants: 0 } };
    for (const row of parts) {
      const [kind, name] = (row.part as string).split(".");
      if (kind === "tokens") {
        found.tokens = this.#tokens(row.numbers as Uint8Array, row.skeleton as number);
        continue;
      }
      // deno-lint-ignore no-explicit-any -- written by remember() below, of the same types
      const value = unpack(this.#packed(row)) as any;
      if (kind === "families") Object.assign(found, value);
      else if (kind === "classes") found.classes = { ...found.classes, [name]: value };
      else if (kind === "variants") found.variants[name] = value;
      else if (kind === "timings") found.timings = value;
    }
    return { found, parts: parts.map(({ part }) => part as string) };
  }

  get #given(): boolean {
    return this.#settings.condition === "given";
  }

  /** Keeps what a pass has measured, in one transaction; complete evidence moves into its row when it is settled. */
  remember(measured: readonly Measured[]): void {
    const insert = this.#journal.sql("INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?)");
    this.#journal.transact(() => {
      for (const item of measured) {
        const hash = Uint8Array.fromHex(item.sha256);
        const stored = this.#storedOf(item.sha256);
        if (this.#given) {
          const own = classOf(item);
          if (stored.size > 0 && this.#classOf.get(item.sha256) !== own) {
            this.#journal.sql("DELETE FROM pending WHERE key = ? AND sha256 = ?").run(this.#key, hash);
            stored.clear();
          }
          this.#classOf.set(item.sha256, own);
        }
        const keep = (part: string, { skeleton, numbers }: Packed) => {
          if (stored.has(part)) return;
          stored.add(part);
          insert.run(this.#key, hash, part, this.#journal.skeletonId(skeleton), numbers);
        };
        const { width, height, families, tokens, classes = {}, variants, timings } = item;
        if (tokens !== undefined && !stored.has("tokens")) {
          stored.add("tokens");
          const { counts, ids } = joinTokens(tokens);
          insert.run(this.#key, hash, "tokens", this.#journal.skeletonId(counts), ids);
        }
        if (!stored.has("families")) keep("families", pack({ width, height, families }));
        for (const [name, value] of Object.entries(classes)) {
          if (!stored.has(`classes.${name}`)) keep(`classes.${name}`, pack(value));
        }
        for (const [name, value] of Object.entries(variants)) {
          if (!stored.has(`variants.${name}`)) keep(`variants.${name}`, pack(value));
        }
        stored.delete("timings");
        keep("timings", pack(timings));
      }
    });
  }

  /** Number of images that have parts to gather. */
  get unsettled(): number {
    return this.#stored.size;
  }

  /** Gathers the parts of images that are complete into one row each. */
  settle(hashes: readonly string[]): void {
    const open = hashes.filter((sha256) => this.#stored.has(sha256));
    if (open.length === 0) return;
    const sql = (text: string) => this.#journal.sql(text);
    this.#journal.transact(() => {
      for (const sha256 of new Set(open)) {
        const found = this.#own(sha256);
        if (found?.families === undefined) continue;
        const hash = Uint8Array.fromHex(sha256);
        const begun = sql("SELECT begun FROM attempts WHERE key = ? AND sha256 = ?").get(this.#key, hash)?.begun ?? 1;
        this.insert(found, begun as number);
        sql("DELETE FROM pending WHERE key = ? AND sha256 = ?").run(this.#key, hash);
        sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(this.#key, hash);
      }
    });
    for (const sha256 of open) {
      this.#stored.delete(sha256);
      this.#classOf.delete(sha256);
    }
  }

  /** Forgets that work on an image began: it turned out to be none. */
  giveUp(sha256: string): void {
    this.#journal.sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(this.#key, Uint8Array.fromHex(sha256));
  }

  /** Writes complete evidence, within a transaction of the caller's. */
  insert({ sha256, tokens, ...rest }: Measured, attempts = 1): void {
    const { width, height, families, classes, variants, timings } = rest;
    const { skeleton, numbers } = pack({ width, height, families, classes, variants, timings });
    const joined = tokens === undefined ? null : joinTokens(tokens);
    this.#journal.sql(
      "INSERT INTO evidence(key, sha256, skeleton, numbers, tokens, token_counts, attempts) VALUES (?, ?, ?, ?, ?, ?, ?) " +
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

  /** Tokens by family, from the ids of all of them and the row that says how many each has. */
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

/** The tokens of all families one after the other, and as JSON how many each has. */
function joinTokens(tokens: Record<FamilyName, Int32Array>): { ids: Uint8Array; counts: string } {
  const parts = Object.entries(tokens);
  const all = Int32Array.from(parts.flatMap(([, ids]) => [...ids]));
  const counts = JSON.stringify(Object.fromEntries(parts.map(([family, ids]) => [family, ids.length])));
  return { ids: packTokens(all), counts };
}
