// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The k largest elements of each row, descending. One unit is one row. A few of them are kept in a heap while the row is
 * read; many are those above a threshold, which is found by bisection, and are sorted then.
 */
import { int, loadTail, ptr } from "./args.ts";

/** Whether element `i` of a row comes after element `j` in descending order, ties by lower index. */
@inline
function after(x: usize, i: i32, j: i32): bool {
  const a = load<f32>(x + (<usize> i << 2)), b = load<f32>(x + (<usize> j << 2));
  return a < b || a == b && i > j;
}

/** Restores the heap of `size` indices at `heap`, whose root comes last in order, below position `at`. */
function sink(x: usize, heap: usize, size: i32, at: i32): void {
  const item = load<i32>(heap + (<usize> at << 2));
  while (true) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (
      child + 1 < size &&
      after(x, load<i32>(heap + (<usize> child << 2), 4), load<i32>(heap + (<usize> child << 2)))
    ) child++;
    const below = load<i32>(heap + (<usize> child << 2));
    if (!after(x, below, item)) break;
    store<i32>(heap + (<usize> at << 2), below);
    at = child;
  }
  store<i32>(heap + (<usize> at << 2), item);
}

/** Fewer than this are kept in a heap. */
const SELECTED: i32 = 16;
/** Values of a digit when the elements are sorted. */
const DIGITS: i32 = 256;

/**
 * ints: 0 x, 1 values, 2 indices, 3 n, 4 k. scratch: where k is at least `SELECTED`, a key of 4 bytes per element of a
 * row, rounded up to four of them, two numbers of 8 bytes per element of the result, and 4 KiB.
 */
export function topK(args: usize, begin: i32, end: i32, scratch: usize): void {
  const n = int(args, 3), k = int(args, 4);
  for (let r = begin; r < end; r++) {
    const x = ptr(args, 0) + (<usize> (r * n) << 2);
    const indices = ptr(args, 2) + (<usize> (r * k) << 2);
    const values = ptr(args, 1) + (<usize> (r * k) << 2);
    if (k < SELECTED) keepInHeap(x, indices, n, k);
    else select(x, indices, n, k, scratch);
    for (let i = 0; i < k; i++) {
      const index = load<i32>(indices + (<usize> i << 2));
      store<f32>(values + (<usize> i << 2), load<f32>(x + (<usize> index << 2)));
    }
  }
}

/** Indices of the k largest of n elements, in order. The heap of the k best so far is where they will be. */
function keepInHeap(x: usize, heap: usize, n: i32, k: i32): void {
  for (let i = 0; i < k; i++) store<i32>(heap + (<usize> i << 2), i);
  for (let i = (k >> 1) - 1; i >= 0; i--) sink(x, heap, k, i);
  let least = load<f32>(x + (<usize> load<i32>(heap) << 2));
  for (let i = k; i < n; i++) {
    // Most rows are long: passes over eight elements that are all out of the question.
    const bound = f32x4.splat(least);
    while (i + 8 <= n) {
      const at = x + (<usize> i << 2);
      if (v128.any_true(v128.or(f32x4.gt(v128.load(at), bound), f32x4.gt(v128.load(at, 16), bound)))) break;
      i += 8;
    }
    if (i == n) break;
    // A later element that equals the least one comes after it.
    if (!(load<f32>(x + (<usize> i << 2)) > least)) continue;
    store<i32>(heap, i);
    sink(x, heap, k, 0);
    least = load<f32>(x + (<usize> load<i32>(heap) << 2));
  }
  for (let size = k - 1; size > 0; size--) {
    const last = load<i32>(heap);
    store<i32>(heap, load<i32>(heap + (<usize> size << 2)));
    store<i32>(heap + (<usize> size << 2), last);
    sink(x, heap, size, 0);
  }
}

/** Integers that are ordered as the floats are, both zeros alike; up to three of the least one at the end. */
function keysOf(x: usize, keys: usize, n: i32): void {
  let i = 0;
  for (; i < n; i += 4) {
    const v = n - i >= 4 ? v128.load(x) : loadTail(x, n - i);
    const bits = f32x4.add(v, f32x4.splat(0));
    v128.store(keys, v128.xor(bits, v128.and(i32x4.shr_s(bits, 31), i32x4.splat(0x7fffffff))));
    x += 16;
    keys += 16;
  }
  for (; i > n; i--) {
    keys -= 4;
    store<i32>(keys, i32.MIN_VALUE);
  }
}

/** How many of the keys, in fours, are at least `least`. */
function atLeast(keys: usize, fours: i32, least: i32): i32 {
  const bound = i32x4.splat(least);
  let a = i32x4.splat(0), b = a;
  for (; fours >= 2; fours -= 2) {
    a = i32x4.sub(a, i32x4.ge_s(v128.load(keys), bound));
    b = i32x4.sub(b, i32x4.ge_s(v128.load(keys, 16), bound));
    keys += 32;
  }
  if (fours > 0) a = i32x4.sub(a, i32x4.ge_s(v128.load(keys), bound));
  a = i32x4.add(a, b);
  return i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3);
}

/** Indices of the k largest of n elements, in order. */
function select(x: usize, indices: usize, n: i32, k: i32, keys: usize): void {
  const fours = n + 3 >> 2;
  const items = keys + (<usize> fours << 4);
  keysOf(x, keys, n);
  // The largest threshold that k keys or more reach.
  let low = i32.MIN_VALUE, high = i32.MAX_VALUE;
  let reaching = n;
  while (low < high && reaching != k) {
    const apart = <u32> (high - low);
    const middle = low + <i32> ((apart >> 1) + (apart & 1));
    const count = atLeast(keys, fours, middle);
    if (count >= k) {
      low = middle;
      reaching = count;
    } else high = middle - 1;
  }
  // Of the elements that equal the threshold, the first ones.
  let equals = reaching == k ? k : k - (low == i32.MAX_VALUE ? 0 : atLeast(keys, fours, low + 1));
  const bound = i32x4.splat(low);
  let count = 0;
  for (let i = 0; i < n && count < k; i += 4) {
    const four = keys + (<usize> i << 2);
    if (!v128.any_true(i32x4.ge_s(v128.load(four), bound))) continue;
    // Without branches, which would be guesses: what is not taken is written over, or lies beyond the k-th one.
    for (let j = 0; j < 4; j++) {
      const key = load<i32>(four + (<usize> j << 2));
      // Larger numbers come first, and of equal ones those with lower indices.
      store<u64>(items + (<usize> count << 3), <u64> <u32> (key ^ i32.MIN_VALUE) << 32 | <u64> <u32> (i + j));
      const equal = i32(key == low);
      count += i32(key > low) | equal & i32(equals > 0);
      equals -= equal;
    }
  }
  const sorted = sort(items, items + (<usize> k << 3), k, items + (<usize> k << 4));
  for (let i = 0; i < k; i++) store<i32>(indices + (<usize> i << 2), <i32> load<u64>(sorted + (<usize> i << 3)));
}

/**
 * Sorts k numbers by their upper halves, descending, equal ones as they were, with room for as many at `other`, and for
 * the counts of four digits of 8 bits at `counts`. Returns where they are.
 */
function sort(items: usize, other: usize, k: i32, counts: usize): usize {
  memory.fill(counts, 0, 4 * DIGITS << 2);
  for (let i = 0; i < k; i++) {
    const key = ~load<u32>(items + (<usize> i << 3), 4);
    for (let d = 0; d < 4; d++) {
      const at = counts + (<usize> (d * DIGITS + (key >> 8 * d & DIGITS - 1)) << 2);
      store<i32>(at, load<i32>(at) + 1);
    }
  }
  for (let d = 0; d < 4; d++) {
    const table = counts + (<usize> (d * DIGITS) << 2);
    // A digit that all have alike moves nothing.
    if (load<i32>(table + (<usize> (~load<u32>(items, 4) >> 8 * d & DIGITS - 1) << 2)) == k) continue;
    let before = 0;
    for (let j = 0; j < DIGITS; j++) {
      const count = load<i32>(table + (<usize> j << 2));
      store<i32>(table + (<usize> j << 2), before);
      before += count;
    }
    for (let i = 0; i < k; i++) {
      const item = load<u64>(items + (<usize> i << 3));
      const at = table + (<usize> (~<u32> (item >> 32) >> 8 * d & DIGITS - 1) << 2);
      const to = load<i32>(at);
      store<i32>(at, to + 1);
      store<u64>(other + (<usize> to << 3), item);
    }
    const swapped = items;
    items = other;
    other = swapped;
  }
  return items;
}
