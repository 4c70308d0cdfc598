/**
 * PyTorch's format before 1.6 (and today with `_use_new_zipfile_serialization=False`): five pickles, then every storage
 * as its length and its values.
 * The tar files of PyTorch before 0.1.10 are not read.
 * Layout: `_legacy_save` in torch/serialization.py of PyTorch.
 */

import { ByteCursor, type ByteRange, type RandomAccess, subRange } from "./bytes.ts";
import { readPickle } from "./pickle.ts";
import { type PicklePolicy, PyDict, PyList, type PyValue } from "./pickle_values.ts";
import type { StoredDType, TensorSource } from "./source.ts";
import { DTYPE_BYTES, type StoredTensor, StoredTensors } from "./stored.ts";
import { collectTensors, TORCH_POLICY, type TorchStorage } from "./torch_pickle.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
/** Larger than any index of tensors. */
const MAX_PICKLE = 64 * 1024 * 1024;

const NOTHING_NAMED: PicklePolicy = { globals: new Map(), allowed: "plain values" };

/** Whether the first pickle is the magic number; the cursor moves. */
export function startsWithLegacyMagic(start: ByteCursor): boolean {
  try {
    return readPickle(start, NOTHING_NAMED) === MAGIC;
  } catch {
    return false; // any other bytes: it is not this format
  }
}

/** Reads the index of an open file; the source that comes back closes the file. */
// deno-lint-ignore require-await -- the formats' readers have one signature, and errors must reject
export async function readTorchLegacy(file: RandomAccess): Promise<TensorSource> {
  const { label } = file;
  const cursor = ByteCursor.overFile(file, 0, MAX_PICKLE);
  if (readPickle(cursor, NOTHING_NAMED) !== MAGIC) throw new Error(`${label}: is not a legacy PyTorch file`);
  const protocol = readPickle(cursor, NOTHING_NAMED);
  if (protocol !== PROTOCOL) throw new Error(`${label}: legacy format expects protocol ${PROTOCOL}, got ${protocol}`);
  const system = readPickle(cursor, NOTHING_NAMED);
  if (system instanceof PyDict && system.entries.get("little_endian") === false) {
    throw new Error(`${label}: byte order expects little, got big: save it again on a little-endian machine`);
  }

  const storageTypes = new Map<string, { dtype: StoredDType; length: number }>();
  const tree = readPickle(cursor, {
    ...TORCH_POLICY,
    persistent(id: PyValue): PyValue {
      const storage = TORCH_POLICY.persistent!(id) as TorchStorage;
      const known = storageTypes.get(storage.key);
      if (known !== undefined && (known.dtype !== storage.dtype || known.length !== storage.length)) {
        throw new Error(`damaged: storage ${storage.key} is described in two ways`);
      }
      storageTypes.set(storage.key, storage);
      return storage;
    },
  });
  const keys = readPickle(cursor, NOTHING_NAMED);
  if (!(keys instanceof PyList)) throw new Error(`${label}: damaged: the list of storages is missing`);

  const storages = new Map<string, ByteRange>();
  let position = cursor.position;
  const prefix = new Uint8Array(8);
  for (const key of keys.items) {
    const type = typeof key === "string" ? storageTypes.get(key) : undefined;
    if (typeof key !== "string" || type === undefined) {
      throw new Error(`${label}: damaged: no tensor says what type storage ${JSON.stringify(String(key))} has`);
    }
    file.readSync(position, prefix);
    const length = Number(new DataView(prefix.buffer).getBigInt64(0, true));
    if (length !== type.length) {
      throw new Error(`${label}: damaged: storage ${key} expects ${type.length} elements, got ${length}`);
    }
    const bytes = length * DTYPE_BYTES[type.dtype];
    storages.set(key, subRange(file, position + 8, bytes, label));
    position += 8 + bytes;
  }

  const tensors = collectTensors(tree, label).map(([name, { storage, offset, shape, strides }]): StoredTensor => {
    const whole = storages.get(storage.key);
    if (whole === undefined) {
      throw new Error(`${label}: damaged: tensor ${JSON.stringify(name)} has no storage ${storage.key}`);
    }
    const size = DTYPE_BYTES[storage.dtype];
    const range = storage.part ? subRange(whole, storage.part.first * size, storage.part.length * size, label) : whole;
    return { name, dtype: storage.dtype, shape, strides, offset, storage: range };
  });
  return new StoredTensors(label, tensors, () => file.close());
}
