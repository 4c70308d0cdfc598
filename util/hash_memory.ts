/**
 * Remembers the sha256 of large files, and what else was found out about them, so that files which have not changed are
 * read once and not at every start of a program. It is a file in the user's cache folder; whoever deletes it loses time
 * and nothing else.
 *
 * A hash is believed only while the file's path, size, inode, and times of its content and of its entry are what they
 * were, and those times were well in the past when the file was hashed: a later write then shows, even where times have
 * whole seconds, and even if somebody sets the time of the content back.
 */
import { join, resolve } from "node:path";
import { environmentVariable } from "./environment.ts";
import { writeFileAtomically } from "./files.ts";
import { hashFile, sha256Hex } from "./hash.ts";

/** What tells whether a file has changed. Times are in milliseconds since 1970. */
export interface Stamp {
  readonly size: number;
  readonly mtime: number;
  readonly ctime: number;
  readonly ino: number;
}

/** What is stored. */
interface Stored {
  readonly version: number;
  readonly files: Record<string, Stamp & { readonly sha256: string }>;
  /** Facts, by the milliseconds since 1970 when they were noted. */
  readonly facts: Record<string, number>;
}

/** Version of the stored form; others are taken for empty. */
const version = 1;
/** Files whose times are more recent than this are not remembered: they may be written again without showing it. */
const settledMs = 2000;
/** Facts beyond this number are forgotten, the oldest first. */
const mostFacts = 1000;

/** The file in the user's cache folder; undefined where none is known, or this program may not ask. */
export function usualHashMemory(): string | undefined {
  const [cache, home] = ["XDG_CACHE_HOME", "HOME"].map(environmentVariable);
  const folder = cache ?? (home === undefined ? undefined : join(home, ".cache"));
  return folder === undefined ? undefined : join(folder, "model-tracer", "hashes.json");
}

/** Hashes of files that are remembered. Open it, ask it, save it. */
export class HashMemory {
  readonly #path: string | undefined;
  #stored: Stored;
  #isChanged = false;
  /** Number of files that were read to hash them. */
  hashed = 0;

  private constructor(path: string | undefined, stored: Stored) {
    this.#path = path;
    this.#stored = stored;
  }

  /**
   * Reads what is remembered. A file that is missing, damaged or out of reach remembers nothing, and neither does the
   * memory without a path.
   */
  static async open(path: string | undefined = usualHashMemory()): Promise<HashMemory> {
    return new HashMemory(path, await readStored(path));
  }

  /** The remembered sha256 of a file; undefined if there is none, or the file has changed since. Reads no content. */
  recall(path: string): string | undefined {
    const known = this.#stored.files[resolve(path)];
    if (known === undefined) return undefined;
    const stamp = stampOf(path);
    return stamp !== undefined && sameStamp(stamp, known) ? known.sha256 : undefined;
  }

  /**
   * The sha256 of a file, remembered or read. `expected` is what it should be: a remembered hash that is another one is
   * not believed, and the file is read.
   */
  async hash(path: string, expected?: string): Promise<string> {
    const recalled = this.recall(path);
    if (recalled !== undefined && (expected === undefined || recalled === expected)) return recalled;
    const [start, before] = [Date.now(), stampOf(path)];
    const sha256 = await hashFile(path);
    this.hashed++;
    const after = stampOf(path);
    delete this.#stored.files[resolve(path)];
    if (before !== undefined && after !== undefined && sameStamp(before, after) && isSettled(after, start)) {
      this.#stored.files[resolve(path)] = { ...after, sha256 };
      this.#isChanged = true;
    }
    return sha256;
  }

  /** Whether a fact was noted. */
  knows(fact: string): boolean {
    return this.#stored.facts[fact] !== undefined;
  }

  /** Notes a fact: a text that names all that it depends on, such as the hashes of files. */
  note(fact: string): void {
    if (this.knows(fact)) return;
    this.#stored.facts[fact] = Date.now();
    this.#isChanged = true;
  }

  /**
   * Writes what is remembered, together with what other processes have written meanwhile. Does nothing where nothing is
   * new, or where it may not write.
   */
  async save(): Promise<void> {
    if (!this.#isChanged || this.#path === undefined) return;
    // Asking, unlike writing, never makes the runtime ask the user.
    if (Deno.permissions.querySync({ name: "write", path: this.#path }).state !== "granted") return;
    const others = await readStored(this.#path);
    const files = { ...others.files, ...this.#stored.files };
    for (const path of Object.keys(files)) if (stampOf(path) === undefined) delete files[path];
    const facts = Object.entries({ ...others.facts, ...this.#stored.facts })
      .sort(([, a], [, b]) => b - a).slice(0, mostFacts);
    this.#stored = { version, files, facts: Object.fromEntries(facts) };
    try {
      await Deno.mkdir(resolve(this.#path, ".."), { recursive: true });
      await writeFileAtomically(this.#path, await withChecksum(this.#stored));
      this.#isChanged = false;
    } catch {
      // A read-only home costs time at the next start, and is no reason to end this run.
    }
  }
}

/** Reads what is stored; nothing where that cannot be read or does not match its checksum. */
async function readStored(path: string | undefined): Promise<Stored> {
  const nothing: Stored = { version, files: {}, facts: {} };
  if (path === undefined || Deno.permissions.querySync({ name: "read", path }).state !== "granted") return nothing;
  try {
    const text = await Deno.readTextFile(path);
    const stored = JSON.parse(text.slice(text.indexOf("\n") + 1)) as Stored;
    const isWhole = text === await withChecksum(stored);
    return isWhole && stored.version === version ? stored : nothing;
  } catch {
    return nothing;
  }
}

/** The text of the file: the sha256 of the rest in the first line, so that damage shows. */
async function withChecksum(stored: Stored): Promise<string> {
  const text = JSON.stringify(stored, null, 1) + "\n";
  return `${await sha256Hex(new TextEncoder().encode(text))}\n${text}`;
}

/** The stamp of a file; undefined if it cannot be looked at, or the system does not say enough of it. */
export function stampOf(path: string): Stamp | undefined {
  try {
    // To wait for a look takes ten times as long as the look.
    const { isFile, size, mtime, ctime, ino } = Deno.statSync(path);
    if (!isFile || !mtime || !ctime || !ino) return undefined;
    return { size, mtime: mtime.getTime(), ctime: ctime.getTime(), ino };
  } catch {
    return undefined;
  }
}

/** Whether a file has not changed between two looks at it. */
export function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.size === b.size && a.mtime === b.mtime && a.ctime === b.ctime && a.ino === b.ino;
}

/** Whether a later write than this look at a file, at `now`, will show. */
export function isSettled({ mtime, ctime }: Stamp, now: number): boolean {
  return Math.max(mtime, ctime) < now - settledMs;
}
