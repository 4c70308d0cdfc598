/** Rows of evidence as the journal's tables have them: written with checksums, and checked when they are read. */
import { checksum, matches, type Value } from "./checksum.ts";
import { joinTokens, pack, type Packed } from "./packing.ts";

/** A row of a table. */
export type Row = Readonly<Record<string, unknown>>;

/** The texts of a key: hash of the model set, and settings as JSON. Checksums of rows under the key cover them. */
export type KeyTexts = readonly [modelSet: string, settings: string];

/** The text of a skeleton by its row id; undefined if there is none. */
export type SkeletonOf = (id: unknown) => string | undefined;

/** Complete evidence of an image as stored: everything but the tokens, and these as `joinTokens` returns them. */
export interface StoredEvidence {
  readonly packed: Packed;
  readonly tokens?: { readonly ids: Uint8Array; readonly counts: string };
}

/** Packs evidence for a row. */
export function packEvidence(value: unknown, tokens: Readonly<Record<string, Int32Array>> | undefined): StoredEvidence {
  return { packed: pack(value), ...tokens !== undefined && { tokens: joinTokens(tokens) } };
}

/** Checksums of the columns with numbers and with tokens. `sha256` is the hash of the image. */
export function evidenceChecksums(
  key: KeyTexts,
  sha256: Uint8Array,
  { packed: { skeleton, numbers }, tokens }: StoredEvidence,
): { numbers: Uint8Array; tokens: Uint8Array | null } {
  return {
    numbers: checksum(...key, sha256, "evidence", skeleton, numbers),
    tokens: tokens === undefined ? null : checksum(...key, sha256, "tokens", tokens.counts, tokens.ids),
  };
}

/** The evidence in a row of `evidence`; undefined if the row does not match its checksums. */
export function readEvidence(
  skeletonOf: SkeletonOf,
  key: KeyTexts,
  sha256: Uint8Array,
  row: Row,
): StoredEvidence | undefined {
  const skeleton = skeletonOf(row.skeleton);
  if (!matches(row.checksum, ...key, sha256, "evidence", skeleton, row.numbers)) return undefined;
  const packed = { skeleton: skeleton!, numbers: row.numbers as Uint8Array };
  if (row.tokens === null && row.tokens_checksum === null) return { packed };
  const counts = skeletonOf(row.token_counts);
  if (!matches(row.tokens_checksum, ...key, sha256, "tokens", counts, row.tokens)) return undefined;
  return { packed, tokens: { counts: counts!, ids: row.tokens as Uint8Array } };
}

/** Checksum of a row of `pending`. */
export function partChecksum(
  key: KeyTexts,
  sha256: Uint8Array,
  part: string,
  { skeleton, numbers }: Packed,
): Uint8Array {
  return checksum(...key, sha256, part, skeleton, numbers);
}

/** The value in a row of `pending`, still packed; undefined if the row does not match its checksum. */
export function readPart(
  skeletonOf: SkeletonOf,
  key: KeyTexts,
  sha256: Uint8Array,
  { part, skeleton: id, numbers, checksum }: Row,
): Packed | undefined {
  const skeleton = skeletonOf(id);
  if (!matches(checksum, ...key, sha256, part, skeleton, numbers)) return undefined;
  return { skeleton: skeleton!, numbers: numbers as Uint8Array };
}

/** Columns of `results` that the checksum covers, in its order. */
const resultColumns = ["name", "position", "session", "sha256", "label", "verdict"];

/** Checksum of a row of `results`. `run` is the hash of the run. */
export function resultChecksum(run: string, row: Row): Uint8Array {
  return checksum(run, ...resultColumns.map((name) => row[name] as Value));
}

/** Whether a row of `results` matches its checksum. */
export function isResultIntact(run: string, row: Row): boolean {
  return matches(row.checksum, run, ...resultColumns.map((name) => row[name]));
}

/** Columns of `sessions` that the checksum covers, in its order. */
const sessionColumns = ["id", "shard", "shards", "out", "started", "ended", "status", "listed", "done"];

/** Checksum of a row of `sessions`. `run` is the hash of the run. */
export function sessionChecksum(run: string, row: Row): Uint8Array {
  return checksum(run, ...sessionColumns.map((name) => row[name] as Value));
}

/** Whether a row of `sessions` matches its checksum. */
export function isSessionIntact(run: string, row: Row): boolean {
  return matches(row.checksum, run, ...sessionColumns.map((name) => row[name]));
}
