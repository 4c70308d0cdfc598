/**
 * Reading and writing files: results appear under their names only when they are complete.
 */
import { basename, dirname, join } from "node:path";

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

/** The beginning of the names of a file's temporary files. */
function temporaryPrefix(path: string): string {
  return `.${basename(path)}.`;
}

/** A name for a temporary file in the folder of `path`, used once, so that two processes may write the same file. */
export function temporaryName(path: string): string {
  return join(dirname(path), temporaryPrefix(path) + crypto.randomUUID().slice(0, 8) + partSuffix);
}

/**
 * Removes temporary files that killed processes left behind when they wrote `path`. Call it while no other process can be
 * writing that file.
 */
export async function removeLeftovers(path: string): Promise<void> {
  const prefix = temporaryPrefix(path);
  for await (const { name } of Deno.readDir(dirname(path))) {
    if (name.startsWith(prefix) && name.endsWith(partSuffix)) await removeIfThere(join(dirname(path), name));
  }
}

/**
 * Writes a text to a temporary file in the same folder, and then renames that to `path`. When two processes
 * write the same file, the later one wins.
 */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const part = temporaryName(path);
  try {
    await Deno.writeTextFile(part, text);
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw writeError(path, error as Error);
  }
}

/** A failure to write as an error that names the file and, if the disk is full, says what to do. */
function writeError(path: string, cause: Error): Error {
  return new Error(`${path}: cannot be written: ${withRemedy(cause)}`, { cause });
}

/** The message of a failure to write, with what to do if the disk is full. */
function withRemedy({ message }: Error): string {
  const isFull = /No space left|[Qq]uota exceeded|File too large/.test(message);
  return isFull ? `${message}: make room, or name a file on another disk, and run the same command again` : message;
}

/** Text is written once there are so many characters of it, or so many milliseconds after the last time. */
const mostWaiting = 1 << 16, mostWaitingMs = 1000;

/** A file that gets its name when it is complete. Until then it is `path + ".part"`, locked by this process. */
export class PartFile {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #isOpen = true;
  /** Text that is not written yet. */
  #waiting = "";
  /** When text was last written, in milliseconds since the start of the program. */
  #written = -Infinity;

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
  }

  /**
   * Creates the temporary file. Rejects, naming `option`, when the folder is missing or cannot be written to, and when
   * another process is writing the same file. A temporary file that a killed process left behind is replaced.
   */
  static async create(option: string, path: string): Promise<PartFile> {
    const folder = dirname(path);
    const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
    if (isFolder) throw new Error(`${option} ${path}: expected the name of a file, this is a folder`);
    let file: Deno.FsFile | undefined;
    try {
      file = await openLocked(path + partSuffix);
    } catch (cause) {
      const reason = cause instanceof Deno.errors.NotFound ? "the folder does not exist" : withRemedy(cause as Error);
      throw new Error(`${option} ${path}: cannot write ${basename(path)} to ${folder}: ${reason}`, { cause });
    }
    if (file === undefined) {
      throw new Error(`${option} ${path}: another run is writing this file: wait until it ends, or name another file`);
    }
    return new PartFile(path, file);
  }

  /** Whether the file can be written: neither `finish` nor `discard` was called. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Appends a text in UTF-8. Short texts that follow each other within a second are written together. */
  async write(text: string): Promise<void> {
    this.#waiting += text;
    if (this.#waiting.length >= mostWaiting || performance.now() - this.#written >= mostWaitingMs) await this.#flush();
  }

  async #flush(): Promise<void> {
    const text = this.#waiting;
    this.#waiting = "";
    try {
      await writeText(this.#file, text);
    } catch (error) {
      throw writeError(this.#path, error as Error);
    }
    this.#written = performance.now();
  }

  /** Writes what is left and gives the file its name. */
  async finish(): Promise<void> {
    await this.#flush();
    // The lock ends with closing: after that, the temporary name may be that of another process's file.
    await Deno.rename(this.#path + partSuffix, this.#path);
    this.#close();
  }

  /** Deletes the temporary file; after `finish`, does nothing. */
  async discard(): Promise<void> {
    if (!this.#isOpen) return;
    await removeIfThere(this.#path + partSuffix);
    this.#close();
  }

  #close(): void {
    this.#isOpen = false;
    this.#file.close();
  }
}

/**
 * Creates or empties a file and locks it; undefined if another process has locked it. Closing the file ends the lock, and so
 * does the end of the process, even by a crash. To delete the file, delete it before closing: then nobody locks a file
 * that has no name any more.
 */
export async function openLocked(path: string): Promise<Deno.FsFile | undefined> {
  while (true) {
    const file = await Deno.open(path, { create: true, write: true });
    let isLocked = false;
    try {
      // Some network file systems have no locks: there, nothing keeps two runs apart.
      if (!await file.tryLock(true).catch(() => true)) return undefined;
      // Between opening and locking, the process that had the lock may have renamed or deleted the file.
      const [opened, named] = [await file.stat(), await Deno.stat(path).catch(() => null)];
      isLocked = named !== null && named.ino === opened.ino && named.dev === opened.dev;
      if (!isLocked) continue;
      await file.truncate();
      return file;
    } finally {
      if (!isLocked) file.close();
    }
  }
}

/** Whether there is a file, and no folder, at `path`. */
export async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
}

/**
 * Throws, naming `option`, if there is a file at `path` that an earlier run may have written. `force`: it may be
 * replaced.
 */
export async function expectNoFile(option: string, path: string, force = false): Promise<void> {
  if (force || !await isFile(path)) return;
  throw new Error(`${option} ${path}: this file exists: name another file, or replace it with --force`);
}

/** Removes a file, if it exists. */
export async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
