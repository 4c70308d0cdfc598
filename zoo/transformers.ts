/**
 * Training of one transformer of the zoo on the tokens of photographs: batches, held-out figures, the finished file.
 * The losses belong to the models, the loop is in loop.ts, what is trained how is in recipes.ts.
 */
import { type Device, warmupCosineLr } from "../core/tensor/mod.ts";
import { scaleStarts } from "../models/family.ts";
import type { TokenBatch } from "../models/family_training.ts";
import { draws, dropLabels } from "../models/training.ts";
import { canonicalJson } from "../util/json.ts";
import { Learner, type TransformerInput } from "./learner.ts";
import { optimise } from "./loop.ts";
import { trainableFamily, type TransformerRecipe } from "./recipe.ts";
import { type TokenSet, unigramEntropy } from "./tokens.ts";

/** What a transformer is trained on, and where its files are. */
export interface TransformerRun {
  readonly device: Device;
  readonly recipe: TransformerRecipe;
  readonly train: TokenSet;
  readonly heldOut: TokenSet;
  /** The tokenizer's `transformerInput`. */
  readonly input: TransformerInput;
  /** Folder of the state and the log. */
  readonly dir: string;
  /** Where the finished transformer goes, f16 safetensors. */
  readonly out: string;
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
}

/** How a training ended. */
export interface TransformerResult {
  readonly done: boolean;
  /** Losses in nats per token: `loss` (training), `heldOut`, `heldOutNone` (no class), and `unigram` entropies. */
  readonly figures: Readonly<Record<string, number>>;
  readonly seconds: number;
}

const imageStream = 0x70696374, flipStream = 0x666c6970; // "pict", "flip"
const heldOutImages = 512;
const lrFloor = 1 / 50;

/** Trains to the end, or until `signal` fires (call it again to go on). */
export async function trainTransformer(run: TransformerRun): Promise<TransformerResult> {
  const { device, recipe, train, heldOut, dir, signal, log } = run;
  const { steps, lr, warmup, weightDecay } = recipe;
  const learner = await Learner.open(device, recipe, run.input);
  try {
    const entropies = unigramEntropies(recipe, heldOut);
    const result = await optimise({
      course: {
        steps,
        lr: warmupCosineLr(lr, warmup, steps, lr * lrFloor),
        adam: { betas: [0.9, 0.95], weightDecay, decoupled: true },
        every: recipe.every ?? 250,
      },
      parameters: learner.parameters,
      dir,
      fingerprint: canonicalJson({ recipe: trainingPart(recipe), tokens: train.fingerprint }),
      loss: (step) => ({ loss: learner.loss(trainingBatch(recipe, train, step)) }),
      evaluate: async () => ({ ...await evaluate(learner, heldOut), ...entropies }),
      signal,
      log: (line) => log?.(`${recipe.name}: ${line}`),
    });
    if (result.done) {
      await learner.save(run.out, {
        format: "model-tracer-transformer/1",
        recipe: canonicalJson(recipe),
        seed: String(recipe.seed),
        data: train.fingerprint,
        metrics: canonicalJson(result.figures),
      });
    }
    return result;
  } finally {
    learner.dispose();
  }
}

/** Images of a step, drawn uniformly, half of them mirrored; in orders of the family where it has several. */
export function trainingBatch(recipe: TransformerRecipe, set: TokenSet, step: number): TokenBatch {
  const { tokenCount } = set;
  const { seed, steps, batch, dropLabel, network } = recipe;
  const chosen = draws(seed, imageStream, step, batch), flips = draws(seed, flipStream, step, batch);
  const tokens = new Int32Array(batch * tokenCount), classes: number[] = [];
  for (let b = 0; b < batch; b++) {
    const image = Math.floor(chosen[b] * set.count);
    const row = image + (flips[b] < 0.5 ? set.count : 0);
    tokens.set(set.tokens.subarray(row * tokenCount, (row + 1) * tokenCount), b * tokenCount);
    classes.push(set.classes[image]);
  }
  const labels = dropLabels(classes, dropLabel, seed, step);
  const orders = trainableFamily(network).training.orders?.({ seed, step, steps, batch, tokenCount });
  return { tokens, labels, orders };
}

/** What decides the result of the training. */
function trainingPart({ network: { kind, config }, every: _, ...rest }: TransformerRecipe) {
  return { ...rest, kind, config };
}

/** Held-out losses with and without the class, in raster order, over images spread evenly over the set. */
async function evaluate(learner: Learner, set: TokenSet): Promise<{ heldOut: number; heldOutNone: number }> {
  const { tokenCount } = set;
  const count = Math.min(heldOutImages, set.count), batch = Math.min(64, count);
  let heldOut = 0, heldOutNone = 0;
  for (let start = 0; start < count; start += batch) {
    const images = Array.from({ length: Math.min(batch, count - start) }, (_, i) => {
      return Math.floor((start + i) * set.count / count);
    });
    const tokens = new Int32Array(images.length * tokenCount);
    images.forEach((image, b) => {
      tokens.set(set.tokens.subarray(image * tokenCount, (image + 1) * tokenCount), b * tokenCount);
    });
    const mean = async (labels: readonly (number | null)[]) => {
      using loss = learner.loss({ tokens, labels });
      return images.length / count * await loss.item();
    };
    heldOut += await mean(images.map((image) => set.classes[image]));
    heldOutNone += await mean(images.map(() => null));
  }
  return { heldOut, heldOutNone };
}

/**
 * Entropy of the held-out tokens in nats; where there are several scales, also with the scale known, over all tokens.
 */
function unigramEntropies({ network }: TransformerRecipe, set: TokenSet): Record<string, number> {
  const { codes, patchNums } = trainableFamily(network).family.variantFacts(network.config);
  const unigram = unigramEntropy(set, codes);
  if (patchNums.length === 1) return { unigram };
  const starts = scaleStarts(patchNums);
  const unigramByScale = patchNums.reduce((sum, pn, scale) => {
    return sum + pn * pn / set.tokenCount * unigramEntropy(set, codes, starts[scale], starts[scale + 1]);
  }, 0);
  return { unigram, unigramByScale };
}
