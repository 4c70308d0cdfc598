/**
 * Training of the zoo's tokenizers from nothing, on crops of photographs.
 * The losses belong to the models, the loop is in loop.ts; here are data, figures and the file.
 */
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
import { openCheckpoint, syntheticSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import type { FamilyTraining, TokenizerLossOptions } from "../models/family_training.ts";
import type { TokenizerLoss } from "../models/tokenizer_training.ts";
import type { WeightSpec } from "../models/weights.ts";
import { cropPixels, type Crops } from "./images.ts";
import { optimise } from "./loop.ts";
import { halfEntries, parametersOf } from "./parameters.ts";
import { fileHash } from "./paths.ts";
import { type TokenizerRecipe, trainableFamily } from "./recipe.ts";
import { Revival } from "./revival.ts";

/** What a tokenizer is trained on, and where its files are. */
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

/** Steps between evaluations where the recipe does not say. */
const evaluationSteps = 250;
const heldOutImages = 256;

/** The codebook, in the checkpoints of every family. */
const codebookName = "quantize.embedding.weight";
const orderStream = 0x7a6f6f31, flipStream = 0x7a6f6f32;

/** Trains to the end, or until `signal` fires (call it again to go on). Returns the figures of the last evaluation. */
export async function trainTokenizer(run: TokenizerRun): Promise<{ done: boolean; figures: Record<string, number> }> {
  const { device, recipe, train, heldOut, dir, init, signal, log } = run;
  const start: Record<string, string> = init === undefined ? {} : { init: await fileHash(init, "tokenizers") };
  const trainee = await Trainee.open(device, recipe, init);
  try {
    const revival = new Revival(trainee.parameters.get(codebookName)!, recipe);
    const result = await optimise({
      course: {
        steps: recipe.steps,
        lr: warmupCosineLr(recipe.lr, 100, recipe.steps, recipe.lr / 20),
        adam: { betas: [0.9, 0.99] },
        every: recipe.every ?? evaluationSteps,
      },
      parameters: trainee.parameters,
      dir,
      fingerprint: JSON.stringify({ recipe: trainingPart(recipe), data: train.fingerprint, ...start }),
      loss: (step) => {
        const images = trainee.images(batchPixels(train, recipe, step));
        return { ...trainee.loss(images, step, (seen) => revival.observe(seen)) };
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

/** What decides the result of the training. */
function trainingPart({ every: _, ...rest }: TokenizerRecipe) {
  return rest;
}

/** Pixels in [0, 1] of one batch: crops drawn uniformly, half of them mirrored. */
function batchPixels(crops: Crops, { seed, batch }: TokenizerRecipe, step: number): Float32Array<ArrayBuffer> {
  const draws = uniforms(seed + step, orderStream, batch), flips = uniforms(seed + step, flipStream, batch);
  return cropPixels(crops, Array.from(draws, (u) => Math.floor(u * crops.count)), (i) => flips[i] < 0.5);
}

/**
 * PSNR over held-out crops, and how evenly the codes are used: their number and the exponential of their entropy; then
 * the family's further figures.
 */
async function evaluate(trainee: Trainee, heldOut: Crops): Promise<Record<string, number>> {
  const { tokenizer, training, recipe: { seed } } = trainee;
  const [low, high] = tokenizer.valueRange;
  const counts = new Float64Array(tokenizer.codes);
  const count = Math.min(heldOutImages, heldOut.count);
  const sums: Record<string, number> = {};
  let squares = 0;
  for (let start = 0; start < count; start += 32) {
    // Spread over the whole split, since neighbours come from the same photograph.
    const indices = Array.from(
      { length: Math.min(32, count - start) },
      (_, i) => Math.floor((start + i) * heldOut.count / count),
    );
    const images = trainee.images(cropPixels(heldOut, indices));
    const { error, tokens, further } = scope(() => {
      const { tokens, fHat } = tokenizer.quantize(tokenizer.encode(images));
      const decoded = tokenizer.decode(fHat);
      const further = training.tokenizerFigures?.(tokenizer, { tokens, decoded }, { seed, step: start }) ?? {};
      return { error: mean(square(sub(decoded, images))), tokens, further };
    });
    squares += indices.length * await error.item() / (high - low) ** 2;
    for (const token of await tokens.ints()) counts[token]++;
    for (const [name, figure] of Object.entries(further)) {
      sums[name] = (sums[name] ?? 0) + indices.length * await figure.item();
    }
    disposeAll([images, error, tokens, further]);
  }
  const total = counts.reduce((sum, n) => sum + n, 0);
  const entropy = counts.reduce((sum, n) => n === 0 ? sum : sum - n / total * Math.log(n / total), 0);
  return {
    psnr: -10 * Math.log10(squares / count),
    usedCodes: counts.reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0),
    perplexity: Math.exp(entropy),
    ...Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / count])),
  };
}

/** A tokenizer with dense weights that are trained in place. */
class Trainee {
  /** Every part of every parameter. */
  readonly parameters: ReadonlyMap<string, Tensor>;

  private constructor(
    readonly device: Device,
    readonly recipe: TokenizerRecipe,
    readonly training: FamilyTraining,
    readonly specs: readonly WeightSpec[],
    readonly tokenizer: ImageTokenizer,
  ) {
    this.parameters = parametersOf(specs, tokenizer.weights);
  }

  /** With initial values, or those of the file `init`, of which the codes are not taken. */
  static async open(device: Device, recipe: TokenizerRecipe, init?: string): Promise<Trainee> {
    const { network, seed, name } = recipe;
    const { family, training } = trainableFamily(network);
    const specs = family.tokenizerSpecs(network.config);
    // Weights in [-s, s] with the variance 1 / fan-in, biases near 0 and gains near 1; codes are drawn from latents later.
    const synthetic = syntheticSource(`zoo-${name}-${seed}`, specs);
    const start = init === undefined ? null : await openCheckpoint(init);
    const source = start
      ? { ...synthetic, readF32: (tensor: string) => (tensor === codebookName ? synthetic : start).readF32(tensor) }
      : synthetic;
    const tokenizer = await family.loadTokenizer(device, source, network.config, { dense: () => true })
      .finally(() => start?.close());
    return new Trainee(device, recipe, training, specs, tokenizer);
  }

  /** pixels[n, side, side, 3] in [0, 1] -> images in the tokenizer's value range. */
  images(pixels: Float32Array<ArrayBuffer>): Tensor {
    const { imageSize, valueRange: [low, high] } = this.tokenizer;
    const values = pixels.map((value) => value * (high - low) + low);
    return fromArray(this.device, values, [values.length / (imageSize * imageSize * 3), imageSize, imageSize, 3]);
  }

  /** The loss of a step. Runs on a tape. */
  loss(images: Tensor, step: number, observe: TokenizerLossOptions["observe"]): TokenizerLoss {
    const { latentWeight, readBack, seed } = this.recipe;
    return this.training.tokenizerLoss(this.tokenizer, images, { latentWeight, readBack, seed, step, observe });
  }

  /** Writes the weights, f16, with figures and hashes in the header. */
  async save(
    path: string,
    figures: Readonly<Record<string, number>>,
    from: Readonly<Record<string, string>>,
  ): Promise<void> {
    await writeSafetensors(path, halfEntries(this.specs, this.parameters), {
      format: "model-tracer-tokenizer/1",
      recipe: JSON.stringify(this.recipe),
      ...from,
      metrics: JSON.stringify(figures),
    });
  }

  /** Frees the weights. */
  dispose(): void {
    this.tokenizer.dispose();
  }
}
