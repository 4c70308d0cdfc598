/**
 * Training of the zoo's tokenizers from nothing, on crops of photographs.
 * The losses belong to the models, the loop is in loop.ts; here are data, revival of unused codes, figures and the file.
 */
import { join } from "node:path";
import {
  type Device,
  disposeAll,
  fromArray,
  mean,
  scope,
  square,
  sub,
  type Tensor,
  uniforms,
  warmupCosineLr,
} from "../core/tensor/mod.ts";
import { f32ToF16 } from "../models/checkpoint/half.ts";
import { openCheckpoint, type SafetensorsEntry, syntheticSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { familyNamed } from "../models/registry.ts";
import type { Quantised, TokenizerLoss } from "../models/tokenizer_training.ts";
import { joinParts, partNames, type Weights, type WeightSpec } from "../models/weights.ts";
import { zooFamily } from "./families.ts";
import type { TokenizerRecipe } from "./family.ts";
import type { Crops } from "./images.ts";
import { optimise } from "./loop.ts";
import { fileHash } from "./places.ts";

export interface TokenizerRun {
  readonly device: Device;
  readonly recipe: TokenizerRecipe;
  readonly train: Crops;
  readonly heldOut: Crops;
  /** Folder of the state and the log. */
  readonly dir: string;
  /** The finished tokenizer that the recipe begins from, where it names one. */
  readonly init?: string;
  /** Where the finished tokenizer goes, f16 safetensors. */
  readonly out: string;
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
}

/** Steps between revivals of unused codes, which end after this share of the steps, and between evaluations. */
const revivalSteps = 50, revivalShare = 0.7, evaluationSteps = 250;
const heldOutImages = 256;

const codebookName = "quantize.embedding.weight";
const stream = { order: 0x7a6f6f31, flip: 0x7a6f6f32, revive: 0x7a6f6f33 };

/** Trains to the end, or until `signal` fires (call it again to go on). Returns the figures of the last evaluation. */
export async function trainTokenizer(run: TokenizerRun): Promise<{ done: boolean; figures: Record<string, number> }> {
  const { device, recipe, train, heldOut, dir, init, signal, log } = run;
  const start: Record<string, string> = init === undefined ? {} : { init: await fileHash(init, "tokenizers") };
  const trainee = await Tokenizer.open(device, recipe, init);
  try {
    const revival = new Revival(trainee.codebook, recipe);
    const result = await optimise({
      course: {
        steps: recipe.steps,
        lr: warmupCosineLr(recipe.lr, 100, recipe.steps, recipe.lr / 20),
        adam: { betas: [0.9, 0.99] },
        every: evaluationSteps,
      },
      parameters: trainee.parameters,
      dir,
      fingerprint: JSON.stringify({ recipe, data: train.fingerprint, ...start }),
      loss: (step) => {
        const images = trainee.images(batchPixels(train, recipe, step));
        return { ...trainee.loss(images, step, (seen) => revival.observe(step, seen)) };
      },
      after: (step) => revival.after(step),
      evaluate: () => evaluate(trainee, heldOut),
      signal,
      log: (line) => log?.(`${recipe.name}: ${line}`),
    });
    if (result.done) {
      await trainee.save(run.out, { ...result.figures, seconds: result.seconds }, {
        data: train.fingerprint,
        ...start,
      });
    }
    return { done: result.done, figures: { ...result.figures } };
  } finally {
    trainee.dispose();
  }
}

/** Pixels in [0, 1] of one batch: crops drawn uniformly, half of them mirrored. */
function batchPixels(crops: Crops, { seed, batch }: TokenizerRecipe, step: number): Float32Array<ArrayBuffer> {
  const draws = uniforms(seed + step, stream.order, batch), flips = uniforms(seed + step, stream.flip, batch);
  return cropPixels(crops, Array.from(draws, (u) => Math.floor(u * crops.count)), (i) => flips[i] < 0.5);
}

/** Crops as pixels in [0, 1], [n, side, side, 3], mirrored where wanted. */
export function cropPixels(
  { pixels, side }: Crops,
  indices: readonly number[],
  mirrored: (i: number) => boolean = () => false,
): Float32Array<ArrayBuffer> {
  const each = side * side * 3;
  const values = new Float32Array(indices.length * each);
  indices.forEach((index, i) => {
    const from = index * each, to = i * each, flip = mirrored(i);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const source = from + (y * side + (flip ? side - 1 - x : x)) * 3, target = to + (y * side + x) * 3;
        for (let c = 0; c < 3; c++) values[target + c] = pixels[source + c] / 255;
      }
    }
  });
  return values;
}

/**
 * PSNR over held-out crops, how evenly the codes are used (their number and the exponential of their entropy), and the
 * family's further figures.
 */
async function evaluate(trainee: Tokenizer, heldOut: Crops): Promise<Record<string, number>> {
  const { family } = trainee;
  const counts = new Float64Array(family.codes);
  const count = Math.min(heldOutImages, heldOut.count);
  const { network, seed } = trainee.recipe;
  const further: Record<string, number> = {};
  let squares = 0;
  for (let start = 0; start < count; start += 32) {
    // Spread over the whole split, since neighbours come from the same photograph.
    const indices = Array.from(
      { length: Math.min(32, count - start) },
      (_, i) => Math.floor((start + i) * heldOut.count / count),
    );
    const [low, high] = family.valueRange;
    const images = trainee.images(cropPixels(heldOut, indices));
    const { error, tokens, more } = scope(() => {
      const { tokens, fHat } = family.quantize(family.encode(images));
      const decoded = family.decode(fHat);
      const error = mean(square(sub(decoded, images)));
      const more = zooFamily(network.kind).heldOutFigures?.(family, decoded, tokens, { seed, step: start }) ?? {};
      return { error, tokens, more };
    });
    squares += indices.length * await error.item() / (high - low) ** 2;
    for (const token of await tokens.ints()) counts[token]++;
    for (const [name, figure] of Object.entries(more)) {
      further[name] = (further[name] ?? 0) + indices.length * await figure.item();
    }
    disposeAll([images, error, tokens, more]);
  }
  const total = counts.reduce((sum, n) => sum + n, 0);
  const entropy = counts.reduce((sum, n) => n === 0 ? sum : sum - n / total * Math.log(n / total), 0);
  return {
    psnr: -10 * Math.log10(squares / count),
    usedCodes: counts.reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0),
    perplexity: Math.exp(entropy),
    ...Object.fromEntries(Object.entries(further).map(([name, sum]) => [name, sum / count])),
  };
}

/** A tokenizer with dense weights that are trained in place. */
class Tokenizer {
  private constructor(
    readonly device: Device,
    readonly recipe: TokenizerRecipe,
    readonly specs: readonly WeightSpec[],
    readonly weights: Weights,
    readonly family: ImageTokenizer,
    readonly parameters: ReadonlyMap<string, Tensor>,
  ) {}

  /** With initial values, or those of the file `init`, of which the codes are not taken. */
  static async open(device: Device, recipe: TokenizerRecipe, init?: string): Promise<Tokenizer> {
    const { network, seed, name } = recipe;
    const family = familyNamed(network.kind);
    const specs = family.tokenizerSpecs(network.config);
    // Weights in [-s, s] with the variance 1 / fan-in, biases near 0 and gains near 1; the codes are drawn from latents later.
    const synthetic = syntheticSource(`zoo-${name}-${seed}`, specs);
    const start = init === undefined ? null : await openCheckpoint(init);
    const source = start
      ? { ...synthetic, readF32: (tensor: string) => (tensor === codebookName ? synthetic : start).readF32(tensor) }
      : synthetic;
    const tokenizer = await family.loadTokenizer(device, source, network.config, { dense: () => true })
      .finally(() => start?.close());
    const { weights } = tokenizer;
    const parameters = new Map(specs.flatMap(partNames).map((part) => [part, weights.get(part)]));
    return new Tokenizer(device, recipe, specs, weights, tokenizer, parameters);
  }

  get codebook(): Tensor {
    return this.weights.get(codebookName);
  }

  images(pixels: Float32Array<ArrayBuffer>): Tensor {
    const { imageSize, valueRange: [low, high] } = this.family;
    const values = pixels.map((value) => value * (high - low) + low);
    return fromArray(this.device, values, [values.length / (imageSize * imageSize * 3), imageSize, imageSize, 3]);
  }

  loss(images: Tensor, step: number, observe: (quantised: Quantised) => void): TokenizerLoss {
    return zooFamily(this.recipe.network.kind).tokenizerLoss(images, this.family, this.recipe, step, observe);
  }

  async save(
    path: string,
    figures: Readonly<Record<string, number>>,
    from: Readonly<Record<string, string>>,
  ): Promise<void> {
    const entries: SafetensorsEntry[] = [];
    for (const spec of this.specs) {
      const parts = new Map<string, Float32Array>();
      for (const part of partNames(spec)) parts.set(part, await this.parameters.get(part)!.data());
      const joined = joinParts(spec, (part) => parts.get(part)!);
      const values = spec.inverse ? spec.inverse(joined) : joined;
      entries.push({ name: spec.name, shape: spec.shape, dtype: "f16", data: () => f32ToF16(values) });
    }
    await writeSafetensors(path, entries, {
      format: "model-tracer-tokenizer/1",
      recipe: JSON.stringify(this.recipe),
      ...from,
      metrics: JSON.stringify(figures),
    });
  }

  dispose(): void {
    this.family.dispose();
  }
}

/** Codes that were not chosen for a while are put where vectors are; at first, all of them. */
class Revival {
  readonly #codebook: Tensor;
  readonly #recipe: TokenizerRecipe;
  readonly #used: Float64Array;
  #seen: Quantised | null = null;

  constructor(codebook: Tensor, recipe: TokenizerRecipe) {
    this.#codebook = codebook;
    this.#recipe = recipe;
    this.#used = new Float64Array(codebook.shape[0]);
  }

  observe(_step: number, seen: Quantised): void {
    this.#seen = seen;
  }

  async after(step: number): Promise<void> {
    const { vectors, tokens } = this.#seen!;
    for (const token of await tokens.ints()) this.#used[token]++;
    const due = step === 0 || ((step + 1) % revivalSteps === 0 && step < revivalShare * this.#recipe.steps);
    if (due) await this.#revive(step, await vectors.data());
    if (due || (step + 1) % revivalSteps === 0) this.#used.fill(0);
    disposeAll([vectors, tokens]);
    this.#seen = null;
  }

  /** Places codes with less than a twentieth of their fair share at random vectors of the last batch. */
  async #revive(step: number, vectors: Float32Array<ArrayBuffer>): Promise<void> {
    const [codes, channels] = this.#codebook.shape;
    const values = await this.#codebook.data();
    const total = this.#used.reduce((sum, n) => sum + n, 0);
    const draws = uniforms(this.#recipe.seed + step, stream.revive, codes);
    const rows = vectors.length / channels;
    for (let code = 0; code < codes; code++) {
      if (step > 0 && this.#used[code] >= 0.05 * total / codes) continue;
      const row = Math.floor(draws[code] * rows);
      values.set(vectors.subarray(row * channels, (row + 1) * channels), code * channels);
    }
    this.#codebook.device.write(this.#codebook.storage, values);
  }
}

/** File name of a trained tokenizer. */
export function tokenizerFile(dir: string, name: string): string {
  return join(dir, `${name}.safetensors`);
}
