/**
 * Which bytes of a file are present: sorted, disjoint ranges that grow, and the gaps between them.
 */

/** Bytes `start .. end`, end exclusive. */
export type Range = readonly [start: number, end: number];

/** A growing set of bytes. */
export class Ranges {
  #ranges: Range[] = [];

  /** Throws unless the ranges are sorted, disjoint, not empty and within `0 .. size`. */
  static checked(ranges: unknown, size: number): Ranges {
    const result = new Ranges();
    let last = 0;
    if (!Array.isArray(ranges)) throw new Error("ranges: expected a list");
    for (const range of ranges) {
      const [start, end] = Array.isArray(range) ? range : [];
      if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < last || end <= start || end > size) {
        throw new Error(`ranges: expected sorted ranges within 0..${size}, got ${JSON.stringify(range)}`);
      }
      last = end;
      result.add(start, end);
    }
    return result;
  }

  /** Adds bytes, some of which may be present already. */
  add(start: number, end: number): void {
    if (end <= start) return;
    const before = this.#ranges.filter((range) => range[1] < start);
    const after = this.#ranges.filter((range) => range[0] > end);
    const touched = this.#ranges.slice(before.length, this.#ranges.length - after.length);
    const merged: Range = [Math.min(start, touched[0]?.[0] ?? start), Math.max(end, touched.at(-1)?.[1] ?? end)];
    this.#ranges = [...before, merged, ...after];
  }

  /** Number of bytes. */
  get bytes(): number {
    return this.#ranges.reduce((sum, [start, end]) => sum + end - start, 0);
  }

  /** The gaps of `0 .. size`, in order, in pieces of at most `longest` bytes. */
  gaps(size: number, longest: number): Range[] {
    const gaps: Range[] = [];
    let at = 0;
    for (const [start, end] of [...this.#ranges, [size, size] as const]) {
      for (; at < start; at = Math.min(start, at + longest)) gaps.push([at, Math.min(start, at + longest)]);
      at = end;
    }
    return gaps;
  }

  toJSON(): readonly Range[] {
    return this.#ranges;
  }
}
