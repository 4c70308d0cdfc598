/**
 * PyTorch's zip format (torch.save since 1.6): a pickle `data.pkl` and one member `data/<key>` per storage.
 * Opening reads the archive's directory and the pickle only. Stored members are then read in place; compressed ones,
 * which torch never writes, are inflated one at a time.
 * Layout: torch/serialization.py and caffe2/serialize of PyTorch; zip and zip64: PKWARE APPNOTE 4.3 to 4.5.
 */

import type { FileEntry } from "npm:@zip.js/zip.js@2.24.0";
import { ByteCursor, type ByteRange, type RandomAccess, subRange } from "./bytes.ts";
import { readPickle } from "./pickle.ts";
import type { TensorSource } from "./source.ts";
import { DTYPE_BYTES, type StoredTensor, StoredTensors } from "./stored.ts";
import { collectTensors, TORCH_POLICY } from "./torch_pickle.ts";

/** Larger than any index of tensors. */
const MAX_PICKLE = 64 * 1024 * 1024;
/** Deflate cannot compress better than this. */
const MAX_INFLATION = 1032;

/** Reads the index of an open file; the source that comes back closes the file. */
export async function readTorchZip(file: RandomAccess): Promise<TensorSource> {
  const { label } = file;
  const entries = await listEntries(file);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    throw new Error(
      `${label}: is a zip archive, but not one of PyTorch: expected one <name>/data.pkl, got ${pickles.length}`,
    );
  }
  const root = pickles[0].slice(0, -"data.pkl".length);
  const inflated = new InflateCache();
  const member = (name: string): ByteRange | undefined => {
    const entry = entries.get(root + name);
    return entry && memberRange(file, entry, inflated);
  };

  const byteOrder = await readSmall(label, "byteorder", member("byteorder"), 64);
  if (byteOrder !== undefined && new TextDecoder().decode(byteOrder).trim() !== "little") {
    throw new Error(
      `${label}: byte order expects little, got ${JSON.stringify(new TextDecoder().decode(byteOrder))}: ` +
        "save it again on a little-endian machine",
    );
  }
  const pickle = await readSmall(label, "data.pkl", member("data.pkl"), MAX_PICKLE);
  const tree = readPickle(ByteCursor.overBytes(label, pickle!), TORCH_POLICY);
  const tensors = collectTensors(tree, label).map(([name, { storage, offset, shape, strides }]): StoredTensor => {
    const range = member(`data/${storage.key}`);
    const expected = storage.length * DTYPE_BYTES[storage.dtype];
    if (range === undefined || range.size < expected) {
      throw new Error(
        `${label}: truncated or damaged: tensor ${
          JSON.stringify(name)
        } expects ${expected} bytes in data/${storage.key}, ` +
          `got ${range === undefined ? "no such member" : range.size}`,
      );
    }
    return { name, dtype: storage.dtype, shape, strides, offset, storage: range };
  });
  return new StoredTensors(label, tensors, () => {
    inflated.clear();
    file.close();
  });
}

/** The archive's directory: members by name. */
async function listEntries(file: RandomAccess): Promise<Map<string, FileEntry>> {
  const { label } = file;
  // Loaded here because most runs that open no zip file should not wait for it.
  const { Reader, ZipReader } = await import("npm:@zip.js/zip.js@2.24.0");
  class FileReader extends Reader<RandomAccess> {
    override size = file.size;
    override async readUint8Array(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      const start = Math.min(Math.max(0, offset), file.size);
      const bytes = new Uint8Array(Math.min(Math.max(0, length), file.size - start));
      await file.read(start, bytes);
      return bytes;
    }
  }
  const reader = new ZipReader(new FileReader(file), { useWebWorkers: false });
  const entries = new Map<string, FileEntry>();
  try {
    for await (const entry of reader.getEntriesGenerator()) {
      if (entry.directory) continue;
      if (entries.has(entry.filename)) throw new Error(`two members are named ${JSON.stringify(entry.filename)}`);
      entries.set(entry.filename, entry);
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${label}: truncated or damaged zip archive: ${message}`, { cause: error });
  } finally {
    await reader.close();
  }
  return entries;
}

async function readSmall(
  label: string,
  name: string,
  range: ByteRange | undefined,
  limit: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (range === undefined) return undefined;
  if (range.size > limit) throw new Error(`${label}: ${name} expects at most ${limit} bytes, got ${range.size}`);
  const bytes = new Uint8Array(range.size);
  await range.read(0, bytes);
  return bytes;
}

/** Keeps the last inflated member. */
class InflateCache {
  #entry: FileEntry | undefined;
  #bytes: Promise<Uint8Array<ArrayBuffer>> | undefined;

  get(entry: FileEntry, inflate: () => Promise<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#entry !== entry || this.#bytes === undefined) {
      this.#entry = entry;
      this.#bytes = inflate();
    }
    return this.#bytes;
  }

  clear(): void {
    this.#entry = this.#bytes = undefined;
  }
}

/** The bytes of one member. */
function memberRange(file: RandomAccess, entry: FileEntry, inflated: InflateCache): ByteRange {
  const { label } = file;
  const { filename, compressedSize, uncompressedSize, compressionMethod } = entry;
  const fail = (message: string): never => {
    throw new Error(`${label}: zip member ${JSON.stringify(filename)}: ${message}`);
  };
  if (entry.encrypted) fail("is encrypted");
  if (compressionMethod !== 0 && compressionMethod !== 8) {
    fail(`compression method ${compressionMethod} is not supported; stored and deflated are`);
  }
  if (compressionMethod === 0 && compressedSize !== uncompressedSize) {
    fail(`damaged: is stored, expects ${uncompressedSize} bytes, got ${compressedSize}`);
  }
  if (entry.offset + compressedSize > file.size) {
    fail(`truncated: expected ${compressedSize} bytes at offset ${entry.offset}, got ${file.size - entry.offset}`);
  }
  if (uncompressedSize > compressedSize * MAX_INFLATION + 64) {
    fail(`damaged: ${compressedSize} bytes cannot hold ${uncompressedSize}`);
  }

  let located: Promise<ByteRange> | undefined;
  const locate = async (): Promise<ByteRange> => {
    // The local header repeats the name and has its own padding, by which torch aligns the data.
    const header = new Uint8Array(30);
    await file.read(entry.offset, header);
    const fields = new DataView(header.buffer);
    if (fields.getUint32(0, true) !== 0x04034b50) fail(`damaged: no local header at offset ${entry.offset}`);
    const start = entry.offset + 30 + fields.getUint16(26, true) + fields.getUint16(28, true);
    return subRange(file, start, compressedSize, label);
  };
  return {
    size: uncompressedSize,
    async read(offset, into) {
      const raw = await (located ??= locate());
      if (compressionMethod === 0) return await raw.read(offset, into);
      const bytes = await inflated.get(entry, () => inflate(raw, uncompressedSize, fail));
      if (offset + into.length > bytes.length) {
        fail(`truncated: expected ${into.length} bytes at offset ${offset}, got ${bytes.length - offset}`);
      }
      into.set(bytes.subarray(offset, offset + into.length));
    },
  };
}

async function inflate(
  raw: ByteRange,
  size: number,
  fail: (message: string) => never,
): Promise<Uint8Array<ArrayBuffer>> {
  let position = 0;
  const compressed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const chunk = new Uint8Array(Math.min(16384, raw.size - position));
      if (chunk.length === 0) return controller.close();
      await raw.read(position, chunk);
      position += chunk.length;
      controller.enqueue(chunk);
    },
  });
  const out = new Uint8Array(size);
  let done = 0;
  try {
    for await (const chunk of compressed.pipeThrough(new DecompressionStream("deflate-raw"))) {
      if (done + chunk.length > size) throw new Error(`expected ${size} bytes, got more`);
      out.set(chunk, done);
      done += chunk.length;
    }
  } catch (error) {
    fail(`damaged: ${error instanceof Error ? error.message : error}`);
  }
  if (done !== size) fail(`truncated: expected ${size} bytes, got ${done}`);
  return out;
}
