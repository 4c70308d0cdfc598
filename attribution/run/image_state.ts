/**
 * Per-image state of the pipeline: what was requested, what is measured so far, and whether it is complete. The
 * networks run in pipeline.ts and score_variants.ts.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { ByFamily, FamilyName, ImageTokenizer } from "../../models/family.ts";
import type { ClassEvidence, Measurements, SearchEvidence, Settings, VariantEvidence } from "../evidence/evidence.ts";
import type { UnreadableImageError } from "../images/decode.ts";
import type { ImageDecoder } from "../images/decoder/mod.ts";
import type { ImageFacts } from "../images/facts/facts.ts";
import type { ImageInput, Pixels } from "../images/load.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { SearchLevel } from "../search/candidates.ts";
import type { FamilyEvidence } from "../signals/family_evidence.ts";
import type { LoadedVariant } from "./variant_pool.ts";
import type { Plan } from "./memory_plan.ts";
import type { Quantize } from "../quantisation/quantize.ts";

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
  /** Classes by family, given or inferred. The variants of the family score the tokens under them. */
  classes?: Record<FamilyName, ClassEvidence>;
  /** Likelihoods by variant. */
  variants: Record<string, VariantEvidence>;
  /** What searches of these levels found. */
  searches?: Partial<Record<SearchLevel, SearchEvidence>>;
  /** Milliseconds: reading the file, the tokenizers, the transformers, the search. */
  timings: { read: number; families: number; variants: number; search?: number };
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

/** What to measure, with which networks. */
export interface MeasureOptions {
  readonly device: Device;
  readonly models: Networks;
  readonly plan: Pick<Plan, "chunk" | "tokenizerBatch" | "variantBatch"> & Partial<Pick<Plan, "scoring">>;
  /** The variants that may be run, by family. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** Hash of the model set. */
  readonly modelSet: string;
  readonly settings: Settings;
  /** Quantisers that replace those of the tokenizers. They must be those that `settings` names. */
  readonly quantizers?: Readonly<Partial<Record<FamilyName, Quantize>>>;
  /** How images are searched for poses. Default: not at all. */
  readonly search?: SearchOptions;
  /** Further statistics of the token scores, kept in the evidence with the summaries. `settings` names them. */
  readonly extras?: ExtraScores;
  readonly maxPixels?: number;
  /** Decodes files. Default: this process does. */
  readonly decoder?: ImageDecoder;
  /** Aborting ends the stream after the pass in progress. Images that are complete by then are still yielded. */
  readonly signal?: AbortSignal;
  /** Finds earlier measurements of an image by its content, under the same model set and settings. */
  readonly recall?: (sha256: string) => Promise<Measured | undefined>;
  /** Called with the images that no network has run over yet, before the first one does. */
  readonly begin?: (sha256: readonly string[]) => void;
  /** Receives the measurements of a batch after every pass, complete or not. */
  readonly remember?: (measured: readonly Measured[]) => Promise<void>;
  /** Receives the work done since the previous call, in images; fractions are possible. */
  readonly onWork?: (images: number) => void;
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

/** Chooses, by the signals of an image and its history, the families whose variants must score it. */
export type Wants = (families: Measurements["families"], facts?: ImageFacts) => readonly FamilyName[];

/** Options of a stream. */
export type StreamOptions = MeasureOptions & { readonly wants: Wants };

/** An image in the pipeline: unreadable, or with its measurements. `credited` is the share of work reported so far. */
export type Item =
  | { readonly input: ImageInput; readonly error: UnreadableImageError }
  | { readonly input: ImageInput; readonly measured: Measured; pixels?: Pixels; credited: number };

/** An image that could be read. */
export type ReadItem = Extract<Item, { measured: Measured }>;

/** Whether an image could be read. */
export function isRead(item: Item): item is ReadItem {
  return "measured" in item;
}

/** The tokenizers' share of the work on an image, for progress reports. */
export const familyShare = 0.5;

/** Reports progress up to `done`, the finished share (0 to 1) of the work on this image. */
export function credit(item: ReadItem, done: number, { onWork }: StreamOptions): void {
  onWork?.(done - item.credited);
  item.credited = done;
}

/** Names of the variants that must score an image; none before its signals are known. */
export function wantedVariants({ families, facts }: Measured, { wants, variants }: StreamOptions): readonly string[] {
  return families === undefined ? [] : wants(families, facts).flatMap((family) => variants[family]);
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

/** Milliseconds of work between two turns of the event loop. A timer, the only way to it, takes one or two. */
const turnMs = 25;
let turned = 0;

/**
 * Waits for the next turn of the event loop, unless there was one just now. Only then does Deno deliver signals of the
 * operating system and read from other processes; the CPU device's promises alone never reach it.
 */
export async function yieldToEventLoop(): Promise<void> {
  if (performance.now() - turned < turnMs) return;
  await new Promise((resolve) => setTimeout(resolve, 0));
  turned = performance.now();
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
