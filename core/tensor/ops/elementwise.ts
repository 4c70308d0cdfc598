/**
 * Elementwise ops: one op per row of ../elementwise.ts, with NumPy broadcasting for two operands.
 * Activations that follow a matrix product or a norm are better fused into it (see matmul.ts, norm.ts).
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

/** Gradients of the rows that have no derivative of their own. */
const ownGradients: { readonly [K in Exclude<UnaryName, DifferentiableName>]: UnaryGradient } = {
  neg: (_, upstream) => neg(upstream),
  affine: (_, upstream, { a }) => unary("affine", upstream, a, 0),
  clamp: (x, upstream, { a, b }) => {
    const limit = (value: number) => full(x.device, [1], value);
    return mul(upstream, mul(lessEqual(limit(a), x), lessEqual(x, limit(b))));
  },
  power: (x, upstream, { a }) => mul(upstream, affine(power(x, a - 1), a)),
};

function unaryOp(name: UnaryName): Op<{ x: Tensor }, UnaryParams> {
  const own: UnaryGradient = name in ownGradients
    ? ownGradients[name as keyof typeof ownGradients]
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
    gradient: ({ inputs: { x }, upstream: [g], params }) => ({ x: own(x, g, params) }),
    saves: name === "affine" || name === "neg" ? [] : ["x"],
  });
}

type PlainBinaryName = Exclude<BinaryName, GradientName>;

/** Gradients before broadcasting is undone: g is the upstream; a side may be left out where it is zero. */
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
  gradient: "the result is an integer, or came from one",
});

/** Converts the type; f32 to integers truncates towards zero. */
export const cast = (x: Tensor, to: DType): Tensor => apply(castOp, { x }, { to });

setArithmetic({ add, onesLike: (x) => full(x.device, x.shape, 1) });
