// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Rows of a table by index. One unit is one row of the result.
 */
import { int, ptr } from "./args.ts";
import { expandHalves } from "./math.ts";

/** out[r, :] = x[index[r], :], indices clamped. ints: 0 x, 1 index, 2 out, 3 rows of x, 4 n, 5 x is halves. */
export function gatherRows(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const rowsX = int(args, 3), n = int(args, 4);
  const halves = int(args, 5) != 0;
  for (let r = begin; r < end; r++) {
    const index = max(0, min(rowsX - 1, load<i32>(ptr(args, 1) + (<usize> r << 2))));
    const out = ptr(args, 2) + (<usize> (r * n) << 2);
    if (halves) expandHalves(ptr(args, 0) + (<usize> (index * n) << 1), out, n);
    else memory.copy(out, ptr(args, 0) + (<usize> (index * n) << 2), <usize> n << 2);
  }
}
