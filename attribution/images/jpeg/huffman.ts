// Huffman codes and the bit stream of an entropy-coded segment (ITU T.81, annexes C and F.2.2). It reads bits and symbols
// and knows nothing about blocks; running out of bits is an error here, never a run of zeros.

import { UnreadableImageError } from "../image.ts";

const FAST_BITS = 9;

export interface HuffmanTable {
  /** By the next 9 bits: code length << 8 | symbol; 0 if the code is longer. */
  readonly fast: Uint16Array;
  /** By code length: the largest code of that length, -1 for none; index 17 is a sentinel. */
  readonly maxCode: Int32Array;
  /** By code length: what to add to a code to get its index in `symbols`. */
  readonly offset: Int32Array;
  readonly symbols: Uint8Array;
}

/** The table of the canonical code with `counts[i]` codes of length i + 1. */
export function buildHuffmanTable(counts: Uint8Array, symbols: Uint8Array): HuffmanTable {
  const fast = new Uint16Array(1 << FAST_BITS);
  const maxCode = new Int32Array(18).fill(-1);
  const offset = new Int32Array(17);
  let code = 0;
  let index = 0;
  for (let length = 1; length <= 16; length++) {
    offset[length] = index - code;
    for (let i = 0; i < counts[length - 1]; i++, code++, index++) {
      if (code >= 1 << length) throw new UnreadableImageError("corrupt", "JPEG: overfull Huffman table");
      if (length <= FAST_BITS) {
        const first = code << (FAST_BITS - length);
        fast.fill((length << 8) | symbols[index], first, first + (1 << (FAST_BITS - length)));
      }
      maxCode[length] = code;
    }
    code <<= 1;
  }
  return { fast, maxCode, offset, symbols };
}

/** Reads bits from `at` up to the next marker; 0xff 0x00 stands for the byte 0xff. */
export class BitReader {
  readonly #bytes: Uint8Array;
  #at: number;
  #buffer = 0;
  #count = 0; // valid low bits of #buffer, at most 32
  #ended = false;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** Where reading has got to: at or before the next marker. */
  get position(): number {
    return this.#at;
  }

  #fill(): void {
    const bytes = this.#bytes;
    while (this.#count <= 24 && !this.#ended) {
      const byte = bytes[this.#at];
      if (byte === 0xff) {
        if (bytes[this.#at + 1] !== 0) {
          this.#ended = true;
          return;
        }
        this.#at += 2;
      } else if (byte === undefined) {
        this.#ended = true;
        return;
      } else this.#at++;
      this.#buffer = (this.#buffer << 8) | byte;
      this.#count += 8;
    }
  }

  /** The next `n` bits, 0..16, as an unsigned number. */
  bits(n: number): number {
    if (this.#count < n) {
      this.#fill();
      if (this.#count < n) this.#outOfBits();
    }
    this.#count -= n;
    return (this.#buffer >>> this.#count) & ((1 << n) - 1);
  }

  /** `n` bits in the signed form of T.81, table F.1: the lower half of the range stands for negative numbers. */
  signed(n: number): number {
    if (n === 0) return 0;
    const value = this.bits(n);
    return value < 1 << (n - 1) ? value - (1 << n) + 1 : value;
  }

  symbol(table: HuffmanTable): number {
    if (this.#count < 16) this.#fill();
    const count = this.#count;
    const next = count >= FAST_BITS ? this.#buffer >>> (count - FAST_BITS) : this.#buffer << (FAST_BITS - count);
    const entry = table.fast[next & ((1 << FAST_BITS) - 1)];
    if (entry !== 0) {
      const length = entry >> 8;
      if (length > count) this.#outOfBits();
      this.#count -= length;
      return entry & 255;
    }
    for (let length = FAST_BITS + 1; length <= 16; length++) {
      if (length > count) this.#outOfBits();
      const code = (this.#buffer >>> (count - length)) & ((1 << length) - 1);
      if (code <= table.maxCode[length]) {
        this.#count -= length;
        return table.symbols[code + table.offset[length]];
      }
    }
    throw new UnreadableImageError("corrupt", `JPEG: invalid Huffman code before byte ${this.#at}`);
  }

  /** Drops the padding bits and steps over the restart marker that must come now. `index` counts modulo 8. */
  restart(index: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++; // fill bytes
    if (at + 1 >= bytes.length) this.#outOfBits();
    if (bytes[at] !== 0xff || bytes[at + 1] !== 0xd0 + index) {
      throw new UnreadableImageError("corrupt", `JPEG: expected the restart marker ${index} at byte ${at}`);
    }
    this.#at = at + 2;
    this.#buffer = this.#count = 0;
    this.#ended = false;
  }

  #outOfBits(): never {
    if (this.#at + 1 >= this.#bytes.length) {
      throw new UnreadableImageError("truncated", `JPEG: the file ends within a scan (${this.#bytes.length} bytes)`);
    }
    throw new UnreadableImageError("corrupt", `JPEG: a scan ends early, at the marker at byte ${this.#at}`);
  }
}
