/**
 * Reads the files in a Qt binary resource (`.rcc`), which is how one of the photograph packages stores its pictures.
 * It deliberately writes no resources, and leaves out files that are stored with zstd, since no picture is.
 */
import { inflateSync } from "node:zlib";

/** One stored file: its path within the resource, without a leading slash, and its bytes. */
export interface ResourceFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

const DIRECTORY = 2, ZLIB = 1, ZSTD = 4;

/**
 * Every file of a resource, in stored order. The layout is that of qtbase `src/corelib/io/qresource.cpp`: big-endian;
 * a header with the offsets of tree, data and names; nodes of 14 bytes (version 1) or 22 (with a time stamp).
 *
 * Throws Error for anything that is not a resource of version 1 to 3, or whose offsets leave the file.
 */
export function readResource(bytes: Uint8Array): ResourceFile[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 20 || view.getUint32(0) !== 0x71726573) {
    throw new Error("readResource: expected a file that begins with `qres`");
  }
  const version = view.getUint32(4), tree = view.getUint32(8), data = view.getUint32(12), names = view.getUint32(16);
  if (version < 1 || version > 3) throw new Error(`readResource: expected version 1 to 3, got ${version}`);
  const nodeSize = version === 1 ? 14 : 22;
  const files: ResourceFile[] = [];
  const visited = new Set<number>();

  function name(offset: number): string {
    const at = names + offset;
    const units = Array.from({ length: view.getUint16(at) }, (_, i) => view.getUint16(at + 6 + 2 * i));
    return String.fromCharCode(...units);
  }

  function walk(index: number, path: string): void {
    if (visited.has(index)) throw new Error(`readResource: node ${index} is reached twice`);
    visited.add(index);
    const at = tree + index * nodeSize;
    const flags = view.getUint16(at + 4);
    const target = index === 0 ? "" : path === "" ? name(view.getUint32(at)) : `${path}/${name(view.getUint32(at))}`;
    if (flags & DIRECTORY) {
      const count = view.getUint32(at + 6), first = view.getUint32(at + 10);
      for (let i = 0; i < count; i++) walk(first + i, target);
      return;
    }
    if (flags & ZSTD) return;
    const start = data + view.getUint32(at + 10), length = view.getUint32(start);
    if (start + 4 + length > bytes.length) throw new Error(`readResource: ${target} ends beyond the file`);
    const stored = bytes.subarray(start + 4, start + 4 + length);
    // Compressed data carries its inflated length first.
    files.push({ path: target, bytes: flags & ZLIB ? new Uint8Array(inflateSync(stored.subarray(4))) : stored });
  }

  try {
    walk(0, "");
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error("readResource: an offset lies beyond the end of the file", { cause: error });
  }
  return files;
}
