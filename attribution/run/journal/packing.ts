/**
 * Packs a JSON value into a short blob: its numbers as float64, and the JSON text without them, the skeleton, which
 * thousands of images share. Lossless.
 */

/** A packed JSON value: its text with 0 in place of every number, and the numbers in the order of the text. */
export interface Packed {
  /** JSON. */
  readonly skeleton: string;
  /** Little-endian float64. */
  readonly numbers: Uint8Array;
}

/** Packs a JSON value. Throws on numbers that are not finite, which JSON cannot represent. */
export function pack(value: unknown): Packed {
  const numbers: number[] = [];
  const skeleton = JSON.stringify(value, (key, item) => {
    if (typeof item !== "number") return item;
    if (!Number.isFinite(item)) throw new Error(`pack: expected finite numbers, got ${key} ${item}`);
    numbers.push(item);
    return 0;
  });
  const bytes = new Uint8Array(8 * numbers.length);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, i) => view.setFloat64(8 * i, number, true));
  return { skeleton, numbers: bytes };
}

/** Restores a value. Throws when skeleton and numbers do not fit. */
export function unpack({ skeleton, numbers }: Packed): unknown {
  const view = new DataView(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  let at = 0;
  const next = () => {
    if (at + 8 > numbers.byteLength) {
      throw new Error(`unpack: expected more numbers than the ${numbers.byteLength / 8} there are`);
    }
    const number = view.getFloat64(at, true);
    at += 8;
    return number;
  };
  // In place: a copy of every object takes twice as long.
  const fill = (item: Record<string, unknown>) => {
    for (const name of Object.keys(item)) {
      const inner = item[name];
      if (typeof inner === "number") item[name] = next();
      else if (inner !== null && typeof inner === "object") fill(inner as Record<string, unknown>);
    }
  };
  const root = { value: JSON.parse(skeleton) as unknown };
  fill(root);
  if (at !== numbers.byteLength) {
    throw new Error(`unpack: expected ${at / 8} numbers, got ${numbers.byteLength / 8}`);
  }
  return root.value;
}

/** The tokens of all families one after the other, and the number of tokens of each as JSON. */
export function joinTokens(tokens: Readonly<Record<string, Int32Array>>): { ids: Uint8Array; counts: string } {
  const parts = Object.entries(tokens);
  const all = Int32Array.from(parts.flatMap(([, ids]) => [...ids]));
  const counts = JSON.stringify(Object.fromEntries(parts.map(([family, ids]) => [family, ids.length])));
  return { ids: packTokens(all), counts };
}

/** Tokens by family, from what `joinTokens` returned. */
export function splitTokens(ids: Uint8Array, counts: string): Record<string, Int32Array> {
  const all = unpackTokens(ids);
  let at = 0;
  const numbers = Object.entries(JSON.parse(counts) as Record<string, number>);
  return Object.fromEntries(numbers.map(([family, n]) => [family, all.slice(at, at += n)]));
}

/** Packs token ids, two bytes each. Throws on ids above 65535. */
export function packTokens(tokens: Int32Array): Uint8Array {
  const bytes = new Uint8Array(2 * tokens.length);
  const view = new DataView(bytes.buffer);
  tokens.forEach((id, i) => {
    if (id < 0 || id > 0xffff) throw new Error(`packTokens: expected ids from 0 to 65535, got ${id}`);
    view.setUint16(2 * i, id, true);
  });
  return bytes;
}

/** Restores token ids. */
export function unpackTokens(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tokens = new Int32Array(bytes.byteLength / 2);
  for (let i = 0; i < tokens.length; i++) tokens[i] = view.getUint16(2 * i, true);
  return tokens;
}
