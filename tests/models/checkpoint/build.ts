/**
 * Makes checkpoint files byte by byte, so that tests can have damaged and hostile ones.
 * It is deliberately independent of the readers under test.
 */

import { fileURLToPath } from "node:url";
import { BlobReader, Uint8ArrayWriter, ZipWriter } from "npm:@zip.js/zip.js@2.24.0";

/** Text (one byte per character), bytes, and lists of these. */
export type Part = string | number | Uint8Array | readonly Part[];

/** Joins parts; numbers are single bytes. */
export function bytes(...parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const add = (part: Part): void => {
    if (typeof part === "number") out.push(part);
    else if (typeof part === "string") { for (const character of part) out.push(character.charCodeAt(0)); }
    else for (const item of part) add(item);
  };
  add(parts);
  return Uint8Array.from(out);
}

/** A whole number as `count` little-endian bytes. */
export function le(value: number | bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
}

/** Pickle opcodes with their arguments. */
export const op = {
  proto: (version: number): Part => [0x80, version],
  text: (value: string): Part => ["X", le(new TextEncoder().encode(value).length, 4), new TextEncoder().encode(value)],
  int: (value: number): Part =>
    value >= -(2 ** 31) && value < 2 ** 31 ? ["J", le(value, 4)] : [0x8a, 9, le(BigInt(value), 9)],
  tuple: (...items: readonly Part[]): Part => ["(", items, "t"],
  global: (module: string, name: string): Part => `c${module}\n${name}\n`,
  stackGlobal: (module: string, name: string): Part => [op.text(module), op.text(name), 0x93],
};

/** A tensor to be described in a pickle. */
export interface TensorRecipe {
  readonly name: string;
  readonly shape: readonly number[];
  readonly strides?: readonly number[];
  readonly offset?: number;
  readonly key?: string;
  /** Default: FloatStorage. */
  readonly storage?: string;
  /** Elements in the storage. */
  readonly length: number;
  /** Legacy files only: `(view key, first, length)`. */
  readonly part?: readonly [string, number, number];
}

/** Opcodes that build one tensor, as torch.save writes them. */
export function tensorParts(recipe: TensorRecipe, legacy = false): Part {
  const { shape, offset = 0, key = "0", storage = "FloatStorage", length, part } = recipe;
  const strides = recipe.strides ?? shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const id = [op.text("storage"), op.global("torch", storage), op.text(key), op.text("cpu"), op.int(length)];
  if (legacy) id.push(part ? op.tuple(op.text(part[0]), op.int(part[1]), op.int(part[2])) : "N");
  return [
    op.global("torch._utils", "_rebuild_tensor_v2"),
    op.tuple(
      [op.tuple(...id), "Q"],
      op.int(offset),
      op.tuple(...shape.map(op.int)),
      op.tuple(...strides.map(op.int)),
      0x89,
      [op.global("collections", "OrderedDict"), ")R"],
    ),
    "R",
  ];
}

/** A pickled dict of tensors. */
export function tensorsPickle(recipes: readonly TensorRecipe[], legacy = false): Uint8Array<ArrayBuffer> {
  return bytes(
    op.proto(2),
    "}(",
    recipes.map((recipe) => [op.text(recipe.name), tensorParts(recipe, legacy)]),
    "u.",
  );
}

/** A zip archive of the given members, stored unless `level` is above 0. */
export async function zipFile(
  members: Readonly<Record<string, Uint8Array>>,
  level = 0,
): Promise<Uint8Array<ArrayBuffer>> {
  const writer = new ZipWriter(new Uint8ArrayWriter(), { level, useWebWorkers: false });
  for (const [name, data] of Object.entries(members)) {
    await writer.add(name, new BlobReader(new Blob([data as Uint8Array<ArrayBuffer>])));
  }
  return new Uint8Array(await writer.close());
}

/** A PyTorch zip checkpoint: the pickle and the storages by key. */
export function torchZip(
  pickle: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>> = {},
  level = 0,
): Promise<Uint8Array<ArrayBuffer>> {
  const members: Record<string, Uint8Array> = { "archive/data.pkl": pickle };
  for (const [key, data] of Object.entries(storages)) members[`archive/data/${key}`] = data;
  members["archive/version"] = bytes("3\n");
  return zipFile(members, level);
}

/** A legacy PyTorch checkpoint: the pickle, and the storages by key with their lengths in elements. */
export function torchLegacy(
  pickle: Uint8Array,
  storages: Readonly<Record<string, { readonly length: number; readonly data: Uint8Array }>> = {},
  littleEndian = true,
): Uint8Array<ArrayBuffer> {
  const keys = Object.keys(storages);
  return bytes(
    [op.proto(2), 0x8a, 10, le(0x1950a86a20f9469cfc6cn, 10), "."],
    [op.proto(2), "M", le(1001, 2), "."],
    [op.proto(2), "}(", op.text("little_endian"), littleEndian ? 0x88 : 0x89, "u."],
    pickle,
    [op.proto(2), "](", keys.map(op.text), "e."],
    keys.map((key) => [le(storages[key].length, 8), storages[key].data]),
  );
}

/** The bytes of float32 values. */
export function f32Bytes(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** Runs `use` with the path of a file that has these bytes and this name; the file is gone afterwards. */
export async function withFile<T>(name: string, content: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "checkpoint-test-" });
  try {
    const path = `${folder}/${name}`;
    await Deno.writeFile(path, content);
    return await use(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** sha256 in hex. */
export async function sha256(data: ArrayBufferView<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Folder of the reference data. */
export const GOLDEN = fileURLToPath(new URL("../../fixtures/golden/", import.meta.url));
