/**
 * Locks between processes, by lock files. The operating system releases a lock when its holder ends, even by a crash.
 */
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
    const file = await Deno.open(path, { create: true, write: true });
    let acquired = false, taken = false;
    try {
      taken = !await file.tryLock(true);
      acquired = !taken && await isStill(file, path);
      if (acquired) return file;
    } finally {
      if (!acquired) file.close();
    }
    if (!taken) continue;
    if (!notified) onWait?.();
    notified = true;
    await sleep(interval, signal);
  }
}

/** Whether the open file is the one that the path names now. */
async function isStill(file: Deno.FsFile, path: string): Promise<boolean> {
  const [open, named] = [await file.stat(), await Deno.stat(path).catch(() => null)];
  return named !== null && open.ino === named.ino && open.dev === named.dev;
}
