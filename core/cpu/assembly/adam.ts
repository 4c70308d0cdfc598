// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/** Adam's update of parameters and moments in place. core/tensor/kernels.ts has the formula. */
import { float, int, loadTail, ptr, storeTail } from "./args.ts";

/** Elements per unit. */
const UNIT: i32 = 4096;

/**
 * ints: 0 parameter, 1 first, 2 second, 3 gradient, 4 n. floats: 0 beta1, 1 1 - beta1, 2 beta2, 3 1 - beta2, 4 l2, 5
 * decay, 6 step size, 7 1 / correction, 8 eps. One unit is 4096 elements.
 */
export function adam(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const start = <usize> begin * UNIT << 2;
  let w = ptr(args, 0) + start, first = ptr(args, 1) + start, second = ptr(args, 2) + start, g = ptr(args, 3) + start;
  const b1 = f32x4.splat(float(args, 0)), c1 = f32x4.splat(float(args, 1));
  const b2 = f32x4.splat(float(args, 2)), c2 = f32x4.splat(float(args, 3));
  const l2 = f32x4.splat(float(args, 4)), decay = f32x4.splat(float(args, 5)), step = f32x4.splat(float(args, 6));
  const scale = f32x4.splat(float(args, 7)), eps = f32x4.splat(float(args, 8));
  for (let left = min(int(args, 4), end * UNIT) - begin * UNIT; left > 0; left -= 4) {
    const whole = left >= 4;
    const p = whole ? v128.load(w) : loadTail(w, left);
    let m = whole ? v128.load(first) : loadTail(first, left);
    let v = whole ? v128.load(second) : loadTail(second, left);
    let d = whole ? v128.load(g) : loadTail(g, left);
    d = f32x4.add(d, f32x4.mul(l2, p));
    m = f32x4.add(f32x4.mul(b1, m), f32x4.mul(c1, d));
    v = f32x4.add(f32x4.mul(b2, v), f32x4.mul(c2, f32x4.mul(d, d)));
    const divisor = f32x4.add(f32x4.mul(f32x4.sqrt(v), scale), eps);
    const next = f32x4.sub(f32x4.mul(decay, p), f32x4.mul(f32x4.div(m, divisor), step));
    if (whole) {
      v128.store(w, next);
      v128.store(first, m);
      v128.store(second, v);
    } else {
      storeTail(w, next, left);
      storeTail(first, m, left);
      storeTail(second, v, left);
    }
    w += 16;
    first += 16;
    second += 16;
    g += 16;
  }
}
