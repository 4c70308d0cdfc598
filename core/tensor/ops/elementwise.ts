/**
 * Elementwise ops: one op per row of ../elementwise.ts, with NumPy broadcasting for two operands.
 * Activations that follow a matrix product or a norm are better fused into it (see matmul.ts, norm.ts).
 */
import { type BinaryName, binaryRows, type UnaryName, unaryRows } from "../elementwise.ts";
import type { DType } from "../kernels.ts";
import { apply, defineOp, expectType, type Op } from "../op.ts";
import { broadcastShapes, broadcastStrides, collapse } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

interface UnaryParams {
  readonly a: number;
  readonly b: number;
}

function unaryOp(name: UnaryName): Op<{ x: Tensor }, UnaryParams> {
  return defineOp({
    name,
    infer({ x }) {
      expectType(name, "x", x, "f32");
      return [{ shape: x.shape, dtype: "f32" }];
    },
    forward(device, { x }, [out], { a, b }) {
      device.run("unary", { op: name, x: x.storage, out: out.storage, n: x.size, a, b });
    },
  });
}

function binaryOp(name: BinaryName): Op<{ x: Tensor; y: Tensor }, null> {
  return defineOp({
    name,
    infer({ x, y }) {
      expectType(name, "x", x, "f32");
      expectType(name, "y", y, "f32");
      return [{ shape: broadcastShapes(name, x.shape, y.shape), dtype: "f32" }];
    },
    forward(device, { x, y }, [out]) {
      const { shape, strideSets: [xStrides, yStrides] } = collapse(out.shape, [
        broadcastStrides(x.shape, out.shape),
        broadcastStrides(y.shape, out.shape),
      ]);
      device.run("binary", { op: name, x: x.storage, y: y.storage, out: out.storage, shape, xStrides, yStrides });
    },
  });
}

function mapRows<K extends string, V>(rows: Readonly<Record<K, unknown>>, make: (name: K) => V): Record<K, V> {
  return Object.fromEntries((Object.keys(rows) as K[]).map((name) => [name, make(name)])) as Record<K, V>;
}

export const unaryOps = mapRows(unaryRows, unaryOp);
export const binaryOps = mapRows(binaryRows, binaryOp);

/** Applies a unary row; `a` and `b` are its scalar parameters. */
export function unary(name: UnaryName, x: Tensor, a = 0, b = 0): Tensor {
  return apply(unaryOps[name], { x }, { a, b });
}

/** Applies a binary row with broadcasting. */
export function binary(name: BinaryName, x: Tensor, y: Tensor): Tensor {
  return apply(binaryOps[name], { x, y }, null);
}

export const add = (x: Tensor, y: Tensor): Tensor => binary("add", x, y);
export const sub = (x: Tensor, y: Tensor): Tensor => binary("sub", x, y);
export const mul = (x: Tensor, y: Tensor): Tensor => binary("mul", x, y);
export const div = (x: Tensor, y: Tensor): Tensor => binary("div", x, y);
export const maximum = (x: Tensor, y: Tensor): Tensor => binary("maximum", x, y);
export const minimum = (x: Tensor, y: Tensor): Tensor => binary("minimum", x, y);
export const equal = (x: Tensor, y: Tensor): Tensor => binary("equal", x, y);
export const less = (x: Tensor, y: Tensor): Tensor => binary("less", x, y);
export const lessEqual = (x: Tensor, y: Tensor): Tensor => binary("lessEqual", x, y);
export const neg = (x: Tensor): Tensor => unary("neg", x);
export const abs = (x: Tensor): Tensor => unary("abs", x);
export const exp = (x: Tensor): Tensor => unary("exp", x);
export const log = (x: Tensor): Tensor => unary("log", x);
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
export const square = (x: Tensor): Tensor => unary("square", x);
export const reciprocal = (x: Tensor): Tensor => unary("reciprocal", x);
export const floor = (x: Tensor): Tensor => unary("floor", x);
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
export const relu = (x: Tensor): Tensor => unary("relu", x);
export const elu = (x: Tensor): Tensor => unary("elu", x);
export const silu = (x: Tensor): Tensor => unary("silu", x);
/** Exact GELU (erf). */
export const gelu = (x: Tensor): Tensor => unary("gelu", x);
/** GELU by its tanh approximation. */
export const geluTanh = (x: Tensor): Tensor => unary("geluTanh", x);
/** scale * x + offset. */
export const affine = (x: Tensor, scale: number, offset = 0): Tensor => unary("affine", x, scale, offset);
/** x limited to [low, high]. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => unary("clamp", x, low, high);
/** x^exponent, for x >= 0. */
export const power = (x: Tensor, exponent: number): Tensor => unary("power", x, exponent);

export const castOp = defineOp({
  name: "cast",
  infer({ x }: { x: Tensor }, { to }: { to: DType }) {
    expectType("cast", "x", x, "f32", "f16", "i32", "u32");
    return [{ shape: x.shape, dtype: to }];
  },
  forward(device, { x }, [out], { to }) {
    device.run("cast", { x: x.storage, out: out.storage, n: x.size, from: x.dtype, to });
  },
});

/** Converts the type; f32 to integers truncates towards zero. */
export const cast = (x: Tensor, to: DType): Tensor => apply(castOp, { x }, { to });
