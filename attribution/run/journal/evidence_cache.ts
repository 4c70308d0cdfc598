/**
 * The evidence of images under one key of a journal: stores parts as they are measured, finds them by content, and
 * notices what is damaged. store.ts opens the journal.
 */
import type { Settings } from "../../evidence/evidence.ts";
import { classOf, type Measured, posedHash } from "../image_state.ts";
import { joinTokens, pack, type Packed, splitTokens, unpack } from "./packing.ts";
import { mergeReusable, type Reuse } from "./reuse.ts";
import {
  evidenceChecksums,
  type KeyTexts,
  packEvidence,
  partChecksum,
  readEvidence,
  readPart,
  type Row,
} from "./rows.ts";
import { JournalError, type Statement } from "./statement.ts";

/** What the cache needs of a journal (store.ts). */
export interface EvidenceTables {
  /** Hashes of images of which a row did not match its checksum when it was read. */
  readonly damaged: Set<string>;
  sql(text: string): Statement;
  transact<T>(body: () => T): T;
  skeletonId(text: string): number;
  skeleton(id: unknown): string | undefined;
}

/** Parts of which there is one per family, variant or level: what they are called, and where measurements have them. */
const namedParts = [
  ["classes", "classes"],
  ["starts", "starts"],
  ["variants", "variants"],
  ["found", "found"],
  ["search", "searches"],
] as const;

/** A key as stored. */
export interface StoredKey {
  readonly id: number;
  readonly texts: KeyTexts;
}

/** A key under which parts of the evidence can be reused. */
export interface ReusableKey {
  readonly key: StoredKey;
  readonly settings: Settings;
  readonly reuse: Reuse;
}

/**
 * The evidence under one key. Parts of an image's evidence are stored as soon as they are measured, and gathered into
 * one row once it is complete (`settle`).
 */
export class EvidenceCache {
  readonly #journal: EvidenceTables;
  readonly #key: StoredKey;
  readonly #settings: Settings;
  readonly #reusable: readonly ReusableKey[];
  /** Rows that were found to be damaged and are still in the file. */
  readonly #damaged: { table: "evidence" | "pending"; key: number; sha256: string }[] = [];
  /** By image: the parts that are stored separately. */
  readonly #stored = new Map<string, Set<string>>();
  /** Under the condition `given`, by image: the class under which its stored parts were measured. */
  readonly #classOf = new Map<string, number | undefined>();

  constructor(journal: EvidenceTables, key: StoredKey, settings: Settings, reusable: readonly ReusableKey[]) {
    this.#journal = journal;
    this.#key = key;
    this.#settings = settings;
    this.#reusable = reusable;
  }

  /** Finds the evidence of an image by its content hash, and deletes what is damaged of it. */
  recall(sha256: string): Measured | undefined {
    const known = this.find(sha256);
    this.#deleteDamaged();
    return known;
  }

  /** Whether there is no complete evidence that could be recalled. */
  isEmpty(): boolean {
    const keys = this.#wholeKeys();
    const found = this.#journal.sql("SELECT 1 FROM evidence WHERE key = ? LIMIT 1");
    return keys.every((key) => found.get(key) === undefined);
  }

  /** Whether there is a row of complete evidence of an image. The row is not read. */
  isComplete(sha256: string): boolean {
    const hash = Uint8Array.fromHex(sha256);
    const found = this.#journal.sql("SELECT 1 FROM evidence WHERE key = ? AND sha256 = ?");
    return this.#wholeKeys().some((key) => found.get(key, hash) !== undefined);
  }

  /** Ids of the keys under which all parts that are wanted can be reused. */
  #wholeKeys(): number[] {
    const isScored = this.#settings.summaries !== undefined;
    const others = this.#reusable.filter(({ reuse }) => reuse.families && (reuse.variants || !isScored));
    return [this.#key.id, ...others.map(({ key }) => key.id)];
  }

  /** Counts an attempt to measure an image. */
  begin(sha256: string): void {
    this.#journal.sql(
      "INSERT INTO attempts VALUES (?, ?, 1) ON CONFLICT(key, sha256) DO UPDATE SET begun = begun + 1",
    ).run(this.#key.id, Uint8Array.fromHex(sha256));
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

  /**
   * The evidence of an image under a key, and the names of the parts that are stored separately. Parts are damaged if
   * one does not match its checksum or is missing. None is used then: those measured later may depend on it.
   */
  #read(key: StoredKey, sha256: string): { measured: Measured | undefined; parts: readonly string[] } {
    const hash = Uint8Array.fromHex(sha256);
    // Parts first: another process may gather them into a row at any time.
    const rows = this.#rows("SELECT * FROM pending WHERE key = ? AND sha256 = ?", key.id, hash);
    const row = this.#rows("SELECT * FROM evidence WHERE key = ? AND sha256 = ?", key.id, hash)[0];
    const complete = row && this.#complete(key, sha256, row);
    if (row !== undefined && complete === undefined) this.#noteDamage("evidence", key, sha256);
    if (rows.length === 0) return { measured: complete, parts: [] };
    const parts = rows.map((row) => [row.part as string, readPart(this.#skeletonOf, key.texts, hash, row)] as const);
    const measured: Measured = complete ??
      { sha256, width: 0, height: 0, variants: {}, timings: { read: 0, families: 0, variants: 0 } };
    const listed = parts.every(([, packed]) => packed !== undefined)
      ? addParts(measured, parts as [string, Packed][])
      : undefined;
    if (listed === undefined || !listed.every((part) => hasPart(measured, part))) {
      this.#noteDamage("pending", key, sha256);
      return { measured: row && this.#complete(key, sha256, row), parts: [] };
    }
    return { measured, parts: parts.map(([part]) => part) };
  }

  #noteDamage(table: "evidence" | "pending", { id }: StoredKey, sha256: string): void {
    this.#journal.damaged.add(sha256);
    this.#damaged.push({ table, key: id, sha256 });
  }

  /** Deletes the rows that were found to be damaged. */
  #deleteDamaged(): void {
    for (const { table, key, sha256 } of this.#damaged.splice(0)) {
      this.#journal.sql(`DELETE FROM ${table} WHERE key = ? AND sha256 = ?`).run(key, Uint8Array.fromHex(sha256));
    }
  }

  /** Rows of an image. A damaged number may be too large for JavaScript; then the row is one without checksum. */
  #rows(text: string, key: number, sha256: Uint8Array): readonly Row[] {
    try {
      return this.#journal.sql(text).all(key, sha256);
    } catch (error) {
      if (error instanceof JournalError && /too large/.test(error.message)) return [{}];
      throw error;
    }
  }

  #complete({ texts }: StoredKey, sha256: string, row: Row): Measured | undefined {
    const stored = readEvidence(this.#skeletonOf, texts, Uint8Array.fromHex(sha256), row);
    if (stored === undefined) return undefined;
    const value = unpack(stored.packed) as Omit<Measured, "sha256" | "tokens">;
    const { tokens } = stored;
    return { sha256, ...value, ...tokens !== undefined && { tokens: splitTokens(tokens.ids, tokens.counts) } };
  }

  get #isClassGiven(): boolean {
    return this.#settings.condition === "given";
  }

  /** Stores the measurements of a pass as separate parts, in one transaction. */
  remember(measured: readonly Measured[]): void {
    const insert = this.#journal.sql("INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?, ?)");
    const { id, texts } = this.#key;
    const insertRow = (item: Measured, part: string, packed: Packed) => {
      const sha256 = Uint8Array.fromHex(item.sha256), { skeleton, numbers } = packed;
      const checksum = partChecksum(texts, sha256, part, packed);
      insert.run(id, sha256, part, this.#journal.skeletonId(skeleton), numbers, checksum);
    };
    this.#journal.transact(() => {
      for (const item of measured) {
        if (this.#isClassGiven) this.#dropOtherClass(item);
        const stored = this.#storedOf(item.sha256);
        const add = (part: string, value: unknown) => {
          if (stored.has(part)) return;
          stored.add(part);
          insertRow(item, part, pack(value));
        };
        const addTokens = (part: string, tokens: Readonly<Record<string, Int32Array>> | undefined) => {
          if (tokens === undefined || stored.has(part)) return;
          stored.add(part);
          const { counts, ids } = joinTokens(tokens);
          insertRow(item, part, { skeleton: counts, numbers: ids });
        };
        const { width, height, notes, facts, families, tokens, timings } = item;
        addTokens("tokens", tokens);
        if (families !== undefined) add("families", { width, height, notes, facts, families });
        for (const [name, { signals, tokens }] of Object.entries(item.partial ?? {})) {
          add(`signals.${name}`, signals);
          addTokens(`ids.${name}`, { [name]: tokens });
        }
        for (const [kind, name] of namedParts) {
          for (const [key, value] of Object.entries(item[name] ?? {})) add(`${kind}.${key}`, value);
        }
        stored.delete("timings");
        add("timings", { timings, parts: [...stored].sort() });
      }
    });
  }

  /** Deletes the stored parts of an image that were measured under another class than `item`. */
  #dropOtherClass(item: Measured): void {
    const stored = this.#storedOf(item.sha256);
    const itemClass = classOf(item);
    if (stored.size > 0 && this.#classOf.get(item.sha256) !== itemClass) {
      this.#journal.sql("DELETE FROM pending WHERE key = ? AND sha256 = ?")
        .run(this.#key.id, Uint8Array.fromHex(item.sha256));
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
        const begun = sql("SELECT begun FROM attempts WHERE key = ? AND sha256 = ?").get(this.#key.id, hash)?.begun ??
          1;
        this.insert(measured, begun as number);
        for (const settled of [sha256, ...posesOf(measured)]) {
          sql("DELETE FROM pending WHERE key = ? AND sha256 = ?").run(this.#key.id, Uint8Array.fromHex(settled));
          if (settled !== sha256) this.#stored.delete(settled);
        }
        sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(this.#key.id, hash);
      }
    });
    for (const sha256 of open) {
      this.#stored.delete(sha256);
      this.#classOf.delete(sha256);
    }
  }

  /** Deletes the count of attempts at an image, which turned out to be unreadable. */
  giveUp(sha256: string): void {
    this.#journal.sql("DELETE FROM attempts WHERE key = ? AND sha256 = ?").run(
      this.#key.id,
      Uint8Array.fromHex(sha256),
    );
  }

  /** Writes complete evidence. Call it within a transaction. */
  insert({ sha256, tokens, ...rest }: Measured, attempts = 1): void {
    const { width, height, notes, facts, families, classes, variants, searches, timings } = rest;
    const stored = packEvidence(
      { width, height, notes, facts, families, classes, variants, searches, timings },
      tokens,
    );
    const { skeleton, numbers } = stored.packed, hash = Uint8Array.fromHex(sha256);
    const checksums = evidenceChecksums(this.#key.texts, hash, stored);
    this.#journal.sql(
      "INSERT INTO evidence(key, sha256, skeleton, numbers, checksum, tokens, token_counts, tokens_checksum, attempts) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) " +
        "ON CONFLICT(sha256, key) DO UPDATE SET sha256 = excluded.sha256, key = excluded.key, " +
        "skeleton = excluded.skeleton, numbers = excluded.numbers, checksum = excluded.checksum, " +
        "tokens = excluded.tokens, token_counts = excluded.token_counts, tokens_checksum = excluded.tokens_checksum",
    ).run(
      ...[this.#key.id, hash, this.#journal.skeletonId(skeleton), numbers, checksums.numbers],
      ...stored.tokens === undefined
        ? [null, null]
        : [stored.tokens.ids, this.#journal.skeletonId(stored.tokens.counts)],
      ...[checksums.tokens, attempts],
    );
  }

  readonly #skeletonOf = (id: unknown): string | undefined => this.#journal.skeleton(id);

  #storedOf(sha256: string): Set<string> {
    let stored = this.#stored.get(sha256);
    if (stored === undefined) this.#stored.set(sha256, stored = new Set());
    return stored;
  }
}

/** What stands for an image in the poses that were found, which are measured for it. */
function posesOf({ sha256, found = {} }: Measured): string[] {
  return Object.values(found).flatMap(({ poses }) => poses.map((pose) => posedHash(sha256, pose)));
}

/**
 * Adds parts that are stored separately to the measurements of an image. Returns the names of all parts that were
 * stored, undefined if the list of them is missing.
 */
function addParts(measured: Measured, parts: readonly (readonly [string, Packed])[]): readonly string[] | undefined {
  let listed: readonly string[] | undefined;
  // deno-lint-ignore no-explicit-any -- remember() wrote them, with the types of their places
  const partial: Record<string, any> = {};
  for (const [part, packed] of parts) {
    const [kind, name] = part.split(".");
    if (kind === "tokens") measured.tokens = splitTokens(packed.numbers, packed.skeleton);
    if (kind === "ids") {
      partial[name] = { ...partial[name], tokens: splitTokens(packed.numbers, packed.skeleton)[name] };
    }
    if (kind === "tokens" || kind === "ids") continue;
    // deno-lint-ignore no-explicit-any -- as above
    const value = unpack(packed) as any;
    const place = namedParts.find(([named]) => named === kind)?.[1];
    if (place !== undefined) Object.assign(measured, { [place]: { ...measured[place], [name]: value } });
    else if (kind === "families") Object.assign(measured, value);
    else if (kind === "signals") partial[name] = { ...partial[name], signals: value };
    else if (kind === "timings") ({ timings: measured.timings, parts: listed } = value);
  }
  const whole = Object.entries(partial).filter(([, { signals, tokens }]) => signals && tokens);
  if (measured.families === undefined && whole.length > 0) measured.partial = Object.fromEntries(whole);
  return listed;
}

/** Kinds of parts without which measuring goes on: they are found again. */
const dispensable = ["tokens", "ids", "signals", "starts", "found"];

/** Whether measurements have a part that was stored. */
function hasPart(measured: Measured, part: string): boolean {
  const [kind, name] = part.split(".");
  if (kind === "families") return measured.families !== undefined;
  const place = namedParts.find(([named]) => named === kind)?.[1];
  return dispensable.includes(kind) || (place !== undefined && name in (measured[place] ?? {}));
}
