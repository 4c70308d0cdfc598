/** Copies a file without some ranges of its bytes, such as metadata. */
export class ByteRanges {
  #copy: Uint8Array | undefined;
  #length = 0;
  /** Bytes before this offset are copied or dropped. */
  #done = 0;

  /** `bytes` stay as they are. A copy has room for a tail of 2 bytes. */
  constructor(readonly bytes: Uint8Array) {}

  /** Drops the bytes from `start` up to `end`. Ranges must come in their order. */
  drop(start: number, end: number): void {
    this.#copyUpTo(start);
    this.#done = end;
  }

  /** The bytes up to `end` without what was dropped, then `tail`. The file itself if nothing differs. */
  keptUpTo(end: number, tail: readonly number[] = []): Uint8Array {
    if (this.#copy === undefined && tail.length === 0) return this.bytes.subarray(0, end);
    this.#copyUpTo(end);
    this.#copy!.set(tail, this.#length);
    return this.#copy!.subarray(0, this.#length + tail.length);
  }

  #copyUpTo(end: number): void {
    this.#copy ??= new Uint8Array(this.bytes.length + 2);
    if (end <= this.#done) return;
    this.#copy.set(this.bytes.subarray(this.#done, end), this.#length);
    this.#length += end - this.#done;
  }
}
