/**
 * The training loop: epochs of steps over shuffled pairs, with an evaluation and a saved state after each. trainee.ts
 * computes losses and gradients; run_training.ts opens and writes files.
 */
import { Adam, clipGradients, disposeAll, gradientNorm } from "../core/tensor/mod.ts";
import { augmented } from "./augmented.ts";
import { batches, breathe, evaluate, leastOthers, quantizeAll } from "./evaluate.ts";
import { epochOrder, permutation, type Split, split } from "./order.ts";
import type { Pair, PairSource, TrainingData } from "./pairs.ts";
import { adamOptions, learningRate, officialRecipe, type Recipe } from "./recipe.ts";
import type { EpochRow, Position, RunState, Settings } from "./state.ts";
import type { Trainee } from "./trainee.ts";

/** Training diverged: the loss or the gradients are not finite, or far too large. The last good state is kept. */
export class DivergenceError extends Error {
  /** `DivergenceError`. */
  override readonly name = "DivergenceError";
}

/** Training diverges when the loss is `divergence` times the first one for `patience` steps in a row. */
const divergence = 1e3, patience = 5;

/** Key of the stream of random numbers that chooses images of other families: "othr". */
const othersStream = 0x6f746872;

/** Options of `train`. */
/** Options of `train`. */
export interface TrainOptions {
  readonly settings: Settings;
  readonly data: TrainingData;
  /** State of the run to resume. */
  readonly resume?: RunState;
  /** Saves the state: at the beginning, after every epoch, when interrupted, and every `saveSeconds`. */
  readonly save: (state: RunState) => Promise<void>;
  /** Seconds between states that are saved within an epoch. Default 600. */
  readonly saveSeconds?: number;
  /** Aborting it ends the run after the current step. */
  readonly signal?: AbortSignal;
  /** Called when an epoch is done and saved. Epoch 0 is before training. */
  readonly onEpoch?: (row: EpochRow, isBest: boolean) => void | Promise<void>;
  /** Called with the training images done since the beginning of the run. */
  readonly onProgress?: (images: number) => void;
}

/** The result of `train`. */
/** The result of `train`. */
export interface TrainResult {
  readonly status: "done" | "interrupted";
  readonly position: Position;
}

/** Number of training images of a whole run, over all epochs. */
export function trainingImages({ count }: PairSource, { epochs, holdout, seed }: Recipe): number {
  return epochs * split(count, holdout, seed).training.length;
}

/**
 * Trains until the last epoch or an interruption. An interrupted run can resume from the saved state. Throws
 * DivergenceError when training diverges; the state that was saved before is then the last good one.
 */
export async function train(trainee: Trainee, options: TrainOptions): Promise<TrainResult> {
  const run = new Run(trainee, options);
  try {
    return { status: await run.run(), position: run.at };
  } finally {
    run.dispose();
  }
}

class Run {
  readonly at: Position;
  readonly #trainee: Trainee;
  readonly #options: TrainOptions;
  readonly #recipe: Recipe;
  readonly #pairs: PairSource;
  readonly #split: Split;
  readonly #others: readonly number[];
  readonly #adam: Adam;
  /** If tokens of some pairs are unknown: the tokens of all pairs for the current epoch. */
  #targets: Int32Array<ArrayBuffer> | null;
  /** Steps in a row whose loss exceeds the limit of divergence. */
  #exceeding = 0;
  #clock = performance.now();

  constructor(trainee: Trainee, options: TrainOptions) {
    const { data: { pairs, others }, resume, settings: { recipe } } = options;
    this.#trainee = trainee;
    this.#options = options;
    this.#recipe = recipe;
    this.#pairs = pairs;
    this.#split = split(pairs.count, recipe.holdout, recipe.seed);
    const compared = Math.max(leastOthers, this.#split.heldOut.length);
    this.#others = permutation(others?.count ?? 0, recipe.seed, othersStream).slice(0, compared);
    this.#adam = new Adam(trainee.parameters, adamOptions(recipe));
    this.at = resume ? structuredClone(resume.position) : beginning();
    this.#targets = resume?.targets ?? null;
    if (resume) {
      this.#adam.restore(resume.optimizer);
      for (const [name, { values }] of resume.parameters) trainee.restore(name, values);
    }
  }

  async run(): Promise<TrainResult["status"]> {
    const { at } = this;
    if (this.#options.resume === undefined) await this.#save();
    if (at.history.length === 0) {
      if (!await this.#chooseTargets() || !await this.#finishEpoch()) return "interrupted";
    }
    while (at.epoch < this.#recipe.epochs) {
      if (!await this.#chooseTargets()) return "interrupted";
      if (!await this.#epoch()) return "interrupted";
      if (!await this.#finishEpoch()) {
        await this.#save();
        return "interrupted";
      }
    }
    return "done";
  }

  dispose(): void {
    this.#adam.dispose();
  }

  /** Runs the remaining steps of the current epoch. Returns false when interrupted, with the state saved. */
  async #epoch(): Promise<boolean> {
    const { at } = this;
    const { signal, saveSeconds = 600, onProgress } = this.#options;
    const order = epochOrder(this.#split.training, this.#recipe.seed, at.epoch);
    let saved = performance.now();
    for (const indices of batches(order.slice(at.position), this.#recipe.batch)) {
      const began = performance.now();
      await this.#step(indices);
      await breathe();
      at.epochSeconds += (performance.now() - began) / 1000;
      onProgress?.(at.epoch * order.length + at.position);
      const due = performance.now() - saved > 1000 * saveSeconds;
      // A state that may be diverging must not replace a good one.
      if ((due || signal?.aborted) && this.#exceeding === 0) {
        await this.#save();
        saved = performance.now();
      }
      if (signal?.aborted) return false;
    }
    return true;
  }

  async #step(indices: readonly number[]): Promise<void> {
    const { at } = this;
    const { clip } = this.#recipe;
    const trainee = this.#trainee;
    const pairs = await this.#pairs.batch(indices);
    const pixels = pairs.map((pair) => pair.pixels);
    const image = trainee.images(pixels);
    const seen = await augmented(pixels, trainee.tokenizer.imageSize, this.#recipe, at.epoch, at.step);
    const x = seen === pixels ? image : trainee.images(seen);
    const target = trainee.targets(pairs.map((pair, b) => this.#tokensOf(pair, indices[b])));
    const { loss, gradients } = trainee.differentiate(x, target, image);
    const norm = gradientNorm(gradients.values());
    const lossValue = await loss.item(), normValue = await norm.item();
    disposeAll([image, x, target, loss]);
    const lr = learningRate(this.#recipe)(at.epoch);
    this.#check(lossValue, normValue, lr);
    const clipped = clip > 0 ? clipGradients(gradients, norm, clip) : gradients;
    this.#adam.update(clipped, lr);
    disposeAll([norm, clipped]);
    at.firstLoss ??= lossValue;
    at.step++;
    at.position += indices.length;
    at.lossSum += lossValue;
    at.normSum += normValue;
    at.epochSteps++;
  }

  #tokensOf = (pair: Pair, index: number): Int32Array => {
    const { tokenCount } = this.#trainee.tokenizer;
    return pair.tokens ?? this.#targets!.subarray(index * tokenCount, (index + 1) * tokenCount);
  };

  /** Throws when training diverges, before the update and before the state is saved. */
  #check(loss: number, norm: number, lr: number): void {
    const first = this.at.firstLoss ?? loss;
    this.#exceeding = loss > divergence * first ? this.#exceeding + 1 : 0;
    const what = !Number.isFinite(loss)
      ? `the loss is ${loss}`
      : !Number.isFinite(norm)
      ? `the norm of the gradients is ${norm} (loss ${loss.toPrecision(4)})`
      : this.#exceeding >= patience
      ? `the loss is ${loss.toPrecision(4)}, ${first.toPrecision(4)} at the first step`
      : null;
    if (what !== null) throw this.#diverged(what, lr, this.at.step + 1);
  }

  /** Throws when the held-out loss diverges, before the state of the epoch is saved. */
  #checkHeldOut(loss: number | null, lr: number): void {
    const { history, step } = this.at;
    const first = history.at(0)?.heldOutLoss ?? loss;
    if (loss !== null && !(loss <= divergence * first!)) {
      const before = history.length > 0 ? `, ${first!.toPrecision(4)} before training` : "";
      throw this.#diverged(`the loss of the held-out images is ${loss.toPrecision(4)}${before}`, lr, step);
    }
    if (loss === null && this.#exceeding > 0) {
      throw this.#diverged(`the loss is more than ${divergence} times that of the first step`, lr, step);
    }
  }

  #diverged(what: string, lr: number, step: number): DivergenceError {
    const { epoch } = this.at;
    const lowerRate = Number(Math.min(lr / 10, officialRecipe(this.#recipe.family).lr).toPrecision(2));
    const clip = this.#recipe.clip === 0 ? " or with --clip 1" : "";
    return new DivergenceError(
      `training diverges at step ${step} (epoch ${epoch + 1}, learning rate ${lr}): ${what}; ` +
        `try again in another folder (--run) with a lower rate (--lr ${lowerRate})${clip}; ` +
        "the last good state of this run is kept",
    );
  }

  /** Lets the current encoder choose unknown tokens. Returns false when interrupted. */
  async #chooseTargets(): Promise<boolean> {
    if (!this.#pairs.partial || this.#targets !== null) return true;
    this.#targets = await quantizeAll(this.#trainee, this.#pairs, this.#recipe.batch, this.#options.signal);
    return this.#targets !== null;
  }

  /** Evaluates the encoder, ends the epoch and saves the state. Returns false when interrupted before that. */
  async #finishEpoch(): Promise<boolean> {
    const { at } = this;
    const { signal, data: { others }, onEpoch } = this.#options;
    const heldOut = await evaluate(this.#trainee, this.#pairs, {
      heldOut: this.#split.heldOut,
      tokens: this.#tokensOf,
      batch: this.#recipe.batch,
      others,
      otherIndices: this.#others,
      signal,
    });
    if (heldOut === null && signal?.aborted) return false;
    const trained = at.epochSteps > 0;
    const lr = learningRate(this.#recipe)(at.epoch);
    this.#checkHeldOut(heldOut?.loss ?? null, lr);
    if (trained) at.epoch++;
    this.#tick();
    const row: EpochRow = {
      epoch: at.epoch,
      step: at.step,
      lr,
      trainLoss: trained ? at.lossSum / at.epochSteps : null,
      gradientNorm: trained ? at.normSum / at.epochSteps : null,
      heldOutLoss: heldOut?.loss ?? null,
      tokenRecovery: heldOut?.recovery ?? null,
      auc: heldOut?.auc ?? null,
      imagesPerSecond: trained ? at.position / at.epochSeconds : null,
      seconds: at.seconds,
    };
    at.history.push(row);
    const isBest = trained && heldOut !== null && heldOut.loss < (at.best?.heldOutLoss ?? Infinity);
    if (isBest) at.best = { epoch: at.epoch, heldOutLoss: heldOut.loss };
    Object.assign(at, freshEpoch());
    if (trained) this.#targets = null;
    await this.#save();
    await onEpoch?.(row, isBest);
    return true;
  }

  async #save(): Promise<void> {
    this.#tick();
    const values = await this.#trainee.values();
    const parameters = new Map(
      [...this.#trainee.parameters].map(([name, { shape }]) => [name, { shape, values: values.get(name)! }]),
    );
    await this.#options.save({
      settings: this.#options.settings,
      position: this.at,
      parameters,
      optimizer: await this.#adam.state(),
      targets: this.at.position > 0 ? this.#targets : null,
    });
  }

  /** Adds the time since the previous call to `seconds`. */
  #tick(): void {
    const now = performance.now();
    this.at.seconds += (now - this.#clock) / 1000;
    this.#clock = now;
  }
}

function freshEpoch() {
  return { position: 0, lossSum: 0, normSum: 0, epochSteps: 0, epochSeconds: 0 };
}

function beginning(): Position {
  return { epoch: 0, step: 0, ...freshEpoch(), seconds: 0, firstLoss: null, best: null, history: [] };
}
