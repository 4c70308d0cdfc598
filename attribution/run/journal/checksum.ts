/**
 * Checksums of journal rows. SQLite notices damage to the structure of its file, but not to the contents of rows: a bit
 * that flips in a number would become another number of the evidence.
 */
import { createHash } from "node:crypto";

/** A value that SQLite stores. */
export type Value = string | number | Uint8Array | null;

/** Bytes of a checksum. 2^-128 is the chance that a damaged row fits it. */
const checksumBytes = 16;

/**
 * The checksum of a row: the first 16 bytes of the sha256 of its values, each with its type and length. Rows refer to
 * keys, skeletons and runs by number; pass the texts that these numbers stand for, so that the checksum covers them.
 */
export function checksum(...values: readonly Value[]): Uint8Array {
  const hash = createHash("sha256");
  for (const value of values) {
    const bytes = value instanceof Uint8Array ? value : new TextEncoder().encode(String(value));
    hash.update(`${value === null ? "null" : value instanceof Uint8Array ? "blob" : typeof value} ${bytes.length} `);
    hash.update(bytes);
  }
  return new Uint8Array(hash.digest()).slice(0, checksumBytes);
}

/** Whether a stored checksum is that of the values. Damage may have changed the type of a value, too. */
export function matches(stored: unknown, ...values: readonly unknown[]): boolean {
  if (!(stored instanceof Uint8Array) || stored.length !== checksumBytes) return false;
  const isValue = (value: unknown): value is Value =>
    value === null || value instanceof Uint8Array || typeof value === "string" || typeof value === "number";
  if (!values.every(isValue)) return false;
  const expected = checksum(...values);
  return stored.every((byte, i) => byte === expected[i]);
}
