/**
 * Elementwise ops: one op per row of ../elementwise.ts, with NumPy broadcasting for two operands. An activation that
 * follows a matrix product or a norm is faster as an option of that op (linear.ts, conv.ts, norm.ts).
 */
import { full } from "../create.ts";
import {
  type BinaryName,
  binaryRows,
  type DifferentiableName,
  type GradientName,
  type UnaryName,
  unaryRows,
} from "../elementwise.ts";
import type { DType } from "../kernels.ts";
import { apply, defineOp, expectType, type Op } from "../op.ts";
import { broadcastShapes, broadcastStrides, collapse } from "../shape.ts";
import { setArithmetic } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./broadcast.ts";

interface UnaryParams {
  readonly a: number;
  readonly b: number;
}

type UnaryGradient = (x: Tensor, upstream: Tensor, params: UnaryParams) => Tensor;

/** Gradients of the rows without a derivative expression. */
const specialGradients: { readonly [K in Exclude<UnaryName, DifferentiableName>]: UnaryGradient } = {
  neg: (_, upstream) => neg(upstream),
  affine: (_, upstream, { a }) => unary("affine", upstream, a, 0),
  clamp: (x, upstream, { a, b }) => {
    const limit = (value: number) => full(x.device, [1], value);
    return mul(upstream, mul(lessEqual(limit(a), x), lessEqual(x, limit(b))));
  },
  power: (x, upstream, { a }) => mul(upstream, affine(power(x, a - 1), a)),
};

function unaryOp(name: UnaryName): Op<{ x: Tensor }, UnaryParams> {
  const gradientOf: UnaryGradient = name in specialGradients
    ? specialGradients[name as keyof typeof specialGradients]
    : (x, upstream) => binary(`${name as DifferentiableName}Gradient`, x, upstream);
  return defineOp({
    name,
    infer({ x }) {
      expectType(name, "x", x, "f32");
      return [{ shape: x.shape, dtype: "f32" }];
    },
    forward(device, { x }, [out], { a, b }) {
      device.run("unary", { op: name, x: x.storage, out: out.storage, n: x.size, a, b });
    },
    gradient: ({ inputs: { x }, upstream: [g], params }) => ({ x: gradientOf(x, g, params) }),
    saves: name === "affine" || name === "neg" ? [] : ["x"],
  });
}

type PlainBinaryName = Exclude<BinaryName, GradientName>;

/** Gradients with the shape of the result; g is the upstream. A side is left out where its gradient is zero. */
const binaryGradients: {
  readonly [K in PlainBinaryName]: {
    readonly x?: (g: Tensor, x: Tensor, y: Tensor) => Tensor;
    readonly y?: (g: Tensor, x: Tensor, y: Tensor) => Tensor;
    readonly saves: readonly string[];
  };
} = {
  add: { x: (g) => g, y: (g) => g, saves: [] },
  sub: { x: (g) => g, y: (g) => neg(g), saves: [] },
  mul: { x: (g, _, y) => mul(g, y), y: (g, x) => mul(g, x), saves: ["x", "y"] },
  div: { x: (g, _, y) => div(g, y), y: (g, x, y) => neg(div(mul(g, x), square(y))), saves: ["x", "y"] },
  // Equal operands share the gradient, as in PyTorch.
  maximum: {
    x: (g, x, y) => mul(g, affine(add(lessEqual(y, x), less(y, x)), 0.5)),
    y: (g, x, y) => mul(g, affine(add(lessEqual(x, y), less(x, y)), 0.5)),
    saves: ["x", "y"],
  },
  minimum: {
    x: (g, x, y) => mul(g, affine(add(lessEqual(x, y), less(x, y)), 0.5)),
    y: (g, x, y) => mul(g, affine(add(lessEqual(y, x), less(y, x)), 0.5)),
    saves: ["x", "y"],
  },
  equal: { saves: [] },
  less: { saves: [] },
  lessEqual: { saves: [] },
};

function binaryOp(name: BinaryName): Op<{ x: Tensor; y: Tensor }, null> {
  const rules = name in binaryGradients ? binaryGradients[name as PlainBinaryName] : null;
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
    gradient: rules === null
      ? "second derivatives are not implemented"
      : ({ inputs: { x, y }, upstream: [g], needs }) => ({
        x: needs.x && rules.x ? sumTo(rules.x(g, x, y), x.shape) : undefined,
        y: needs.y && rules.y ? sumTo(rules.y(g, x, y), y.shape) : undefined,
      }),
    saves: rules?.saves,
  });
}

function mapRows<K extends string, V>(rows: Readonly<Record<K, unknown>>, make: (name: K) => V): Record<K, V> {
  return Object.fromEntries((Object.keys(rows) as K[]).map((name) => [name, make(name)])) as Record<K, V>;
}

/** The unary ops by name. */
export const unaryOps: Record<UnaryName, Op<{ x: Tensor }, UnaryParams>> = mapRows(unaryRows, unaryOp);
/** The binary ops by name. */
export const binaryOps: Record<BinaryName, Op<{ x: Tensor; y: Tensor }, null>> = mapRows(binaryRows, binaryOp);

/** Applies a unary row of ../elementwise.ts; `a` and `b` are its scalar parameters. */
export function unary(name: UnaryName, x: Tensor, a: number = 0, b: number = 0): Tensor {
  return apply(unaryOps[name], { x }, { a, b });
}

/** Applies a binary row of ../elementwise.ts with NumPy broadcasting. Throws TypeError when shapes do not broadcast. */
export function binary(name: BinaryName, x: Tensor, y: Tensor): Tensor {
  return apply(binaryOps[name], { x, y }, null);
}

// All take and return f32. Those of two operands broadcast as NumPy does, and throw TypeError where shapes do not fit.

/** x + y. */
export const add = (x: Tensor, y: Tensor): Tensor => binary("add", x, y);
/** x - y. */
export const sub = (x: Tensor, y: Tensor): Tensor => binary("sub", x, y);
/** x * y, element by element. */
export const mul = (x: Tensor, y: Tensor): Tensor => binary("mul", x, y);
/** x / y. */
export const div = (x: Tensor, y: Tensor): Tensor => binary("div", x, y);
/** The larger of x and y; equal operands share the gradient. */
export const maximum = (x: Tensor, y: Tensor): Tensor => binary("maximum", x, y);
/** The smaller of x and y; equal operands share the gradient. */
export const minimum = (x: Tensor, y: Tensor): Tensor => binary("minimum", x, y);
/** 1 where x = y, else 0. */
export const equal = (x: Tensor, y: Tensor): Tensor => binary("equal", x, y);
/** 1 where x < y, else 0. */
export const less = (x: Tensor, y: Tensor): Tensor => binary("less", x, y);
/** 1 where x <= y, else 0. */
export const lessEqual = (x: Tensor, y: Tensor): Tensor => binary("lessEqual", x, y);
/** -x. */
export const neg = (x: Tensor): Tensor => unary("neg", x);
/** |x|; the gradient at 0 is 0. */
export const abs = (x: Tensor): Tensor => unary("abs", x);
/** e^x. */
export const exp = (x: Tensor): Tensor => unary("exp", x);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => unary("log", x);
/** Square root. */
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
/** x^2. */
export const square = (x: Tensor): Tensor => unary("square", x);
/** 1 / x. */
export const reciprocal = (x: Tensor): Tensor => unary("reciprocal", x);
/** The largest whole number that is at most x; the gradient is 0. */
export const floor = (x: Tensor): Tensor => unary("floor", x);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
/** 1 / (1 + e^-x). */
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
/** max(x, 0). */
export const relu = (x: Tensor): Tensor => unary("relu", x);
/** x where x > 0, else e^x - 1. */
export const elu = (x: Tensor): Tensor => unary("elu", x);
/** x * sigmoid(x). */
export const silu = (x: Tensor): Tensor => unary("silu", x);
/** Exact GELU (erf), PyTorch's default. */
export const gelu = (x: Tensor): Tensor => unary("gelu", x);
/** GELU by its tanh approximation. */
export const geluTanh = (x: Tensor): Tensor => unary("geluTanh", x);
/** scale * x + offset, with numbers. */
export const affine = (x: Tensor, scale: number, offset: number = 0): Tensor => unary("affine", x, scale, offset);
/** x limited to [low, high]; the gradient is 0 outside. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => unary("clamp", x, low, high);
/** x^exponent, for x >= 0. */
export const power = (x: Tensor, exponent: number): Tensor => unary("power", x, exponent);

export const castOp: Op<{ x: Tensor }, { to: DType }> = defineOp({
  name: "cast",
  infer({ x }: { x: Tensor }, { to }: { to: DType }) {
    expectType("cast", "x", x, "f32", "f16", "i32", "u32");
    return [{ shape: x.shape, dtype: to }];
  },
  forward(device, { x }, [out], { to }) {
    device.run("cast", { x: x.storage, out: out.storage, n: x.size, from: x.dtype, to });
  },
  gradient: "the result is an integer, or came from one",
});

/** Converts the type. f32 to integers truncates towards zero and saturates. */
export const cast = (x: Tensor, to: DType): Tensor => apply(castOp, { x }, { to });

setArithmetic({ add, onesLike: (x) => full(x.device, x.shape, 1) });
