/**
 * Reading and writing files: results appear under their names only when they are complete.
 */
import { basename, dirname } from "node:path";

/** Ending of an incomplete file's name. */
export const partSuffix = ".part";

/** Writes all bytes, from the file's position on. */
export async function writeAll(file: Pick<Deno.FsFile, "write">, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Writes a text in UTF-8, from the file's position on. */
export async function writeText(file: Deno.FsFile, text: string): Promise<void> {
  await writeAll(file, new TextEncoder().encode(text));
}

/** The text of a file, null when it does not exist. */
export async function readTextIfThere(path: string): Promise<string | null> {
  return await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  });
}

/** Writes a text to a temporary file in the same folder, and then renames that to `path`. */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path + partSuffix, text);
  await Deno.rename(path + partSuffix, path);
}

/**
 * Creates `path + ".part"` for writing. Rejects, naming `option`, when the folder is missing or cannot be written to.
 */
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

/** Removes a file, if it exists. */
export async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
