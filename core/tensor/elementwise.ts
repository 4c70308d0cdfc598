/**
 * The elementwise functions, one row each: a forward expression that is valid both in WGSL and in TypeScript.
 * Devices generate their kernels from these rows; gradients join the same rows as expressions of `x`, `y` and `g`.
 *
 * Expressions may use + - * / and comparison, the calls exp log sqrt abs floor tanh erf min max pow and
 * select(ifFalse, ifTrue, condition); `a` and `b` are the scalar parameters of a unary op.
 */

export interface UnaryRow {
  readonly forward: string;
}

export interface BinaryRow {
  readonly forward: string;
}

const geluTanhInner = "0.7978845608028654 * (x + 0.044715 * x * x * x)";

export const unaryRows = {
  neg: { forward: "-x" },
  abs: { forward: "abs(x)" },
  exp: { forward: "exp(x)" },
  log: { forward: "log(x)" },
  sqrt: { forward: "sqrt(x)" },
  square: { forward: "x * x" },
  reciprocal: { forward: "1.0 / x" },
  floor: { forward: "floor(x)" },
  tanh: { forward: "tanh(x)" },
  sigmoid: { forward: "1.0 / (1.0 + exp(-x))" },
  relu: { forward: "max(x, 0.0)" },
  elu: { forward: "select(exp(min(x, 0.0)) - 1.0, x, x > 0.0)" },
  silu: { forward: "x / (1.0 + exp(-x))" },
  /** Exact GELU (erf), as in PyTorch's default. */
  gelu: { forward: "0.5 * x * (1.0 + erf(x * 0.7071067811865476))" },
  /** GELU by its tanh approximation. */
  geluTanh: { forward: `0.5 * x * (1.0 + tanh(${geluTanhInner}))` },
  /** x * a + b. */
  affine: { forward: "x * a + b" },
  /** x limited to [a, b]. */
  clamp: { forward: "min(max(x, a), b)" },
  /** x^a for x >= 0. */
  power: { forward: "pow(x, a)" },
} as const satisfies Record<string, UnaryRow>;

export const binaryRows = {
  add: { forward: "x + y" },
  sub: { forward: "x - y" },
  mul: { forward: "x * y" },
  div: { forward: "x / y" },
  maximum: { forward: "max(x, y)" },
  minimum: { forward: "min(x, y)" },
  equal: { forward: "select(0.0, 1.0, x == y)" },
  less: { forward: "select(0.0, 1.0, x < y)" },
  lessEqual: { forward: "select(0.0, 1.0, x <= y)" },
} as const satisfies Record<string, BinaryRow>;

export type UnaryName = keyof typeof unaryRows;
export type BinaryName = keyof typeof binaryRows;
