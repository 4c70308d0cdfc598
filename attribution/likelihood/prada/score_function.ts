/**
 * A PRADA score function as data: the weight of conditional against unconditional log-probabilities, a small network,
 * and the weights of the scales. network.ts computes with it, fit.ts fits one, file.ts reads and writes them.
 *
 * Source: PRADA (arXiv 2511.20068); jonasricker/prada, src/prada/prada.py. Parameters have the reference's names.
 */
import { uniforms } from "../../../core/tensor/mod.ts";

/** Name of a parameter in the reference. `w` has one element per scale. */
export type ParameterName =
  | "alpha"
  | "w"
  | "net.0.weight"
  | "net.0.bias"
  | "net.2.weight"
  | "net.2.bias"
  | "net.4.weight"
  | "net.4.bias";

/** All parameters, in the reference's order. */
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

/** Parameters by name. `parameterShapes` has their shapes. */
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
 * A function from log-probabilities to a score, which is above 0 if the model more likely generated the image than not:
 *
 *   score = sum_s w_s mean_{t in scale s} net((2 - alpha) c_t - alpha u_t).
 *
 * c_t and u_t are the conditional and the unconditional log-probability of token t in nats. net is a network with
 * layers of 1, hidden, hidden and 1 units and ELU between them.
 */
export interface ScoreFunction {
  /** Parameters by name. */
  readonly parameters: Parameters;
  /** Units of each hidden layer. */
  readonly hidden: number;
  /** Tokens per scale; null for models without scales, which may have any number of tokens. */
  readonly scaleLengths: readonly number[] | null;
}

/** Log-probabilities of one image's tokens under one model, in nats. */
export interface TokenPairs {
  /** Under the image's class. */
  readonly conditional: Float32Array;
  /** Without a class. */
  readonly unconditional: Float32Array;
}

/**
 * Makes a score function from its parameters. Throws on parameters of another length, on values that are not finite,
 * and on scale lengths that are not positive whole numbers. `what` begins the messages.
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
      throw new RangeError(`${what}: ${name} expects ${expected} values${hint}, got ${values.length}`);
    }
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new RangeError(`${what}: ${name}[${wrong}] is ${values[wrong]}`);
  }
  return { parameters, hidden, scaleLengths };
}

/** Throws unless scale lengths are null or positive whole numbers, at least one. */
export function checkScaleLengths(scaleLengths: readonly number[] | null, what: string): void {
  if (scaleLengths === null) return;
  if (scaleLengths.length === 0 || !scaleLengths.every((n) => Number.isSafeInteger(n) && n > 0)) {
    throw new RangeError(`${what}: scale lengths expect positive whole numbers, got [${scaleLengths}]`);
  }
}

/**
 * The start of a fit: alpha is 1, scale weights are equal, and layers are drawn from `seed` as torch.nn.Linear does,
 * uniformly within +-1 / sqrt(inputs). Throws if `hidden` is not a positive whole number.
 */
export function initialScoreFunction(
  scaleLengths: readonly number[] | null,
  { hidden = 16, seed = 0 }: { readonly hidden?: number; readonly seed?: number } = {},
): ScoreFunction {
  if (!(Number.isSafeInteger(hidden) && hidden > 0)) {
    throw new RangeError(`initialScoreFunction: hidden expects a positive whole number, got ${hidden}`);
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
