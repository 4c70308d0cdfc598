/**
 * Free disk space: how much there is, whether it is enough, and errors of a full disk. Nothing is reserved, so writes
 * may still fail.
 */
import { formatBytes } from "../../util/bytes.ts";
import { statfs } from "node:fs/promises";

/** Bytes that this user may still write to the file system of an existing folder. Needs `--allow-sys=statfs`. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Throws when fewer than `needed` bytes are free; `what` begins the message. */
export async function requireSpace(
  what: string,
  folder: string,
  needed: number,
  free: (folder: string) => Promise<number> = freeBytes,
): Promise<void> {
  const available = await free(folder);
  if (available >= needed) return;
  throw new Error(
    `${what}: needs ${formatBytes(needed)} in ${folder}, ${formatBytes(available)} are free: ` +
      `make room for ${formatBytes(needed - available)}, or name another folder with --out`,
  );
}

/** Replaces an error of a full disk (ENOSPC, EDQUOT) by one that says what to do; returns other errors unchanged. */
export function explainFull(error: unknown, what: string, rest: string): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : String(error);
  if (code !== "ENOSPC" && code !== "EDQUOT" && !/os error (28|122)\b/.test(message)) return error;
  return new Error(`${what}: the disk is full; ${rest}`, { cause: error });
}
