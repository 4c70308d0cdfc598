/**
 * One process at a time: a lock on a file that the operating system gives back when its holder ends, however it ends.
 * It deliberately does not protect against processes that do not ask for it.
 */
import { sleep } from "./retry.ts";

/** How often a taken lock is asked for again, in milliseconds. */
const interval = 200;

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once when another process holds the lock. */
  readonly onWait?: () => void;
}

/** Runs `body` while this process holds the lock file `path`, which is there only as long as somebody holds it. */
export async function withLock<T>(path: string, options: LockOptions, body: () => Promise<T>): Promise<T> {
  const file = await acquire(path, options);
  try {
    return await body();
  } finally {
    // Removed while it is held: whoever opened it meanwhile sees that the name means another file, and opens again.
    await Deno.remove(path).catch(() => {});
    file.close();
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions): Promise<Deno.FsFile> {
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    const file = await Deno.open(path, { create: true, write: true });
    let mine = false, taken = false;
    try {
      taken = !await file.tryLock(true);
      mine = !taken && await isStill(file, path);
      if (mine) return file;
    } finally {
      if (!mine) file.close();
    }
    if (!taken) continue;
    if (!told) onWait?.();
    told = true;
    await sleep(interval, signal);
  }
}

/** Whether the open file is the one that the path names now. */
async function isStill(file: Deno.FsFile, path: string): Promise<boolean> {
  const [open, named] = [await file.stat(), await Deno.stat(path).catch(() => null)];
  return named !== null && open.ino === named.ino && open.dev === named.dev;
}
