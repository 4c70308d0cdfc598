// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The k largest elements of each row, descending. One unit is one row.
 */
import { int, ptr } from "./args.ts";

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

/**
 * The k largest of each row. A heap of the k best so far is kept where the indices will be.
 * ints: 0 x, 1 values, 2 indices, 3 n, 4 k.
 */
export function topK(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 3), k = int(args, 4);
  for (let r = begin; r < end; r++) {
    const x = ptr(args, 0) + (<usize> (r * n) << 2);
    const heap = ptr(args, 2) + (<usize> (r * k) << 2);
    const values = ptr(args, 1) + (<usize> (r * k) << 2);
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
    for (let i = 0; i < k; i++) {
      const index = load<i32>(heap + (<usize> i << 2));
      store<f32>(values + (<usize> i << 2), load<f32>(x + (<usize> index << 2)));
    }
  }
}
