/**
 * sha256 of bytes and of files. Files may be of any size: they are read in order, through one buffer.
 */

/** sha256 as lower-case hexadecimal digits. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Options of `hashFile`. */
export interface HashOptions {
  /** Ends the reading with its reason. */
  readonly signal?: AbortSignal;
  /** Bytes hashed so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** sha256 of a file as lower-case hexadecimal digits. */
export async function hashFile(path: string, { signal, onProgress }: HashOptions = {}): Promise<string> {
  const { createHash } = await import("node:crypto"); // here, because a page has sha256Hex only
  using file = await Deno.open(path);
  const hash = createHash("sha256");
  // Two buffers: one is read into while the other is hashed.
  const buffers = [new Uint8Array(1 << 22), new Uint8Array(1 << 22)];
  let turn = 0, done = 0;
  let next = file.read(buffers[turn]);
  for (let n = await next; n !== null; n = await next) {
    const filled = buffers[turn].subarray(0, n);
    turn = 1 - turn;
    next = file.read(buffers[turn]);
    hash.update(filled);
    onProgress?.(done += n);
    if (signal?.aborted) {
      await next;
      signal.throwIfAborted();
    }
  }
  return hash.digest("hex");
}
