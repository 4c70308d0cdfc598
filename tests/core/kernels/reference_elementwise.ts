/**
 * References of the kernels that work element by element: fill, unary, binary, cast, and the activations.
 * The functions are written out again from their definitions, not taken from core/tensor/elementwise.ts.
 */
import type { BinaryName, UnaryName } from "../../../core/tensor/elementwise.ts";
import type { Activation } from "../../../core/tensor/kernels.ts";
import type { HostArgs, HostResult } from "./reference_types.ts";

/** Error function by its Maclaurin series below 2 and a continued fraction of erfc above (Abramowitz-Stegun 7.1.5, 7.1.14). */
export function erf(x: number): number {
  const t = Math.abs(x);
  if (t > 6) return Math.sign(x);
  if (t < 2) {
    let term = t;
    let sum = t;
    for (let n = 1; Math.abs(term) > 1e-18 * sum; n++) {
      term *= -t * t / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = t;
  for (let n = 60; n >= 1; n--) fraction = t + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-t * t) / Math.sqrt(Math.PI) / fraction);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const activations: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  silu: (x) => x * sigmoid(x),
  gelu: (x) => x / 2 * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(x, 0),
};

export function activate(activation: Activation, x: number): number {
  return activations[activation](x);
}

export const unaryFunctions: Record<UnaryName, (x: number, a: number, b: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  square: (x) => x * x,
  reciprocal: (x) => 1 / x,
  floor: Math.floor,
  tanh: Math.tanh,
  sigmoid,
  relu: activations.relu,
  elu: (x) => x > 0 ? x : Math.expm1(x),
  silu: activations.silu,
  gelu: activations.gelu,
  geluTanh: activations.geluTanh,
  affine: (x, a, b) => x * a + b,
  clamp: (x, a, b) => Math.min(Math.max(x, a), b),
  power: (x, a) => Math.pow(x, a),
};

type GradientName = Extract<BinaryName, `${string}Gradient`>;

const arithmetic: Record<Exclude<BinaryName, GradientName>, (x: number, y: number) => number> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  maximum: Math.max,
  minimum: Math.min,
  equal: (x, y) => x === y ? 1 : 0,
  less: (x, y) => x < y ? 1 : 0,
  lessEqual: (x, y) => x <= y ? 1 : 0,
};

/** Derivatives where differences of the function would step over a kink. At the kink itself: PyTorch's choice. */
const pieces: Partial<Record<UnaryName, (x: number) => number>> = {
  abs: Math.sign,
  floor: () => 0,
  relu: (x) => x > 0 ? 1 : 0,
  elu: (x) => x > 0 ? 1 : Math.exp(x),
};

/** Derivative of a unary function by central differences of its definition, good to about ten digits. */
export function derivative(name: UnaryName, x: number): number {
  const piece = pieces[name];
  if (piece) return piece(x);
  const f = (at: number) => unaryFunctions[name](at, 0, 0);
  const h = 1e-3 * Math.max(1e-3, Math.min(1, Math.abs(x)));
  // Fourth order: the error is h^4 / 30 of the fifth derivative.
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

export function binaryFunction(op: BinaryName): (x: number, y: number) => number {
  if (op in arithmetic) return arithmetic[op as keyof typeof arithmetic];
  const name = op.replace(/Gradient$/, "") as UnaryName;
  return (x, y) => y * derivative(name, x);
}

export function fill({ n, value, dtype }: HostArgs<"fill">): Record<string, HostResult> {
  if (dtype === "i32") return { out: new Int32Array(n).fill(value) };
  if (dtype === "u32") return { out: new Uint32Array(n).fill(value) };
  return { out: new Float64Array(n).fill(value) };
}

export function unary({ op, x, n, a, b }: HostArgs<"unary">): Record<string, HostResult> {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) out[i] = unaryFunctions[op as UnaryName](x[i], a, b);
  return { out };
}

export function binary({ op, x, y, shape, xStrides, yStrides }: HostArgs<"binary">): Record<string, HostResult> {
  const f = binaryFunction(op as BinaryName);
  const out: number[] = [];
  const visit = (axis: number, ix: number, iy: number) => {
    if (axis === shape.length) {
      out.push(f(x[ix], y[iy]));
      return;
    }
    for (let i = 0; i < shape[axis]; i++) visit(axis + 1, ix + i * xStrides[axis], iy + i * yStrides[axis]);
  };
  visit(0, 0, 0);
  return { out: Float64Array.from(out) };
}

export function adam(args: HostArgs<"adam">): Record<string, HostResult> {
  const { beta1, beta2, l2, decay, stepSize, correction, eps } = args;
  const parameter = Float64Array.from(args.parameter);
  const first = Float64Array.from(args.first), second = Float64Array.from(args.second);
  for (let i = 0; i < args.n; i++) {
    const g = args.gradient[i] + l2 * parameter[i];
    first[i] = beta1 * first[i] + (1 - beta1) * g;
    second[i] = beta2 * second[i] + (1 - beta2) * g ** 2;
    parameter[i] = decay * parameter[i] - stepSize * first[i] / (Math.sqrt(second[i]) / correction + eps);
  }
  return { parameter, first, second };
}

export function cast({ x, n, to }: HostArgs<"cast">): Record<string, HostResult> {
  const out =
    { f32: new Float64Array(n), f16: new Float16Array(n), i32: new Int32Array(n), u32: new Uint32Array(n) }[to];
  const toInteger = to === "i32" || to === "u32";
  for (let i = 0; i < n; i++) out[i] = toInteger ? Math.trunc(x[i]) : x[i];
  return { out };
}
