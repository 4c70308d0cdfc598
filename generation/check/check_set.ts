/**
 * Checks a model set on this machine: would it find its own images? Draws a few images with each variant, cheapest
 * first, as many as the time allows, finds their tokens again, compares likelihoods and verdicts with the figures that
 * are known of the set. It prints nothing; tasks/weights_check.ts shows it.
 */
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import type { Device } from "../../core/tensor/mod.ts";
import { loadCalibration } from "../../attribution/decision/calibration_file.ts";
import { isUnreadable } from "../../attribution/evidence/evidence.ts";
import { ownDecoder } from "../../attribution/images/decoder/mod.ts";
import { chooseModels } from "../../attribution/run/choose_models.ts";
import { Tracer } from "../../attribution/run/tracer.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { familyNamed } from "../../models/registry.ts";
import { generationMemory, requireMemory } from "../memory.ts";
import { figuresOf } from "./figures.ts";
import {
  type ClassesFound,
  classesFound,
  type Comparison,
  judge,
  type Judgement,
  marginOf,
  type TrialVerdict,
} from "./judge.ts";
import { type TrialImage, Trials } from "./trials.ts";

/** What to check, and for how long. */
export interface CheckSetOptions {
  /** Folder of the set. Default: weights/official where it is there, else weights/tiny. */
  readonly models?: string;
  /** Only these variants. Default: all. */
  readonly only?: readonly string[];
  /** Images of each variant. Default: two, and more while there is time, at most 16. */
  readonly each?: number;
  /** No variant is begun that would take longer than this, but for the cheapest one. */
  readonly minutes: number;
  readonly seed?: number;
  readonly device?: DeviceName;
  readonly threads?: number;
  readonly weightType?: "f32" | "f16";
  readonly memoryBytes?: number;
  /** Aborting it ends the check after the pass in progress; what is measured by then is judged. */
  readonly signal?: AbortSignal;
}

/** Progress of a check. */
export interface CheckSetEvents {
  readonly onNote?: (text: string) => void;
  readonly onPrepare?: (text: string) => void;
  /** Called before anything is drawn, and again when times are known: the variants that are to be tried, in order. */
  readonly onPlan?: (plan: readonly PlannedVariant[]) => void;
  /** Called when a variant is measured. */
  readonly onVariant?: (variant: CheckedVariant) => void;
}

/** A variant that is to be tried. */
export interface PlannedVariant {
  readonly variant: string;
  /** Operations to draw an image and to score its tokens, in 10^12, by the size of the matrices. */
  readonly teraflop: number;
  /** Expected seconds for its images by what the earlier ones took; undefined before the first. */
  readonly seconds?: number;
}

/** What was measured of a variant. Means over its images. */
export interface CheckedVariant {
  readonly variant: string;
  readonly family: FamilyName;
  readonly images: number;
  /** Share of the tokens that were found again, 0 to 1. */
  readonly tokensRecovered: number;
  readonly quantLoss: number;
  /** Nats per token, see `TrialImage`. */
  readonly drawnNats: number;
  readonly foundNats: number;
  /** Median lead over the next variant of the family in nats per token; undefined for the only one that was tried. */
  readonly margin?: number;
  /** Drawing, finding and scoring, loading included. */
  readonly seconds: number;
  /** What became of the classes of its images; undefined before verdicts, and where they need no classes. */
  readonly classes?: ClassesFound;
}

/** The result of a check. */
export interface CheckSetResult extends Judgement {
  readonly status: "done" | "interrupted";
  readonly modelSet: { readonly dir: string; readonly name: string; readonly hash: string };
  readonly isCalibrated: boolean;
  /** Families with a fine-tuned encoder. */
  readonly withEncoder: readonly FamilyName[];
  readonly device: string;
  readonly variants: readonly CheckedVariant[];
  /** Variants for which there was no time. */
  readonly left: readonly string[];
  /** Every image's numbers. */
  readonly images: readonly Omit<TrialImage, "png" | "tokens">[];
  readonly verdicts: readonly TrialVerdict[];
  readonly comparisons: readonly Comparison[];
  readonly seconds: number;
  readonly devicePeakBytes: number;
}

/** Images of a variant in one round, and rounds at most, where the number of images is not given. */
const usualEach = 2, mostRounds = 8;

/**
 * Checks a set. Throws before anything is drawn on weights that are missing or do not fit their manifest, and on unknown
 * variants. Nothing is written.
 */
export async function checkSet(options: CheckSetOptions, events: CheckSetEvents = {}): Promise<CheckSetResult> {
  const set = await chooseModels(options.models, events);
  const variants = chosen(set, options.only);
  await set.check({ onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });
  const figures = await figuresOf(set);
  events.onNote?.(figures === undefined ? "there are no figures of this set: it is measured only" : figures.about);
  const { calibration, sha256 } = await loadCalibration(set);
  const check = new Check(set, variants, options, events);
  const { device, devicePeakBytes } = await check.draw(calibration.quantization);
  const isCalibrated = sha256 !== null;
  if (isCalibrated) await check.attribute();
  const withEncoder = set.families.filter((family) => set.manifest.families[family].encoder !== undefined);
  const { images, verdicts, seconds, left } = check;
  return {
    ...judge(figures, { images, verdicts, withEncoder, isCalibrated }),
    status: options.signal?.aborted ? "interrupted" : "done",
    modelSet: { dir: set.dir, name: set.manifest.name, hash: set.hash },
    ...{ isCalibrated, withEncoder, device, verdicts, seconds, left, devicePeakBytes },
    variants: variants.flatMap((name) => check.summarise(name) ?? []),
    images: images.map(({ png: _, tokens: __, ...numbers }) => numbers),
  };
}

/** The variants in question, those with the fewest parameters first. Throws on unknown names. */
function chosen(set: ModelSet, only: readonly string[] | undefined): string[] {
  const known = set.families.flatMap((family) => set.variants(family));
  const unknown = only?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`--only: expected variants of ${set.dir} (${known.join(", ")}), got ${unknown}`);
  }
  return known.filter((name) => only?.includes(name) ?? true).sort((a, b) => passFlops(set, a) - passFlops(set, b));
}

/** Operations of a pass over one image's tokens: two per element of a matrix and token. Attention is not counted. */
function passFlops(set: ModelSet, variant: string): number {
  const family = set.familyOf(variant);
  const { config } = set.manifest.families[family].variants[variant];
  const elements = familyNamed(family).variantSpecs(config).filter(({ role }) => role === "linear")
    .reduce((sum, { shape }) => sum + shape.reduce((product, d) => product * d, 1), 0);
  return 2 * elements * set.variantFacts(variant).tokenCount;
}

/** Passes to draw an image (with and without its class), and to score drawn and found tokens (so, too). */
const passesPerImage = 6;
/** Passes to score an image under another variant. */
const passesPerScore = 2;

/** The work of a check, and the time that it takes. */
class Check {
  verdicts: TrialVerdict[] = [];
  left: string[] = [];
  images: readonly TrialImage[] = [];
  readonly #start = performance.now();
  readonly #secondsOf = new Map<string, number>();
  /** Operations and seconds so far, from which later ones are foretold. */
  #flops = 0;
  #spent = 0;

  constructor(
    readonly set: ModelSet,
    readonly variants: readonly string[],
    readonly options: CheckSetOptions,
    readonly events: CheckSetEvents,
  ) {}

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  /** Draws, measures and scores images, as many as there is time for. */
  async draw(
    quantization: ConstructorParameters<typeof Trials>[2]["quantization"],
  ): Promise<{ device: string; devicePeakBytes: number }> {
    const { weightType, seed = 0, signal } = this.options;
    await using cleanup = new AsyncDisposableStack();
    const device: Device = await openDevice(this.options.device ?? "auto", { threads: this.options.threads });
    cleanup.defer(() => device.close());
    const memoryBytes = await this.#memory(device);
    device.limitMemory(memoryBytes);
    const { onPrepare } = this.events;
    const trials = new Trials(this.set, device, { weightType, memoryBytes, seed, quantization, signal, onPrepare });
    cleanup.use(trials);
    this.images = trials.images;
    this.events.onPlan?.(this.#plan(this.variants));
    try {
      await this.#rounds(trials);
    } catch (error) {
      if (!(signal?.aborted && error === signal.reason)) throw error;
    }
    return { device: device.info.name, devicePeakBytes: device.memory().peakBytes };
  }

  /** The limit. Throws if a variant does not fit beside the tokenizers, which all stay. */
  async #memory(device: Device): Promise<number> {
    const { set, variants, options: { weightType } } = this;
    const memory = await generationMemory(set, device, variants, this.options.memoryBytes, weightType);
    const tokenizers = set.families.map((family) => set.footprint(device, { family }, weightType).weights);
    // One of them counts as the variant's own.
    const others = tokenizers.reduce((sum, bytes) => sum + bytes, 0) - Math.min(...tokenizers);
    const left = { ...memory, bytes: memory.bytes - others };
    requireMemory(set, device, variants, left, weightType, (names) => `--only ${names.join(",")}`);
    return memory.bytes;
  }

  async #rounds(trials: Trials): Promise<void> {
    const { each = usualEach, minutes } = this.options;
    this.left = [...this.variants];
    for (const name of this.variants) {
      const isFirst = this.#spent === 0;
      if (!isFirst && this.seconds + this.#predict(name, each) > 60 * minutes) break;
      await this.#drawOne(trials, name, each);
      this.left.shift();
      const summary = this.summarise(name);
      if (summary !== undefined) this.events.onVariant?.(summary);
      if (isFirst && this.left.length > 0) this.events.onPlan?.(this.#plan(this.left));
    }
    const tried = this.variants.filter((name) => !this.left.includes(name));
    await this.#scoreOthers(trials, tried);
    if (this.options.each !== undefined || this.left.length > 0) return;
    // What is left is for verdicts and for more images, in equal parts.
    for (let round = 1; round < mostRounds; round++) {
      const needed = tried.reduce((sum, name) => sum + this.#predict(name, each), 0);
      if (this.seconds + needed > 30 * minutes) return;
      for (const name of tried) await this.#drawOne(trials, name, each);
      await this.#scoreOthers(trials, tried);
    }
  }

  async #drawOne(trials: Trials, name: string, each: number): Promise<void> {
    const begin = performance.now(), flops = this.#flopsOf(name, each);
    await trials.draw(name, each);
    const seconds = (performance.now() - begin) / 1000;
    this.#secondsOf.set(name, (this.#secondsOf.get(name) ?? 0) + seconds);
    this.#flops += flops;
    this.#spent += seconds;
  }

  async #scoreOthers(trials: Trials, tried: readonly string[]): Promise<void> {
    for (const name of tried) await trials.scoreOthers(name);
  }

  /** Operations of trying a variant: its images, and the scores of the family's other images under it and the others. */
  #flopsOf(name: string, each: number): number {
    const { set } = this;
    const family = set.familyOf(name), own = passFlops(set, name);
    const others = [...new Set(this.images.filter((image) => image.family === family).map(({ variant }) => variant))];
    const earlier = this.images.filter((image) => image.family === family && !(name in image.nats)).length;
    const behind = others.filter((other) => other !== name).reduce((sum, other) => sum + passFlops(set, other), 0);
    return each * passesPerImage * own + passesPerScore * (earlier * own + each * behind);
  }

  #predict(name: string, each: number): number {
    return this.#flopsOf(name, each) * this.#spent / this.#flops;
  }

  #plan(variants: readonly string[]): PlannedVariant[] {
    const { each = usualEach } = this.options;
    return variants.map((variant) => ({
      variant,
      teraflop: passesPerImage * passFlops(this.set, variant) / 1e12,
      ...this.#spent > 0 && { seconds: this.#predict(variant, each) },
    }));
  }

  /** Attributes the images as `deno task attribute` does, those that the time is enough for. */
  async attribute(): Promise<void> {
    const { set, images, options, events } = this;
    const seconds = 60 * options.minutes - this.seconds;
    if (images.length === 0 || options.signal?.aborted) return;
    if (seconds <= 0) return events.onNote?.("there is no time left for verdicts; --minutes gives more");
    const signal = AbortSignal.any([...options.signal ? [options.signal] : [], AbortSignal.timeout(1000 * seconds)]);
    const { device, threads, weightType, memoryBytes } = options;
    const open = { models: set, device, threads, weightType, memoryBytes, decoder: ownDecoder };
    await using tracer = await Tracer.open(open, { onNote: events.onNote, onPrepare: events.onPrepare });
    const named = images.map(({ variant, index, png }) => ({ name: `${variant}/${index}.png`, image: png }));
    const byName = new Map(named.map(({ name }, i) => [name, images[i]]));
    for await (const line of tracer.attribute(named, { signal })) {
      const image = byName.get(line.image);
      if (image === undefined || isUnreadable(line)) throw new Error(`${line.image}: expected a verdict, got none`);
      const { label, finding, confidence } = line, { variant, family } = image;
      const labelFamily = tracer.labels.familyOf(label);
      const top = line.classes?.[family]?.top, own = top?.findIndex((one) => one.class === image.class);
      const classes = top && { kept: top.length, ...own !== -1 && { own } };
      this.verdicts.push({ variant, family, label, labelFamily, finding, confidence, ...classes && { classes } });
    }
  }

  /** What was measured of a variant; undefined if nothing was. */
  summarise(name: string): CheckedVariant | undefined {
    const own = this.images.filter(({ variant }) => variant === name);
    if (own.length === 0) return undefined;
    const mean = (value: (image: TrialImage) => number) => own.reduce((sum, one) => sum + value(one), 0) / own.length;
    return {
      variant: name,
      family: own[0].family,
      images: own.length,
      tokensRecovered: mean(({ recovered }) => recovered),
      quantLoss: mean(({ quantLoss }) => quantLoss),
      drawnNats: mean(({ drawnNats }) => drawnNats),
      foundNats: mean(({ foundNats }) => foundNats),
      margin: marginOf(own)?.value,
      seconds: this.#secondsOf.get(name) ?? 0,
      classes: classesFound(
        this.verdicts.filter(({ variant }) => variant === name),
        this.set.variantFacts(name).classes,
      ),
    };
  }
}
