/**
 * Writing results so that a reader never sees half a file.
 * What the files hold is decided in submission.ts and report.ts.
 */
import { basename, dirname } from "node:path";

/** What a file is called until it is complete. */
export const partSuffix = ".part";

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
