/**
 * Writing results so that a reader never sees half a file, and reading lines by their place in a file.
 * What the files hold is decided in submission.ts and report.ts.
 */
import { basename, dirname } from "node:path";

/** What a file is called until it is complete. */
export const partSuffix = ".part";

export interface Line {
  readonly text: string;
  /** Byte positions of the line in the file, without its line break. */
  readonly start: number;
  readonly end: number;
}

/** The complete lines of a file, one at a time; a last line without a line break is torn and left out. No file, no lines. */
export async function* readLines(path: string): AsyncGenerator<Line> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  using _ = file;
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(1 << 16);
  let rest = new Uint8Array(0);
  let start = 0;
  for (let n = await file.read(buffer); n !== null; n = await file.read(buffer)) {
    const bytes = new Uint8Array(rest.length + n);
    bytes.set(rest);
    bytes.set(buffer.subarray(0, n), rest.length);
    let at = 0;
    for (let end = bytes.indexOf(10, at); end >= 0; end = bytes.indexOf(10, at)) {
      yield { text: decoder.decode(bytes.subarray(at, end)), start: start + at, end: start + end };
      at = end + 1;
    }
    rest = bytes.slice(at);
    start += at;
  }
}

/** The text between two byte positions. */
export async function readRange(file: Deno.FsFile, start: number, end: number): Promise<string> {
  const bytes = new Uint8Array(end - start);
  await file.seek(start, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) {
    const n = await file.read(bytes.subarray(at));
    if (n === null) throw new Error(`file ends at byte ${start + at}, expected ${end}`);
    at += n;
  }
  return new TextDecoder().decode(bytes);
}

/** Writes all of a text. */
export async function writeText(file: Deno.FsFile, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/** Replaces a file by a temporary one in the same folder. */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path + partSuffix, text);
  await Deno.rename(path + partSuffix, path);
}

/** Creates `path + ".part"` for writing. Throws, naming `option`, when the folder is missing or cannot be written to. */
export async function createPart(option: string, path: string): Promise<Deno.FsFile> {
  const folder = dirname(path);
  const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
  if (isFolder) throw new Error(`${option} ${path}: expected the name of a file, this is a folder`);
  try {
    return await Deno.open(path + partSuffix, { create: true, truncate: true, write: true });
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound ? "the folder does not exist" : (cause as Error).message;
    throw new Error(`${option} ${path}: cannot write ${basename(path)} to ${folder}: ${reason}`, { cause });
  }
}

/** Removes a file, if it is there. */
export async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
