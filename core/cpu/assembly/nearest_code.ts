// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The nearest code of each row: products with panels of codes in a tile, and a running minimum per row and lane.
 * Distances are never stored; ties go to the lower code.
 */
import { int, ptr } from "./args.ts";
import { block } from "./block.ts";

/** out[v] = |x[v]|^2, summed in float64. ints: 0 x, 1 out, 2 columns. One unit is one row. */
export function squaredNorms(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const n = int(args, 2);
  for (let unit = begin; unit < end; unit++) {
    let p = ptr(args, 0) + (<usize> unit * n << 2);
    let sum: f64 = 0;
    for (let i = 0; i < n; i++) {
      const x = <f64> load<f32>(p);
      sum += x * x;
      p += 4;
    }
    store<f32>(ptr(args, 1) + (<usize> unit << 2), <f32> sum);
  }
}

/**
 * ints: 0 x, 1 packed codes, 2 norms (filled up to whole panels with infinity), 3 out, 4 rows, 5 codes, 6 c, 7 rows per
 * block. scratch: address table, products [rows per block, 8], best distances and their codes, likewise.
 */
export function nearestCode(args: usize, begin: i32, end: i32, scratch: usize): void {
  const total = int(args, 4), codes = int(args, 5), c = int(args, 6), blockRows = int(args, 7);
  const panelBytes = <usize> c << 5;
  const products = scratch + (<usize> (blockRows + 15 & ~15) << 2);
  const best = products + (<usize> blockRows << 5);
  const index = best + (<usize> blockRows << 5);
  for (let unit = begin; unit < end; unit++) {
    const i0 = unit * blockRows;
    const rows = min(blockRows, total - i0);
    for (let i = 0; i < rows; i++) {
      store<u32>(scratch + (<usize> i << 2), <u32> (ptr(args, 0) + (<usize> (i0 + i) * c << 2)));
      const at = <usize> i << 5;
      v128.store(best + at, f32x4.splat(Infinity));
      v128.store(best + at, f32x4.splat(Infinity), 16);
      v128.store(index + at, i32x4.splat(0));
      v128.store(index + at, i32x4.splat(0), 16);
    }
    let panel = ptr(args, 1);
    for (let v = 0; v < codes; v += 8) {
      block(scratch, rows, 0, 1, <usize> c << 2, 0, panel, panelBytes, false, 0, 8, products, 32, 0, false);
      panel += panelBytes;
      const norms = ptr(args, 2) + (<usize> v << 2);
      const n0 = v128.load(norms), n1 = v128.load(norms, 16);
      const v0 = i32x4.add(i32x4.splat(v), i32x4(0, 1, 2, 3)), v1 = i32x4.add(v0, i32x4.splat(4));
      const two = f32x4.splat(2);
      for (let i = 0; i < rows; i++) {
        const at = <usize> i << 5;
        const d0 = f32x4.sub(n0, f32x4.mul(two, v128.load(products + at)));
        const d1 = f32x4.sub(n1, f32x4.mul(two, v128.load(products + at, 16)));
        const b0 = v128.load(best + at), b1 = v128.load(best + at, 16);
        const less0 = f32x4.lt(d0, b0), less1 = f32x4.lt(d1, b1);
        v128.store(best + at, v128.bitselect(d0, b0, less0));
        v128.store(best + at, v128.bitselect(d1, b1, less1), 16);
        v128.store(index + at, v128.bitselect(v0, v128.load(index + at), less0));
        v128.store(index + at, v128.bitselect(v1, v128.load(index + at, 16), less1), 16);
      }
    }
    for (let i = 0; i < rows; i++) {
      let distance: f32 = Infinity;
      let code = 0;
      for (let lane = 0; lane < 8; lane++) {
        const at = <usize> ((i << 3) + lane) << 2;
        const d = load<f32>(best + at);
        const v = load<i32>(index + at);
        if (d < distance || d == distance && v < code) {
          distance = d;
          code = v;
        }
      }
      store<i32>(ptr(args, 3) + (<usize> (i0 + i) << 2), code);
    }
  }
}
