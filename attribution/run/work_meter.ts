/**
 * Follows the work of a run: what is done, how long each stage takes on this device, how many images need it, and so how
 * long the rest will take. Work is weighed by operations until stages have been timed, and by their times from then on.
 *
 * All the time that passes belongs to the stage that is done next, so that loading of networks, decoding and whatever
 * else is between passes counts, too.
 */
import type { WorkHooks } from "./image_state.ts";
import type { StageCost } from "./work_model.ts";

/** Operations per second of a device, by kind of network. */
export interface Rates {
  /** Of tokenizers, which convolve. */
  readonly tokenizer: number;
  /** Of transformers, which multiply matrices. */
  readonly transformer: number;
}

/** Options of a meter. */
export interface MeterOptions {
  /** Milliseconds since some moment. Default: `performance.now`. */
  readonly now?: () => number;
  /** A pass should take no longer than so many seconds. Default 10. */
  readonly passSeconds?: number;
}

/** What is known of a stage. */
interface Seen {
  readonly cost: StageCost;
  /** Images that it has run over, and how long that took in seconds. */
  ran: number;
  seconds: number;
  /** Images that turned out to need it, of so many whose need is known. */
  needed: number;
  decided: number;
  /** The same, whenever more became known. */
  readonly history: { readonly needed: number; readonly decided: number }[];
}

/** As how many images the expected share of images that need a stage counts. */
const priorImages = 2;
/**
 * The share of images that need a stage is that of so many before: folders are often sorted, and what comes first says
 * little of the rest.
 */
const memory = 128;
/** As how many seconds of work the device's rate counts where stages are judged by others. */
const priorSeconds = 60;
/** Networks as a whole reach about this share of what single products and convolutions do. */
export const networkShare = 0.8;

/** Follows the work of a run. Before it is started it times nothing: a service waits between its images. */
export class WorkMeter implements WorkHooks {
  readonly #stages: ReadonlyMap<string, Seen>;
  readonly #now: () => number;
  readonly #passSeconds: number;
  #rates: Rates | undefined;
  #isStarted = false;
  #last = 0;
  #total = 0;
  #expectedRecalled = 0;
  #recalled = 0;
  #finished = 0;

  constructor(readonly costs: readonly StageCost[], options: MeterOptions = {}) {
    const { now = () => performance.now(), passSeconds = 10 } = options;
    this.#stages = new Map(costs.map((cost) => [cost.stage, {
      ...{ cost, ran: 0, seconds: 0, needed: 0, decided: 0, history: [{ needed: 0, decided: 0 }] },
    }]));
    this.#now = now;
    this.#passSeconds = passSeconds;
  }

  /** Rates of the device by which stages are judged that have not been timed. */
  set rates(rates: Rates) {
    this.#rates = rates;
  }

  /** The work on `images` begins, of which so many are expected to be recalled whole. */
  start(images: number, recalled = 0): void {
    this.#total = images;
    this.#expectedRecalled = recalled;
    this.#last = this.#now();
    this.#isStarted = true;
  }

  flopsOf(stage: string): number {
    return this.#stages.get(stage)?.cost.flops ?? 0;
  }

  batchOf(stage: string, most: number): number {
    const seconds = this.#isStarted ? this.secondsPerImage(stage) : undefined;
    if (seconds === undefined || seconds <= 0) return most;
    return Math.max(1, Math.min(most, Math.floor(this.#passSeconds / seconds)));
  }

  expect(stage: string, images: number, decided: number): void {
    const seen = this.#stages.get(stage);
    if (seen === undefined) return;
    seen.needed += images;
    seen.decided += decided;
    seen.history.push({ needed: seen.needed, decided: this.#decided(seen) });
  }

  /** Images of which is known whether they need a stage. */
  #decided({ cost, decided: own }: Seen): number {
    return cost.after === undefined ? own : this.#stages.get(cost.after)?.decided ?? own;
  }

  add(stage: string, images: number): void {
    if (!this.#isStarted) return;
    const now = this.#now(), seen = this.#stages.get(stage);
    if (seen !== undefined) {
      seen.ran += images;
      seen.seconds += (now - this.#last) / 1000;
    }
    this.#last = now;
  }

  finish(recalled: boolean): void {
    if (recalled) this.#recalled++;
    else this.#finished++;
  }

  /** Seconds of a stage per image: measured, or by rates; undefined if neither is known. */
  secondsPerImage(stage: string): number | undefined {
    const seen = this.#stages.get(stage);
    if (seen === undefined) return undefined;
    if (seen.ran > 0) return seen.seconds / seen.ran;
    const { cost } = seen;
    const like = cost.like === undefined ? undefined : this.#stages.get(cost.like);
    if (like !== undefined && like.ran > 0) return like.seconds / like.ran;
    const rate = this.#rateOf(cost.kind);
    return rate === undefined ? undefined : cost.flops / rate;
  }

  /** Operations per second of stages of a kind: the device's rate, and more and more what was measured. */
  #rateOf(kind: StageCost["kind"]): number | undefined {
    let [flops, seconds] = [0, 0];
    for (const { cost, ran, seconds: took } of this.#stages.values()) {
      if (cost.kind !== kind) continue;
      flops += cost.flops * ran;
      seconds += took;
    }
    const usual = this.#rates && networkShare * this.#rates[kind];
    if (usual === undefined) return seconds > 0 && flops > 0 ? flops / seconds : undefined;
    // One stage over one image says less of the others than the device's rate does.
    return (flops + usual * priorSeconds) / (seconds + priorSeconds);
  }

  /** Seconds until all images are done; undefined while no rate is known. */
  secondsLeft(): number | undefined {
    const todo = Math.max(0, this.#total - Math.max(this.#recalled, this.#expectedRecalled));
    let total = 0;
    for (const [stage, seen] of this.#stages) {
      const seconds = this.secondsPerImage(stage);
      if (seconds === undefined) return undefined;
      total += seconds * this.#imagesLeft(seen, todo);
    }
    return total;
  }

  /** Images that a stage has still to run over, of `todo` in all. */
  #imagesLeft(seen: Seen, todo: number): number {
    const { cost, ran, needed, history } = seen, decided = this.#decided(seen);
    const isCertain = cost.share === 1 && decided === 0;
    const then = history.findLast((at) => at.decided <= decided - memory) ?? history[0];
    const share = isCertain
      ? 1
      : (priorImages * cost.share + needed - then.needed) / (priorImages + decided - then.decided);
    const left = needed + share * Math.max(0, todo - decided) - ran;
    // Images that were kept in part never run through all stages.
    return Math.max(0, decided === 0 ? Math.min(left, todo - this.#finished) : left);
  }
}
