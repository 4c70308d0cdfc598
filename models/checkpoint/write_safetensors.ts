/**
 * Writes safetensors files (safetensors.ts), one tensor at a time.
 */
import { sizeOf } from "../../core/tensor/shape.ts";
import { temporaryName, writeAll } from "../../util/files.ts";
import { fileLabel } from "./bytes.ts";
import { DTYPE_NAMES, MAX_HEADER } from "./safetensors.ts";
import type { StoredDType } from "./source.ts";
import { DTYPE_BYTES } from "./stored.ts";

/** Values to write: any typed array or DataView whose bytes are the little-endian values. */
export type TensorBytes = ArrayBufferView<ArrayBufferLike>;

/** One tensor to write. */
export interface SafetensorsEntry {
  /** Unique in the file. */
  readonly name: string;
  /** Row-major; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Element type in the file. */
  readonly dtype: StoredDType;
  /** The values, requested when the tensor is written. */
  data(): TensorBytes | Promise<TensorBytes>;
}

/**
 * Writes a safetensors file, holding one tensor in memory at a time. Rejects, naming file and tensor, for two tensors
 * of one name, an impossible shape, or values of another length; no file is left then.
 *
 * Tensors are ordered by element size, widest first, otherwise as given, and the header is padded to a multiple of 8
 * bytes. So every tensor is aligned to its element size. The file has a temporary name in the same folder until it is
 * complete.
 */
export async function writeSafetensors(
  path: string,
  entries: AsyncIterable<SafetensorsEntry> | Iterable<SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const label = fileLabel(path);
  const list: SafetensorsEntry[] = [];
  for await (const entry of entries) list.push(entry);
  list.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);

  // Built from pairs: a tensor may be called "__proto__".
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", metadata]);
  const names = new Set<string>(["__metadata__"]);
  let end = 0;
  for (const { name, shape, dtype } of list) {
    if (names.has(name)) throw new Error(`${label}: writeSafetensors: two tensors are named ${JSON.stringify(name)}`);
    names.add(name);
    const begin = end;
    end += sizeOf(shape) * DTYPE_BYTES[dtype];
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Number.isSafeInteger(end)) {
      throw new Error(`${label}: writeSafetensors: tensor ${JSON.stringify(name)}: impossible shape [${shape}]`);
    }
    header.push([name, { dtype: DTYPE_NAMES[dtype], shape: [...shape], data_offsets: [begin, end] }]);
  }
  const json = new TextEncoder().encode(
    `{${header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`,
  );
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) throw new Error(`${label}: writeSafetensors: the header takes ${length} bytes`);
  const start = new Uint8Array(8 + length).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(length), true);
  start.set(json, 8);

  const temporary = temporaryName(path);
  const file = await Deno.open(temporary, { write: true, createNew: true });
  try {
    try {
      await writeAll(file, start);
      for (const entry of list) {
        const data = await entry.data();
        const expected = sizeOf(entry.shape) * DTYPE_BYTES[entry.dtype];
        if (data.byteLength !== expected) {
          throw new Error(
            `${label}: writeSafetensors: tensor ${JSON.stringify(entry.name)}: [${entry.shape}] of ${entry.dtype} ` +
              `expects ${expected} bytes, got ${data.byteLength}`,
          );
        }
        await writeAll(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
      await file.sync();
    } finally {
      file.close();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
