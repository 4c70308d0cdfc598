/**
 * Bytes at known positions: a file or memory that is read by random access, and a cursor that walks over bytes in order.
 */

/** A span of bytes that can be read piecewise; offsets are relative to the span's first byte. */
export interface ByteRange {
  /** Length in bytes. */
  readonly size: number;
  /** Fills `into` from `offset` on. Rejects when the span ends earlier. */
  read(offset: number, into: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** Bytes that a checkpoint is read from: a file (RandomAccessFile), or memory, as on a page (BytesInMemory). */
export interface RandomAccess extends ByteRange {
  /** File name (never an absolute path), for messages. */
  readonly label: string;
  /** Reads without yielding; meant for small indexes. Throws when the bytes end earlier. */
  readSync(offset: number, into: Uint8Array<ArrayBuffer>): void;
  /** Closing twice is allowed, reading afterwards is an error. */
  close(): void;
}

/** The last component of a path: messages name files by it. */
export function fileLabel(path: string): string {
  return path.split(/[/\\]/).filter((part) => part !== "").at(-1) ?? path;
}

/** Throws when the bytes `offset .. offset + length` do not lie inside a span of `size` bytes. */
function requireInside(label: string, size: number, offset: number, length: number): void {
  const valid = Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0;
  if (valid && offset + length <= size) return;
  throw new Error(
    `${label}: truncated or damaged: expected ${length} bytes at offset ${offset}, got ${
      Math.max(0, size - offset)
    } (the file has ${size})`,
  );
}

/** A regular file opened for random access; every read is checked against the file's size first. */
export class RandomAccessFile implements RandomAccess {
  readonly label: string;
  readonly size: number;
  readonly #file: Deno.FsFile;
  #last: Promise<unknown> = Promise.resolve();
  #open = true;

  private constructor(label: string, file: Deno.FsFile, size: number) {
    this.label = label;
    this.#file = file;
    this.size = size;
  }

  /** Opens `path`; errors begin with the file's name. */
  static async open(path: string): Promise<RandomAccessFile> {
    const label = fileLabel(path);
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true });
    } catch (cause) {
      const why = cause instanceof Deno.errors.NotFound
        ? "no such file"
        : cause instanceof Error
        ? cause.message
        : String(cause);
      throw new Error(`${label}: cannot be opened: ${why}`, { cause });
    }
    const stat = await file.stat();
    if (!stat.isFile) {
      file.close();
      throw new Error(`${label}: cannot be opened: not a regular file`);
    }
    return new RandomAccessFile(label, file, stat.size);
  }

  readSync(offset: number, into: Uint8Array<ArrayBuffer>): void {
    requireInside(this.label, this.size, offset, into.length);
    this.#requireOpen();
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    let done = 0;
    while (done < into.length) {
      const count = this.#file.readSync(into.subarray(done));
      if (count === null) throw new Error(`${this.label}: shrank while it was read`);
      done += count;
    }
  }

  /** Reads are queued, because they share one file position. */
  read(offset: number, into: Uint8Array<ArrayBuffer>): Promise<void> {
    const result = this.#last.then(async () => {
      requireInside(this.label, this.size, offset, into.length);
      this.#requireOpen();
      // Synchronous: the read must have started before the caller goes on to block the event loop.
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      let done = 0;
      while (done < into.length) {
        const count = await this.#file.read(into.subarray(done));
        if (count === null) throw new Error(`${this.label}: shrank while it was read`);
        done += count;
      }
    });
    this.#last = result.catch(() => {});
    return result;
  }

  #requireOpen(): void {
    if (!this.#open) throw new Error(`${this.label}: read after close()`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
  }
}

/** A whole file in memory. */
export class BytesInMemory implements RandomAccess {
  readonly label: string;
  readonly size: number;
  #bytes: Uint8Array | undefined;

  /** `label` is the file's name, for messages. The bytes are not copied: leave them as they are. */
  constructor(label: string, bytes: Uint8Array) {
    this.label = label;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  readSync(offset: number, into: Uint8Array<ArrayBuffer>): void {
    requireInside(this.label, this.size, offset, into.length);
    if (this.#bytes === undefined) throw new Error(`${this.label}: read after close()`);
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  // deno-lint-ignore require-await -- errors reject
  async read(offset: number, into: Uint8Array<ArrayBuffer>): Promise<void> {
    this.readSync(offset, into);
  }

  close(): void {
    this.#bytes = undefined;
  }
}

/** Part of another range, itself a range. */
export function subRange(whole: ByteRange, start: number, size: number, label: string): ByteRange {
  requireInside(label, whole.size, start, size);
  return {
    size,
    read(offset, into) {
      try {
        requireInside(label, size, offset, into.length);
      } catch (error) {
        return Promise.reject(error);
      }
      return whole.read(start + offset, into);
    },
  };
}

/**
 * Walks over bytes in order, from memory or from a file in blocks. Every length is checked against what remains before
 * anything of that length is made, so a damaged length cannot ask for memory.
 */
export class ByteCursor {
  /** What is read, for messages. */
  readonly label: string;
  readonly #end: number;
  readonly #fill: ((offset: number, into: Uint8Array<ArrayBuffer>) => void) | undefined;
  #block: Uint8Array<ArrayBuffer>;
  #blockStart: number;
  #position: number;

  private constructor(
    label: string,
    start: number,
    end: number,
    block: Uint8Array<ArrayBuffer>,
    fill?: (offset: number, into: Uint8Array<ArrayBuffer>) => void,
  ) {
    this.label = label;
    this.#block = block;
    this.#blockStart = start;
    this.#position = start;
    this.#end = end;
    this.#fill = fill;
  }

  /** Over bytes in memory. */
  static overBytes(label: string, bytes: Uint8Array<ArrayBuffer>): ByteCursor {
    return new ByteCursor(label, 0, bytes.length, bytes);
  }

  /** Over at most `limit` bytes of a file, from `start` on, 64 KiB at a time. */
  static overFile(file: RandomAccess, start: number, limit: number): ByteCursor {
    const end = Math.min(file.size, start + limit);
    return new ByteCursor(file.label, start, end, new Uint8Array(0), (offset, into) => file.readSync(offset, into));
  }

  /** Offset of the next byte, from the beginning of the file or of the bytes. */
  get position(): number {
    return this.#position;
  }

  /** Bytes left. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  /** The next byte. */
  u8(): number {
    return this.take(1)[0];
  }

  /** The next `length` bytes; the array is valid only until the next call. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (!(length >= 0 && length <= this.remaining)) {
      throw new Error(
        `${this.label}: truncated or damaged: expected ${length} bytes at offset ${this.#position}, ` +
          `got ${this.remaining}`,
      );
    }
    let from = this.#position - this.#blockStart;
    if (from + length > this.#block.length && this.#fill !== undefined) {
      const size = Math.min(Math.max(length, 65536), this.remaining);
      this.#block = new Uint8Array(size);
      this.#blockStart = this.#position;
      this.#fill(this.#position, this.#block);
      from = 0;
    }
    this.#position += length;
    return this.#block.subarray(from, from + length);
  }

  /** Bytes up to the next newline, which is consumed and left out; at most `limit` of them. */
  line(limit: number): Uint8Array<ArrayBuffer> {
    const bytes: number[] = [];
    for (;;) {
      const byte = this.u8();
      if (byte === 0x0a) return Uint8Array.from(bytes);
      if (bytes.push(byte) > limit) throw new Error(`${this.label}: damaged: text line of more than ${limit} bytes`);
    }
  }
}
