/**
 * Opens checkpoints. The first bytes decide the format, never the file's name: `.pth`, `.pt` and `.bin` are each used
 * for several formats.
 */

import { sizeOf } from "../../core/tensor/shape.ts";
import { ByteCursor, type RandomAccess, RandomAccessFile } from "./bytes.ts";
import { readSafetensors } from "./safetensors.ts";
import type { TensorInfo, TensorSource } from "./source.ts";
import { readTorchLegacy, startsWithLegacyMagic } from "./torch_legacy.ts";
import { readTorchZip } from "./torch_zip.ts";

/** The formats that are read. */
export type CheckpointFormat = "safetensors" | "torch-zip" | "torch-legacy";

const READERS: Readonly<Record<CheckpointFormat, (file: RandomAccess) => Promise<TensorSource>>> = {
  "safetensors": readSafetensors,
  "torch-zip": readTorchZip,
  "torch-legacy": readTorchLegacy,
};

/**
 * Opens a safetensors file, a PyTorch zip file or a legacy PyTorch file, by its path or as bytes from elsewhere; reads
 * its index only. Closing the source closes the bytes. Rejects with an error that begins with the file's name when it is
 * none of these, is truncated, or names a Python global that is not on the allow-list; the bytes are closed then.
 */
export async function openCheckpoint(file: string | RandomAccess): Promise<TensorSource> {
  return (await openWithFormat(typeof file === "string" ? await RandomAccessFile.open(file) : file)).source;
}

async function openWithFormat(file: RandomAccess): Promise<{ source: TensorSource; format: CheckpointFormat }> {
  try {
    const format = detectFormat(file);
    return { source: await READERS[format](file), format };
  } catch (error) {
    file.close();
    throw error;
  }
}

function detectFormat(file: RandomAccess): CheckpointFormat {
  const { label, size } = file;
  if (size === 0) throw new Error(`${label}: is empty, not a checkpoint`);
  const start = new Uint8Array(Math.min(512, size));
  file.readSync(0, start);
  const text = String.fromCharCode(...start);
  if (text.startsWith("PK\x03\x04") || text.startsWith("PK\x05\x06")) return "torch-zip";
  if (startsWithLegacyMagic(ByteCursor.overBytes(label, start))) return "torch-legacy";
  if (text[8] === "{") {
    // A text file with a brace there would announce an absurd header length.
    const length = new DataView(start.buffer).getBigUint64(0, true);
    if (length <= BigInt(2 ** 32)) return "safetensors";
  }
  const expected = "expected a safetensors file or a PyTorch file (zip or legacy)";
  const got = text.startsWith("version https://git-lfs")
    ? "a Git LFS pointer: download the file that it stands for"
    : /^\s*<(!doctype|html|\?xml)/i.test(text)
    ? "a web page: the download went wrong"
    : text.slice(257, 262) === "ustar"
    ? "a tar archive: save it again with a PyTorch from this decade"
    : start[0] === 0x80 && size > 1 && start[1] <= 5
    ? "a pickle without PyTorch's magic number"
    : size < 16
    ? `${size} bytes: truncated?`
    : `a file that begins with ${JSON.stringify(text.slice(0, 16))}`;
  throw new Error(`${label}: is not a checkpoint: ${expected}, got ${got}`);
}

/** Contents of a checkpoint file. */
export interface CheckpointDescription {
  /** File name without folders. */
  readonly label: string;
  /** Told by the first bytes. */
  readonly format: CheckpointFormat;
  /** File size in bytes. */
  readonly bytes: number;
  /** In file order. */
  readonly tensors: readonly TensorInfo[];
  /** Elements of all tensors together. */
  readonly elements: number;
}

/** Lists a checkpoint's tensors; reads its index only. Errors are those of opening it. */
export async function describeCheckpoint(path: string): Promise<CheckpointDescription> {
  const file = await RandomAccessFile.open(path);
  const { source, format } = await openWithFormat(file);
  try {
    const tensors = [...source.tensors.values()].map(({ name, shape, dtype }) => ({ name, shape, dtype }));
    const elements = tensors.reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0);
    return { label: source.label, format, bytes: file.size, tensors, elements };
  } finally {
    source.close();
  }
}
