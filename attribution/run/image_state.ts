/**
 * Per-image state of the pipeline: what was requested, what is measured so far, and whether it is complete. The
 * networks run in pipeline.ts and score_variants.ts.
 */
import { createHash } from "node:crypto";
import type { Device } from "../../core/tensor/mod.ts";
import type { ByFamily, FamilyName, ImageTokenizer, TokenizerFacts } from "../../models/family.ts";
import type { ClassEvidence, Measurements, SearchEvidence, Settings, VariantEvidence } from "../evidence/evidence.ts";
import type { ContentHashes } from "../images/content_hashes.ts";
import type { UnreadableImageError } from "../images/decode.ts";
import type { ImageDecoder } from "../images/decoder/mod.ts";
import type { ImageFacts } from "../images/facts/facts.ts";
import type { ImageInput, Pixels } from "../images/load.ts";
import type { Start } from "../likelihood/class_inference.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { SearchLevel } from "../search/candidates.ts";
import type { FoundPose } from "../search/rank.ts";
import type { FamilyEvidence } from "../signals/family_evidence.ts";
import type { LoadedVariant } from "./variant_pool.ts";
import type { Plan } from "./memory_plan.ts";
import type { Quantize } from "../quantisation/quantize.ts";
import { canonicalJson } from "../../util/json.ts";
import { classesStage, tokenizerStage, variantStage } from "./work_stages.ts";

/** Measurements of an image so far. They are complete once every variant that the method wants has scored it. */
export interface Measured {
  /** Of the file's content. */
  readonly sha256: string;
  /** Of the image file, in pixels. */
  width: number;
  height: number;
  /** What is odd about the image file, see imageNotes(). Absent for most files. */
  notes?: string[];
  /** What happened to the image. */
  facts?: ImageFacts;
  /** Signals by family; undefined until the tokenizers have run. */
  families?: Measurements["families"];
  /** Token ids by family; deleted when no variant needs them any more. */
  tokens?: Record<FamilyName, Int32Array>;
  /** What the first tokenizers found while others have not run yet; deleted when all have. */
  partial?: Record<FamilyName, { readonly signals: FamilyEvidence; readonly tokens: Int32Array }>;
  /** Classes by family, given or inferred. The variants of the family score the tokens under them. */
  classes?: Record<FamilyName, ClassEvidence>;
  /**
   * By family with scales, where the search for classes of other families starts, and how many classes it knows. Not
   * part of the evidence.
   */
  starts?: Record<FamilyName, Start & { readonly classes: number }>;
  /** Likelihoods by variant. */
  variants: Record<string, VariantEvidence>;
  /** The poses that a search found, before they are measured. Not part of the evidence. */
  found?: Partial<Record<SearchLevel, FoundPoses>>;
  /** What searches of these levels found. */
  searches?: Partial<Record<SearchLevel, SearchEvidence>>;
  /** Milliseconds: reading the file, the tokenizers, the transformers, the search. */
  timings: { read: number; families: number; variants: number; search?: number };
}

/** The poses that fit an image, of those that a search tried. */
export interface FoundPoses {
  /** Number of poses that were tried. */
  readonly tried: number;
  readonly logPriorAsItIs: number;
  /** Without pixels, which come from the image and the pose again. */
  readonly poses: readonly Omit<FoundPose, "pixels">[];
}

/** What stands for an image in a pose where others have the sha256 of their file, which `sha256` is. */
export function posedHash(sha256: string, { pose, family }: Pick<FoundPose, "pose" | "family">): string {
  return createHash("sha256").update(`${sha256} in a pose ${canonicalJson({ pose, family })}`).digest("hex");
}

/** The class that the user gave the image; undefined without one. Given classes are the same for all families. */
export function classOf({ classes = {} }: Pick<Measured, "classes">): number | undefined {
  return Object.values(classes)[0]?.top[0].class;
}

/** The networks that a stream runs. `VariantPool` loads those of a model set. */
export interface Networks {
  /** By family, in the order of the registry. */
  readonly tokenizers: ByFamily<ImageTokenizer>;
  /** Calls `body` with a loaded transformer. */
  withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T>;
}

/** Networks that are ready to run, and the sizes of their passes. */
export interface Ready {
  readonly device: Device;
  readonly models: Networks;
  readonly plan: Pick<Plan, "chunk" | "tokenizerBatch" | "variantBatch"> & Partial<Pick<Plan, "scoring">>;
  /** Quantisers that replace those of the tokenizers. They must be those that the settings name. */
  readonly quantizers?: Readonly<Partial<Record<FamilyName, Quantize>>>;
}

/** What to measure, with which networks. */
export interface MeasureOptions {
  /** The networks, or how they are opened when the first image needs one. It is called once per chunk of images. */
  readonly networks: Ready | (() => Promise<Ready>);
  /** What is known of the tokenizers before they are opened. */
  readonly tokenizers: ByFamily<Pick<TokenizerFacts, "imageSize" | "patchNums">>;
  /** The variants that may be run, by family. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** Hash of the model set. */
  readonly modelSet: string;
  readonly settings: Settings;
  /** How images are searched for poses. Default: not at all. */
  readonly search?: SearchOptions;
  /** Further statistics of the token scores, kept in the evidence with the summaries. `settings` names them. */
  readonly extras?: ExtraScores;
  readonly maxPixels?: number;
  /** Decodes files. Default: this process does. */
  readonly decoder?: ImageDecoder;
  /** Hashes of images that were found before, so that a recalled image is not read. Default: none. */
  readonly hashes?: ContentHashes;
  /** Aborting ends the stream after the pass in progress. Images that are complete by then are still yielded. */
  readonly signal?: AbortSignal;
  /** Finds earlier measurements of an image by its content, under the same model set and settings. */
  readonly recall?: (sha256: string) => Promise<Measured | undefined>;
  /** Called with the images that no network has run over yet, before the first one does. */
  readonly begin?: (sha256: readonly string[]) => void;
  /** Receives the measurements of a batch after every pass, complete or not. */
  readonly remember?: (measured: readonly Measured[]) => Promise<void>;
  /** The same for images in poses, which are measured for the image that they belong to. Default: not kept. */
  readonly posed?: Pick<MeasureOptions, "recall" | "remember">;
  /** Receives the work done since the previous call, in images; fractions are possible. */
  readonly onWork?: (images: number) => void;
  /** What the stages of the work cost, for progress and for the sizes of passes. Default: all the same. */
  readonly work?: WorkHooks;
}

/** How the work on images is weighed, followed and cut into passes. Stages are those of work_stages.ts. */
export interface WorkHooks {
  /** Operations of a stage, per image. */
  flopsOf(stage: string): number;
  /** Images per pass, of `most` that memory has room for: fewer on slow devices, so that a pass does not take long. */
  batchOf(stage: string, most: number): number;
  /** So many images turned out to need a stage, of `decided` whose need is known now. */
  expect(stage: string, images: number, decided: number): void;
  /** A stage is done for some images. */
  add(stage: string, images: number): void;
  /** Nothing is left to do for an image: it was `recalled` whole, or measured, or cannot be read. */
  finish(recalled: boolean): void;
}

/** Which images are searched, and how thoroughly. */
export interface SearchOptions {
  /** How thoroughly. */
  readonly level: SearchLevel;
  /** Whether an image needs it, by what was measured of it as it is. */
  readonly needs: (measured: SearchInput) => boolean;
}

/** What is known of an image before it is searched. */
export interface SearchInput extends Measurements {
  /** What happened to the image. */
  readonly facts?: ImageFacts;
}

/** Chooses, by the signals of an image and its history, or by its content, the families whose variants must score it. */
export type Wants = (
  families: Measurements["families"],
  facts: ImageFacts | undefined,
  sha256: string,
) => readonly FamilyName[];

/** Options of a stream. */
export type StreamOptions = MeasureOptions & { readonly wants: Wants };

/** Options of what runs networks. */
export type NetworkOptions = StreamOptions & Ready;

/**
 * An image in the pipeline: unreadable, or with its measurements. `credited` is the share of work reported so far;
 * `isRecalled` says that all of it was measured before.
 */
export type Item =
  | { readonly input: ImageInput; readonly error: UnreadableImageError }
  | {
    readonly input: ImageInput;
    readonly measured: Measured;
    readonly isRecalled: boolean;
    pixels?: Pixels;
    credited: number;
  };

/** An image that could be read. */
export type ReadItem = Extract<Item, { measured: Measured }>;

/** Whether an image could be read. */
export function isRead(item: Item): item is ReadItem {
  return "measured" in item;
}

/**
 * Reports progress on an image: the share, 0 to 1, of its work that is done, by operations. A search for poses is not
 * counted.
 */
export function credit(item: ReadItem, options: StreamOptions): void {
  const { measured } = item;
  const weigh = (stage: string) => options.work?.flopsOf(stage) ?? 1;
  let [done, total] = [0, 0];
  for (const { stage, isDone } of stagesOf(measured, options)) {
    const flops = weigh(stage);
    total += flops;
    if (isDone) done += flops;
  }
  const share = isComplete(measured, options) ? 1 : total > 0 ? done / total : 0;
  options.onWork?.(share - item.credited);
  item.credited = share;
}

/** The stages of the work on an image, as far as is known, and whether they are done. */
function stagesOf(measured: Measured, options: StreamOptions): { readonly stage: string; readonly isDone: boolean }[] {
  const { families, facts, sha256, partial = {}, classes = {} } = measured;
  const tokenizers = Object.keys(options.tokenizers).map((family) => ({
    stage: tokenizerStage(family),
    isDone: families !== undefined || family in partial,
  }));
  const wanted = families === undefined ? Object.keys(options.variants) : options.wants(families, facts, sha256);
  return [
    ...tokenizers,
    ...wanted.flatMap((family) => {
      const names = options.variants[family] ?? [];
      const scored = names.map((name) => ({ stage: variantStage(name), isDone: name in measured.variants }));
      if (options.settings.condition !== "infer" || names.length === 0) return scored;
      return [{ stage: classesStage(names[0]), isDone: classes[family] !== undefined }, ...scored];
    }),
  ];
}

/** Names of the variants that must score an image; none before its signals are known. */
export function wantedVariants(measured: Measured, { wants, variants }: StreamOptions): readonly string[] {
  const { families, facts, sha256 } = measured;
  return families === undefined ? [] : wants(families, facts, sha256).flatMap((family) => variants[family]);
}

/** Whether nothing is left to measure of an image. */
export function isComplete(measured: Measured, options: StreamOptions): boolean {
  return measured.families !== undefined &&
    wantedVariants(measured, options).every((name) => name in measured.variants);
}

/** Whether an image whose measurements as it is are complete must be searched, or have been searched, for poses. */
export function isSearchNeeded({ families, facts, classes, variants }: Measured, { search }: StreamOptions): boolean {
  return search !== undefined && families !== undefined && facts?.unsuitable === undefined &&
    search.needs({ families, facts, classes, variants });
}

/** Whether nothing is left to measure of an image, as it is and in other poses. */
export function isFinished(measured: Measured, options: StreamOptions): boolean {
  if (!isComplete(measured, options)) return false;
  return !isSearchNeeded(measured, options) || measured.searches?.[options.search!.level] !== undefined;
}

/** Throws on numbers that are not finite, which damaged weights or a faulty device cause. A verdict would hide them. */
export function expectFinite(
  network: string,
  input: ImageInput,
  values: Readonly<Record<string, number>> | FamilyEvidence,
): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isFinite(value)) {
      throw new Error(
        `${network}: ${name} of ${input.imageName} is ${value}: the weights are damaged, or out of range`,
      );
    }
  }
}
