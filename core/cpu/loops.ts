/**
 * Elementwise kernels in TypeScript: loops generated from the rows of core/tensor/elementwise.ts, computed in float64
 * and rounded once. They serve functions without a WebAssembly kernel.
 */
import { binaryRows, unaryRows } from "../tensor/elementwise.ts";
import type { KernelImplementations } from "../tensor/kernels.ts";
import type { Buffers } from "./storage.ts";

/** erf in float64: Taylor series near zero, continued fraction of erfc beyond (Abramowitz and Stegun 7.1.5, 7.1.14). */
function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return NaN;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = a;
  for (let n = 60; n >= 1; n--) fraction = a + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * fraction));
}

const prelude = `
  const { exp, log, sqrt, abs, floor, tanh, min, max, pow } = Math;
  const select = (ifFalse, ifTrue, condition) => condition ? ifTrue : ifFalse;
`;

type UnaryLoop = (x: Float32Array, out: Float32Array, n: number, a: number, b: number) => void;
type BinaryLoop = (
  x: Float32Array,
  y: Float32Array,
  out: Float32Array,
  n: number,
  x0: number,
  xStride: number,
  y0: number,
  yStride: number,
  out0: number,
) => void;

const unaryLoops = new Map<string, UnaryLoop>();
const binaryLoops = new Map<string, BinaryLoop>();

function unaryLoop(op: string): UnaryLoop {
  let loop = unaryLoops.get(op);
  if (loop === undefined) {
    if (!Object.hasOwn(unaryRows, op)) throw new Error(`unary: no operation is called ${JSON.stringify(op)}`);
    const { forward } = unaryRows[op as keyof typeof unaryRows];
    loop = new Function(
      "erf",
      `${prelude} return (X, OUT, N, a, b) => {
        for (let i = 0; i < N; i++) { const x = X[i]; OUT[i] = ${forward}; }
      };`,
    )(erf) as UnaryLoop;
    unaryLoops.set(op, loop);
  }
  return loop;
}

function binaryLoop(op: string): BinaryLoop {
  let loop = binaryLoops.get(op);
  if (loop === undefined) {
    if (!Object.hasOwn(binaryRows, op)) throw new Error(`binary: no operation is called ${JSON.stringify(op)}`);
    const { forward } = binaryRows[op as keyof typeof binaryRows];
    loop = new Function(
      "erf",
      `${prelude} return (X, Y, OUT, N, X0, XS, Y0, YS, O0) => {
        for (let i = 0; i < N; i++) { const x = X[X0 + i * XS], y = Y[Y0 + i * YS]; OUT[O0 + i] = ${forward}; }
      };`,
    )(erf) as BinaryLoop;
    binaryLoops.set(op, loop);
  }
  return loop;
}

/** Calls `visit` with one offset per operand for every index of all axes but the last. */
function forEachRun(
  shape: readonly number[],
  strideSets: readonly (readonly number[])[],
  visit: (offsets: readonly number[]) => void,
): void {
  const lead = shape.length - 1;
  if (shape.some((d) => d === 0)) return;
  const index = new Array<number>(lead).fill(0);
  const offsets = strideSets.map(() => 0);
  for (;;) {
    visit(offsets);
    let d = lead - 1;
    for (; d >= 0; d--) {
      index[d]++;
      strideSets.forEach((strides, s) => offsets[s] += strides[d]);
      if (index[d] < shape[d]) break;
      strideSets.forEach((strides, s) => offsets[s] -= strides[d] * shape[d]);
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/** One more than the largest offset that `strides` reaches over `shape`. */
export function extent(shape: readonly number[], strides: readonly number[]): number {
  if (shape.some((d) => d === 0)) return 0;
  return shape.reduce((sum, d, i) => sum + (d - 1) * strides[i], 1);
}

export function elementwiseLoops(
  buffers: Buffers,
): Pick<KernelImplementations, "fill" | "unary" | "binary" | "cast" | "stridedCopy"> {
  return {
    fill({ out, n, value, dtype }) {
      if (dtype === "f16") throw new Error("fill: expected a type of 4 bytes, got f16; fill f32 and cast");
      if (dtype === "f32") buffers.f32("fill", "out", out, n).fill(value);
      else buffers.u32("fill", "out", out, n).fill(value);
    },
    unary({ op, x, out, n, a, b }) {
      unaryLoop(op)(buffers.f32("unary", "x", x, n), buffers.f32("unary", "out", out, n), n, a, b);
    },
    binary({ op, x, y, out, shape, xStrides, yStrides }) {
      const loop = binaryLoop(op);
      const last = shape.length - 1;
      const X = buffers.f32("binary", "x", x, extent(shape, xStrides));
      const Y = buffers.f32("binary", "y", y, extent(shape, yStrides));
      const OUT = buffers.f32("binary", "out", out, shape.reduce((p, d) => p * d, 1));
      let o = 0;
      forEachRun(shape, [xStrides, yStrides], ([x0, y0]) => {
        loop(X, Y, OUT, shape[last], x0, xStrides[last], y0, yStrides[last], o);
        o += shape[last];
      });
    },
    cast({ x, out, n, from, to }) {
      const read = from === "f16" ? buffers.f16("cast", "x", x, n) : buffers[from]("cast", "x", x, n);
      if (to === "f16") buffers.f16("cast", "out", out, n).set(read);
      else if (to === "f32") buffers.f32("cast", "out", out, n).set(read);
      else {
        const write = buffers[to]("cast", "out", out, n);
        // Saturating, as WebAssembly and WGSL convert; a plain store would wrap around.
        const [low, high] = from === "f32" || from === "f16"
          ? (to === "i32" ? [-0x80000000, 0x7fffffff] : [0, 0xffffffff])
          : [-Infinity, Infinity];
        for (let i = 0; i < n; i++) write[i] = Math.min(Math.max(Math.trunc(read[i]), low), high);
      }
    },
    stridedCopy({ x, out, shape, xStrides, xOffset, outStrides, outOffset }) {
      const last = shape.length - 1;
      const X = buffers.u32("stridedCopy", "x", x, xOffset + extent(shape, xStrides));
      const OUT = buffers.u32("stridedCopy", "out", out, outOffset + extent(shape, outStrides));
      const n = shape[last], xs = xStrides[last], os = outStrides[last];
      forEachRun(shape, [xStrides, outStrides], ([x0, o0]) => {
        x0 += xOffset;
        o0 += outOffset;
        for (let i = 0; i < n; i++) OUT[o0 + i * os] = X[x0 + i * xs];
      });
    },
  };
}
