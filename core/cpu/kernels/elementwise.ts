/**
 * Elementwise kernels, strided copies and Adam's update. The common functions and strides run in WebAssembly
 * (core/cpu/assembly/elementwise.ts, adam.ts), the rest in TypeScript (core/cpu/loops.ts).
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import { collapse } from "../../tensor/shape.ts";
import { elementwiseLoops, extent } from "../loops.ts";
import { BYTES_PER_NS, type Context } from "./context.ts";

/** Numbers of the functions in assembly/elementwise.ts. Functions without a number run in TypeScript. */
// deno-fmt-ignore
const unaryCodes = new Map([
  "neg", "abs", "exp", "sqrt", "square", "reciprocal", "floor", "tanh", "sigmoid", "relu", "silu", "gelu", "geluTanh",
  "affine", "clamp",
].map((name, code) => [name, code]));
// deno-fmt-ignore
const binaryCodes = new Map([
  "add", "sub", "mul", "div", "maximum", "minimum", "equal", "less", "lessEqual",
  "tanhGradient", "sigmoidGradient", "reluGradient", "eluGradient", "siluGradient", "geluGradient", "geluTanhGradient",
].map((name, code) => [name, code]));

/** Nanoseconds per element of the functions that are bound by arithmetic; the others are bound by memory. */
// deno-fmt-ignore
const slow = new Map([
  ["exp", 1], ["tanh", 1.5], ["sigmoid", 1], ["silu", 1], ["gelu", 2], ["geluTanh", 1.2],
  ["tanhGradient", 1.5], ["sigmoidGradient", 1.2], ["eluGradient", 1.2], ["siluGradient", 1.2], ["geluGradient", 3],
  ["geluTanhGradient", 1.5],
]);

/** Numbers of the ways in which assembly/pack.ts casts; between integers, bits stay. */
const castCodes = new Map([["f32 i32", 0], ["f32 u32", 1], ["i32 f32", 2], ["u32 f32", 3]]);

const UNIT = 4096;
const MAX_LEAD = 5;

/** Leading sizes or strides, filled up to the fixed number of arguments. */
function lead(values: readonly number[]): number[] {
  return [...values.slice(0, -1), 0, 0, 0, 0, 0].slice(0, MAX_LEAD);
}

export function elementwiseKernels(
  context: Context,
): Pick<KernelImplementations, "fill" | "unary" | "binary" | "cast" | "stridedCopy" | "adam"> {
  const { buffers, pool } = context;
  const plain = elementwiseLoops(buffers);
  return {
    fill({ out, n, value, dtype }) {
      if (dtype === "f16") throw new Error("fill: expected a type of 4 bytes, got f16; fill f32 and cast");
      const to = buffers.at("fill", "out", out, n * 4);
      const [word] = new Int32Array((dtype === "f32" ? Float32Array : Uint32Array).of(value).buffer);
      pool.run("fill", {
        units: Math.ceil(n / UNIT),
        unitCost: Math.min(n, UNIT) * 4 / BYTES_PER_NS,
        ints: [to, n, word],
      });
    },

    unary(args) {
      const { op, n } = args;
      const code = unaryCodes.get(op);
      if (code === undefined) return plain.unary(args);
      const x = buffers.at("unary", "x", args.x, n * 4);
      const out = buffers.at("unary", "out", args.out, n * 4);
      pool.run("unary", {
        units: Math.ceil(n / UNIT),
        unitCost: Math.min(n, UNIT) * (slow.get(op) ?? 8 / BYTES_PER_NS),
        ints: [x, out, n, code],
        floats: [args.a, args.b],
      });
    },

    binary(args) {
      const code = binaryCodes.get(args.op);
      const { shape, strideSets: [xStrides, yStrides] } = collapse(args.shape, [args.xStrides, args.yStrides]);
      const last = shape.length - 1;
      const xs = xStrides[last], ys = yStrides[last], n = shape[last];
      if (code === undefined || xs < 0 || xs > 1 || ys < 0 || ys > 1 || last > MAX_LEAD) return plain.binary(args);
      const size = shape.reduce((p, d) => p * d, 1);
      if (size === 0) return;
      const pieces = Math.ceil(n / UNIT);
      pool.run("binary", {
        units: size / n * pieces,
        unitCost: 5 + Math.min(n, UNIT) * (slow.get(args.op) ?? 12 / BYTES_PER_NS),
        ints: [
          buffers.at("binary", "x", args.x, extent(shape, xStrides) * 4),
          buffers.at("binary", "y", args.y, extent(shape, yStrides) * 4),
          buffers.at("binary", "out", args.out, size * 4),
          ...[code, n, xs, ys, pieces, last],
          ...lead(shape),
          ...lead(xStrides),
          ...lead(yStrides),
        ],
      });
    },

    cast(args) {
      const { n, from, to } = args;
      if (from !== "f16" && to !== "f16") {
        pool.run("castNumbers", {
          units: Math.ceil(n / UNIT),
          unitCost: Math.min(n, UNIT),
          ints: [
            buffers.at("cast", "x", args.x, n * 4),
            buffers.at("cast", "out", args.out, n * 4),
            ...[n, from === to ? 4 : castCodes.get(`${from} ${to}`) ?? 4],
          ],
        });
        return;
      }
      if (!(from === "f16" && to === "f32" || from === "f32" && to === "f16")) return plain.cast(args);
      pool.run("castHalves", {
        units: Math.ceil(n / UNIT),
        unitCost: Math.min(n, UNIT) * (to === "f16" ? 2 : 0.75),
        ints: [
          buffers.at("cast", "x", args.x, n * (from === "f16" ? 2 : 4)),
          buffers.at("cast", "out", args.out, n * (to === "f16" ? 2 : 4)),
          ...[n, to === "f16" ? 1 : 0],
        ],
      });
    },

    adam({ parameter, first, second, gradient, n, ...values }) {
      const { beta1, beta2, l2, decay, stepSize, correction, eps } = values;
      pool.run("adam", {
        units: Math.ceil(n / UNIT),
        unitCost: Math.min(n, UNIT) * 28 / BYTES_PER_NS,
        ints: [
          buffers.at("adam", "parameter", parameter, n * 4),
          buffers.at("adam", "first", first, n * 4),
          buffers.at("adam", "second", second, n * 4),
          buffers.at("adam", "gradient", gradient, n * 4),
          n,
        ],
        floats: [beta1, 1 - beta1, beta2, 1 - beta2, l2, decay, stepSize, 1 / correction, eps],
      });
    },

    stridedCopy(args) {
      const { xOffset, outOffset } = args;
      const { shape, strideSets: [xStrides, outStrides] } = collapse(args.shape, [args.xStrides, args.outStrides]);
      const last = shape.length - 1;
      if (last > MAX_LEAD) return plain.stridedCopy(args);
      const size = shape.reduce((p, d) => p * d, 1);
      if (size === 0) return;
      const x = buffers.at("stridedCopy", "x", args.x, (xOffset + extent(shape, xStrides)) * 4);
      const out = buffers.at("stridedCopy", "out", args.out, (outOffset + extent(shape, outStrides)) * 4);
      const n = shape[last];
      const pieces = Math.ceil(n / UNIT);
      const contiguous = xStrides[last] === 1 && outStrides[last] === 1;
      pool.run("stridedCopy", {
        units: size / n * pieces,
        unitCost: 5 + Math.min(n, UNIT) * (contiguous ? 8 / BYTES_PER_NS : 2),
        ints: [
          ...[x + xOffset * 4, out + outOffset * 4, n, xStrides[last], outStrides[last], pieces, last],
          ...lead(shape),
          ...lead(xStrides),
          ...lead(outStrides),
        ],
      });
    },
  };
}
