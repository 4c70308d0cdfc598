/**
 * The training loop: epochs of steps over shuffled pairs, an evaluation and a saved state after each, an end that leaves
 * everything in place. What a step computes is in trainee.ts; files and settings come from job.ts.
 */
import { Adam, clipGradients, disposeAll, gradientNorm } from "../core/tensor/mod.ts";
import { augmented } from "./augmented.ts";
import { batches, breathe, evaluate, leastOthers, quantizeAll } from "./evaluate.ts";
import { epochOrder, permutation, type Split, split } from "./order.ts";
import type { Pair, PairSource, TrainingData } from "./pairs.ts";
import { adamOptions, learningRate, officialRecipe, type Recipe } from "./recipe.ts";
import type { EpochRow, Position, RunState, Settings } from "./state.ts";
import type { Trainee } from "./trainee.ts";

/** Training stopped because its loss is no longer one. What was saved before is intact. */
export class DivergenceError extends Error {
  /** `DivergenceError`. */
  override readonly name = "DivergenceError";
}

/** Diverging: the loss is this many times the first one, for this many steps in a row. */
const hopeless = 1e3, patience = 5;

const othersStream = 0x6f746872; // "othr"

export interface TrainOptions {
  readonly settings: Settings;
  readonly data: TrainingData;
  /** Goes on from here. */
  readonly resume?: RunState;
  /** Saves the state of the run: at its beginning, after every epoch, on an interruption, and now and then. */
  readonly save: (state: RunState) => Promise<void>;
  /** Seconds between states that are saved within an epoch. Default 600. */
  readonly saveSeconds?: number;
  readonly signal?: AbortSignal;
  /** An epoch is done and saved; epoch 0 is before training. */
  readonly onEpoch?: (row: EpochRow, isBest: boolean) => void | Promise<void>;
  /** Training images done since the beginning of the run. */
  readonly onProgress?: (images: number) => void;
}

export interface TrainResult {
  readonly status: "done" | "interrupted";
  readonly position: Position;
}

/** Training images that a whole run goes through. */
export function trainingImages({ count }: PairSource, { epochs, holdout, seed }: Recipe): number {
  return epochs * split(count, holdout, seed).training.length;
}

/**
 * Trains until the last epoch or an interruption, after which the saved state goes on. Throws DivergenceError when the
 * loss is not finite, or hopelessly large; what was saved before stays the last good state.
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
  /** Where the tokens of some pairs are not known: those of all pairs for the current epoch. */
  #targets: Int32Array<ArrayBuffer> | null;
  /** Steps in a row with a hopeless loss. */
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

  /** The rest of the current epoch's steps. False when interrupted, with the state saved. */
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
      // What may be diverging does not replace a good state.
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
    const { augment, clip } = this.#recipe;
    const trainee = this.#trainee;
    const pairs = await this.#pairs.batch(indices);
    const pixels = pairs.map((pair) => pair.pixels);
    const image = trainee.images(pixels);
    const x = augment
      ? trainee.images(await augmented(pixels, trainee.tokenizer.imageSize, this.#recipe, at.epoch, at.step))
      : image;
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

  /** Throws when training has gone wrong; nothing is updated or saved then. */
  #check(loss: number, norm: number, lr: number): void {
    const first = this.at.firstLoss ?? loss;
    this.#exceeding = loss > hopeless * first ? this.#exceeding + 1 : 0;
    const what = !Number.isFinite(loss)
      ? `the loss is ${loss}`
      : !Number.isFinite(norm)
      ? `the norm of the gradients is ${norm} (loss ${loss.toPrecision(4)})`
      : this.#exceeding >= patience
      ? `the loss is ${loss.toPrecision(4)}, ${first.toPrecision(4)} at the first step`
      : null;
    if (what !== null) throw this.#diverged(what, lr, this.at.step + 1);
  }

  /** The same after an epoch, so that no hopeless state takes the place of a good one. */
  #checkHeldOut(loss: number | null, lr: number): void {
    const { history, step } = this.at;
    const first = history.at(0)?.heldOutLoss ?? loss;
    if (loss !== null && !(loss <= hopeless * first!)) {
      const before = history.length > 0 ? `, ${first!.toPrecision(4)} before training` : "";
      throw this.#diverged(`the loss of the held-out images is ${loss.toPrecision(4)}${before}`, lr, step);
    }
    if (loss === null && this.#exceeding > 0) {
      throw this.#diverged(`the loss is more than ${hopeless} times that of the first step`, lr, step);
    }
  }

  #diverged(what: string, lr: number, step: number): DivergenceError {
    const { epoch } = this.at;
    const calmer = Number(Math.min(lr / 10, officialRecipe(this.#recipe.family).lr).toPrecision(2));
    const clip = this.#recipe.clip === 0 ? " or with --clip 1" : "";
    return new DivergenceError(
      `training diverges at step ${step} (epoch ${epoch + 1}, learning rate ${lr}): ${what}; ` +
        `try again in another folder (--run) with a lower rate (--lr ${calmer})${clip}; ` +
        "the last good state of this run is kept",
    );
  }

  /** Where tokens are not known, those that the current encoder gives. False when interrupted. */
  async #chooseTargets(): Promise<boolean> {
    if (!this.#pairs.partial || this.#targets !== null) return true;
    this.#targets = await quantizeAll(this.#trainee, this.#pairs, this.#recipe.batch, this.#options.signal);
    return this.#targets !== null;
  }

  /** Evaluates, counts the epoch and saves. False when interrupted before that. */
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

  /** Counts the time since it was last counted. */
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
