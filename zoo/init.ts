/**
 * Initial values of the zoo's transformers: seeded, and as the official training code chooses them where it matters.
 * Tokenizers are initialised elsewhere. Source: FoundationVision/VAR, models/var.py (`init_weights`), used for both families.
 */
import { fnv1a32 } from "../models/checkpoint/synthetic.ts";
import { f32ToF16, type TensorSource } from "../models/checkpoint/mod.ts";
import { normals } from "../core/tensor/mod.ts";
import type { WeightSpec } from "../models/weights.ts";

/** Depth and width decide how large values are. */
export interface InitOptions {
  readonly seed: number;
  readonly depth: number;
  readonly width: number;
}

/** Standard deviation (normal, cut at two of them) and offset of a parameter's values. */
export interface InitRule {
  readonly std: number;
  readonly offset: number;
}

/**
 * The rule for one parameter. Maps and embeddings have sqrt(1 / 3 width); those that write into the residual stream are
 * smaller by sqrt(2 depth), so that depth does not change its size; adaLN tables start near no modulation; the head starts
 * small, so that the first predictions are near uniform. Gates start at one, not near zero as in the official code, which
 * trains a thousand times longer: blocks are near the identity through their small output maps instead.
 */
export function initRule(name: string, shape: readonly number[], { depth, width }: InitOptions): InitRule {
  const std = Math.sqrt(1 / (3 * width));
  const zero = { std: 0, offset: 0 };
  if (name.endsWith(".scale_mul_1H11")) return { std: 0, offset: Math.log(4) };
  if (name.endsWith(".ada_gss")) return { std: 0.02 * std, offset: 0 };
  if (/adaLN_modulation|ada_lin/.test(name)) return name.endsWith("bias") ? zero : { std: 0.1 * std, offset: 0 };
  if (shape.length === 1) return { std: 0, offset: /norm\d?\.weight$/.test(name) ? 1 : 0 };
  if (/(attn\.proj|fc2)\.weight$/.test(name)) return { std: std / Math.sqrt(2 * depth), offset: 0 };
  if (/^(lm_head|head)\.weight$/.test(name)) return { std: 0.1 * std, offset: 0 };
  return { std, offset: 0 };
}

/** Elements of an adaLN bias that are gates: chunks 2 and 5 of six for RAR, 0 and 1 of six for VAR. */
function gateChunks(name: string): readonly number[] {
  if (/^blocks\.\d+\.adaLN_modulation\.1\.bias$/.test(name)) return [2, 5];
  if (/^(shared_ada_lin\.1|blocks\.\d+\.ada_lin\.1)\.bias$/.test(name)) return [0, 1];
  return [];
}

/** Initial values of one parameter, row-major as a checkpoint has them. */
export function initialValues(
  name: string,
  shape: readonly number[],
  options: InitOptions,
): Float32Array<ArrayBuffer> {
  const count = shape.reduce((product, d) => product * d, 1);
  const { std, offset } = initRule(name, shape, options);
  const values = new Float32Array(count).fill(offset);
  if (std > 0) {
    const random = normals(options.seed, fnv1a32(name), count);
    // Values beyond two deviations are drawn in towards it; the official code draws them again.
    for (let i = 0; i < count; i++) values[i] += std * Math.max(-2, Math.min(2, random[i]));
  }
  for (const chunk of gateChunks(name)) values.fill(1, chunk * options.width, (chunk + 1) * options.width);
  return values;
}

/** Initial values of all parameters as a source that `loadWeights` reads. */
export function initialSource(specs: readonly WeightSpec[], options: InitOptions): TensorSource {
  const tensors = new Map(specs.map(({ name, shape }) => [name, { name, shape, dtype: "f32" as const }]));
  const values = (name: string) => {
    const info = tensors.get(name);
    if (!info) throw new Error(`initial values: no parameter ${name}`);
    return initialValues(name, info.shape, options);
  };
  return {
    label: `initial values, seed ${options.seed}`,
    tensors,
    readF32: (name) => Promise.resolve(values(name)),
    readF16: (name) => Promise.resolve(f32ToF16(values(name))),
    readI32: () => Promise.reject(new Error("initial values: there are no integers")),
    close: () => {},
  };
}
