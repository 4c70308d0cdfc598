/**
 * Locks between processes, by lock files. The operating system releases a lock when its holder ends, even by a crash.
 */
import { openLocked } from "../../util/files.ts";
import { sleep } from "./retry.ts";

/** Pause between attempts to take a lock, in milliseconds. */
const interval = 200;

/** Options of `withLock`. */
export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once when another process holds the lock. */
  readonly onWait?: () => void;
}

/** Runs `body` while this process holds the lock file `path`. The file exists only while a process holds it. */
export async function withLock<T>(path: string, options: LockOptions, body: () => Promise<T>): Promise<T> {
  const file = await acquire(path, options);
  try {
    return await body();
  } finally {
    // Removed while it is held: a process that has opened it meanwhile finds another file under the name, and retries.
    await Deno.remove(path).catch(() => {});
    file.close();
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions): Promise<Deno.FsFile> {
  let notified = false;
  for (;;) {
    signal?.throwIfAborted();
    const file = await openLocked(path);
    if (file !== undefined) return file;
    if (!notified) onWait?.();
    notified = true;
    await sleep(interval, signal);
  }
}
