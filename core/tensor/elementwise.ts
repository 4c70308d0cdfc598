/**
 * The elementwise functions, one row each: forward and derivative as expressions that are valid in WGSL and in
 * TypeScript. Devices generate kernels from these rows.
 *
 * Expressions may use + - * / and comparison, the calls exp log sqrt abs floor tanh erf min max pow and
 * select(ifFalse, ifTrue, condition); `a` and `b` are the scalar parameters of a unary op.
 */

/** A function of x. */
export interface UnaryRow {
  /** An expression of x, a and b. */
  readonly forward: string;
  /** d forward / dx, as an expression of x; null where ops/elementwise.ts defines the gradient. */
  readonly derivative: string | null;
}

/** A function of x and y. */
export interface BinaryRow {
  /** An expression of x and y. */
  readonly forward: string;
}

const sigmoid = "(1.0 / (1.0 + exp(-x)))";
const normalCdf = "0.5 * (1.0 + erf(x * 0.7071067811865476))";
const normalDensity = "0.3989422804014327 * exp(-0.5 * x * x)";
const geluTanhOf = "tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))";

/** The functions of one operand. */
export const unaryRows = {
  neg: { forward: "-x", derivative: null },
  abs: { forward: "abs(x)", derivative: "select(select(0.0, -1.0, x < 0.0), 1.0, x > 0.0)" },
  exp: { forward: "exp(x)", derivative: "exp(x)" },
  log: { forward: "log(x)", derivative: "1.0 / x" },
  sqrt: { forward: "sqrt(x)", derivative: "0.5 / sqrt(x)" },
  square: { forward: "x * x", derivative: "2.0 * x" },
  reciprocal: { forward: "1.0 / x", derivative: "-1.0 / (x * x)" },
  floor: { forward: "floor(x)", derivative: "0.0" },
  tanh: { forward: "tanh(x)", derivative: "1.0 - tanh(x) * tanh(x)" },
  sigmoid: { forward: "1.0 / (1.0 + exp(-x))", derivative: `${sigmoid} * (1.0 - ${sigmoid})` },
  relu: { forward: "max(x, 0.0)", derivative: "select(0.0, 1.0, x > 0.0)" },
  elu: { forward: "select(exp(min(x, 0.0)) - 1.0, x, x > 0.0)", derivative: "exp(min(x, 0.0))" },
  silu: { forward: "x / (1.0 + exp(-x))", derivative: `${sigmoid} * (1.0 + x * (1.0 - ${sigmoid}))` },
  /** Exact GELU (erf), as in PyTorch's default. */
  gelu: { forward: `x * ${normalCdf}`, derivative: `${normalCdf} + x * ${normalDensity}` },
  /** GELU by its tanh approximation. */
  geluTanh: {
    forward: `0.5 * x * (1.0 + ${geluTanhOf})`,
    derivative: `0.5 * (1.0 + ${geluTanhOf}) + 0.5 * x * (1.0 - ${geluTanhOf} * ${geluTanhOf}) * ` +
      "0.7978845608028654 * (1.0 + 0.134145 * x * x)",
  },
  /** x * a + b. */
  affine: { forward: "x * a + b", derivative: null },
  /** x limited to [a, b]. */
  clamp: { forward: "min(max(x, a), b)", derivative: null },
  /** x^a for x >= 0. */
  power: { forward: "pow(x, a)", derivative: null },
} as const satisfies Record<string, UnaryRow>;

/** Names of the functions of one operand. */
export type UnaryName = keyof typeof unaryRows;

/** The unary functions with a derivative expression. */
export type DifferentiableName = {
  [K in UnaryName]: (typeof unaryRows)[K]["derivative"] extends string ? K : never;
}[UnaryName];
/** Rows made from derivatives. */
export type GradientName = `${DifferentiableName}Gradient`;

/** `<name>Gradient`: y f'(x) for the upstream gradient y, so that a gradient is one kernel. */
const gradientRows = Object.fromEntries(
  Object.entries(unaryRows).filter(([, row]) => row.derivative !== null)
    .map(([name, row]) => [`${name}Gradient`, { forward: `y * (${row.derivative})` }]),
) as Record<GradientName, BinaryRow>;

/** The functions of two operands, gradients included. */
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
  ...gradientRows,
} as const satisfies Record<string, BinaryRow>;

/** Names of the functions of two operands. */
export type BinaryName = keyof typeof binaryRows;
