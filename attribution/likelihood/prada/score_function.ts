/**
 * A PRADA score function as plain data: what weighs conditional against unconditional log-probabilities, the small network
 * behind it, and the weights of the scales. Computing with it is in network.ts, fitting one in fit.ts, files in file.ts.
 *
 * Source: PRADA (arXiv 2511.20068); jonasricker/prada, src/prada/prada.py, whose parameter names are kept.
 */
import { uniforms } from "../../../core/tensor/mod.ts";

/** Name of a weight, as the reference has it. `w` has one element per scale. */
export type ParameterName =
  | "alpha"
  | "w"
  | "net.0.weight"
  | "net.0.bias"
  | "net.2.weight"
  | "net.2.bias"
  | "net.4.weight"
  | "net.4.bias";

/** All of them, in the reference's order. */
export const parameterNames: readonly ParameterName[] = [
  "alpha",
  "w",
  "net.0.weight",
  "net.0.bias",
  "net.2.weight",
  "net.2.bias",
  "net.4.weight",
  "net.4.bias",
];

/** Weights by name; `parameterShapes` has their shapes. */
export type Parameters = Readonly<Record<ParameterName, Float32Array<ArrayBuffer>>>;

/** Shapes of the parameters for `hidden` units and `scales` scales. */
export function parameterShapes(hidden: number, scales: number): Readonly<Record<ParameterName, readonly number[]>> {
  return {
    "alpha": [1],
    "w": [scales],
    "net.0.weight": [hidden, 1],
    "net.0.bias": [hidden],
    "net.2.weight": [hidden, hidden],
    "net.2.bias": [hidden],
    "net.4.weight": [1, hidden],
    "net.4.bias": [1],
  };
}

/**
 * score = sum_s w_s mean_{t in scale s} net((2 - alpha) c_t - alpha u_t), where c and u are the conditional and the
 * unconditional log-probability of token t in nats, and net is 1 - hidden - hidden - 1 with ELU. Above 0: rather generated
 * by the model than not.
 */
export interface ScoreFunction {
  /** Weights by name. */
  readonly parameters: Parameters;
  /** Units of each hidden layer. */
  readonly hidden: number;
  /** Tokens per scale; null for models without scales, whatever their number of tokens. */
  readonly scaleLengths: readonly number[] | null;
}

/** Tokens of one image under one model: conditional and unconditional log-probability of each, in nats. */
export interface TokenPairs {
  /** Under the image's class. */
  readonly conditional: Float32Array;
  /** Without a class. */
  readonly unconditional: Float32Array;
}

/**
 * Puts a score function together. Throws naming the parameter whose length does not fit, scale lengths that are no
 * positive whole numbers, and values that are not finite. `what` begins the messages.
 */
export function scoreFunction(
  parameters: Parameters,
  scaleLengths: readonly number[] | null,
  what = "scoreFunction",
): ScoreFunction {
  const hidden = parameters["net.0.bias"].length;
  checkScaleLengths(scaleLengths, what);
  const scales = scaleLengths?.length ?? 1;
  for (const [name, shape] of Object.entries(parameterShapes(hidden, scales))) {
    const values = parameters[name as ParameterName];
    const expected = shape.reduce((product, d) => product * d, 1);
    if (values.length !== expected || expected === 0) {
      const hint = name === "w" ? `, one per scale of [${scaleLengths ?? "one scale"}]` : "";
      throw new Error(`${what}: ${name} expects ${expected} values${hint}, got ${values.length}`);
    }
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new Error(`${what}: ${name}[${wrong}] is ${values[wrong]}`);
  }
  return { parameters, hidden, scaleLengths };
}

/** Throws on scale lengths that are not at least one positive whole number. */
export function checkScaleLengths(scaleLengths: readonly number[] | null, what: string): void {
  if (scaleLengths === null) return;
  if (scaleLengths.length === 0 || !scaleLengths.every((n) => Number.isSafeInteger(n) && n > 0)) {
    throw new Error(`${what}: scale lengths expect positive whole numbers, got [${scaleLengths}]`);
  }
}

/**
 * Where a fit starts: alpha 1, equal scale weights, and layers drawn as torch.nn.Linear draws them, uniform within
 * 1 / sqrt(inputs), from `seed`.
 */
export function initialScoreFunction(
  scaleLengths: readonly number[] | null,
  { hidden = 16, seed = 0 }: { readonly hidden?: number; readonly seed?: number } = {},
): ScoreFunction {
  if (!(Number.isSafeInteger(hidden) && hidden > 0)) {
    throw new Error(`initialScoreFunction: hidden expects a positive whole number, got ${hidden}`);
  }
  const scales = scaleLengths?.length ?? 1;
  const shapes = parameterShapes(hidden, scales);
  const draw = (name: ParameterName, stream: number) => {
    const inputs = name.startsWith("net.0.") ? 1 : hidden;
    const count = shapes[name].reduce((product, d) => product * d, 1);
    return uniforms(seed, stream, count).map((u) => (2 * u - 1) / Math.sqrt(inputs));
  };
  const parameters = Object.fromEntries(parameterNames.map((name, stream) => [
    name,
    name === "alpha"
      ? Float32Array.of(1)
      : name === "w"
      ? new Float32Array(scales).fill(1 / scales)
      : draw(name, stream),
  ])) as Record<ParameterName, Float32Array<ArrayBuffer>>;
  return scoreFunction(parameters, scaleLengths, "initialScoreFunction");
}
