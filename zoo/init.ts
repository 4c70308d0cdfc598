/**
 * Initial values of the zoo's transformers: seeded, by the rule of their family (models/init_rule.ts).
 * Tokenizers are initialised elsewhere.
 */
import { normals } from "../core/tensor/mod.ts";
import { f32ToF16, type TensorSource } from "../models/checkpoint/mod.ts";
import { fnv1a32 } from "../models/checkpoint/synthetic.ts";
import type { InitRule } from "../models/init_rule.ts";
import type { WeightSpec } from "../models/weights.ts";

/** A parameter's name and shape. */
type Parameter = Pick<WeightSpec, "name" | "shape">;

/**
 * Initial values of a parameter, row-major as a checkpoint has them; they depend on its name, its shape and the seed.
 */
export function initialValues({ name, shape }: Parameter, rule: InitRule, seed: number): Float32Array<ArrayBuffer> {
  const count = shape.reduce((product, d) => product * d, 1);
  const { std, offset, ones = [] } = rule;
  const values = new Float32Array(count).fill(offset);
  if (std > 0) {
    const random = normals(seed, fnv1a32(name), count);
    // Values beyond two deviations are drawn in towards it; the official code draws them again.
    for (let i = 0; i < count; i++) values[i] += std * Math.max(-2, Math.min(2, random[i]));
  }
  for (const [first, end] of ones) values.fill(1, first, end);
  return values;
}

/** Initial values of all parameters as a source that `loadWeights` reads. */
export function initialSource(
  specs: readonly WeightSpec[],
  ruleOf: (parameter: Parameter) => InitRule,
  seed: number,
): TensorSource {
  const tensors = new Map(specs.map(({ name, shape }) => [name, { name, shape, dtype: "f32" as const }]));
  const values = (name: string) => {
    const parameter = tensors.get(name);
    if (parameter === undefined) throw new Error(`initial values: no parameter ${name}`);
    return initialValues(parameter, ruleOf(parameter), seed);
  };
  return {
    label: `initial values, seed ${seed}`,
    tensors,
    readF32: (name) => Promise.resolve(values(name)),
    readF16: (name) => Promise.resolve(f32ToF16(values(name))),
    readI32: () => Promise.reject(new Error("initial values: there are no integers")),
    close: () => {},
  };
}
