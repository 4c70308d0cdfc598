/**
 * An image on its way through the pipeline: what a stream is asked for, what is known of an image so far, and when that is
 * enough. It runs no network and reads no file: pipeline.ts and score_variants.ts do.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { ByFamily, FamilyName, ImageTokenizer } from "../../models/family.ts";
import type { ClassEvidence, Measurements, Settings, VariantEvidence } from "../evidence/evidence.ts";
import type { UnreadableImageError } from "../images/decode.ts";
import type { ImageInput, Pixels } from "../images/load.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { FamilyEvidence } from "../signals/family_evidence.ts";
import type { LoadedVariant } from "./variant_pool.ts";
import type { Plan } from "./memory_plan.ts";
import type { Quantize } from "../quantisation/quantize.ts";

/** What was measured of an image so far. Complete once every variant that the method wants is there. */
export interface Measured {
  readonly sha256: string;
  width: number;
  height: number;
  families?: Measurements["families"];
  /** Tokens by family, as long as they may be needed. */
  tokens?: Record<FamilyName, Int32Array>;
  /** By family; once they are there, every variant of the family is run under them. */
  classes?: Record<FamilyName, ClassEvidence>;
  variants: Record<string, VariantEvidence>;
  timings: { read: number; families: number; variants: number };
}

/** The class that the user gave an image, which is the same for all families; undefined where none was given. */
export function classOf({ classes = {} }: Pick<Measured, "classes">): number | undefined {
  return Object.values(classes)[0]?.top[0].class;
}

/** The networks that a stream runs; variant_pool.ts loads those of a set. */
export interface Networks {
  /** By family, in the order of the registry. */
  readonly tokenizers: ByFamily<ImageTokenizer>;
  withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T>;
}

export interface MeasureOptions {
  readonly device: Device;
  readonly models: Networks;
  readonly plan: Pick<Plan, "chunk" | "tokenizerBatch" | "variantBatch"> & Partial<Pick<Plan, "scoring">>;
  /** The variants that the set has. */
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  /** Hash of the model set. */
  readonly modelSet: string;
  readonly settings: Settings;
  /** Quantisers in place of the tokenizers' own; they must be those that the settings name. */
  readonly quantizers?: Readonly<Partial<Record<FamilyName, Quantize>>>;
  /** Further numbers about an image's tokens, in the evidence beside the summaries; the settings name them. */
  readonly extras?: ExtraScores;
  readonly maxPixels?: number;
  /** Once aborted, the pass in progress is finished, what is complete comes out, and the stream ends. */
  readonly signal?: AbortSignal;
  /** What is known of an image with this content from an earlier run, under the same model set and settings. */
  readonly recall?: (sha256: string) => Promise<Measured | undefined>;
  /** Receives what was measured of images that are not complete yet, whenever a pass is done. */
  readonly remember?: (measured: readonly Measured[]) => Promise<void>;
  /** Receives the work done, counted in images. */
  readonly onWork?: (images: number) => void;
}

/** The families whose variants must be run for an image, given its signals. */
export type Wants = (families: Measurements["families"]) => readonly FamilyName[];

export type StreamOptions = MeasureOptions & { readonly wants: Wants };

export type Item =
  | { readonly input: ImageInput; readonly error: UnreadableImageError }
  | { readonly input: ImageInput; readonly measured: Measured; pixels?: Pixels; credited: number };

export type ReadItem = Extract<Item, { measured: Measured }>;

export function isRead(item: Item): item is ReadItem {
  return "measured" in item;
}

/** Share of an image's work that the tokenizers count for, in progress reports. */
export const familyShare = 0.5;

/** Reports progress: of this image, the share `done` (0 to 1) is behind us. */
export function credit(item: ReadItem, done: number, { onWork }: StreamOptions): void {
  onWork?.(done - item.credited);
  item.credited = done;
}

export function wantedVariants({ families }: Measured, { wants, variants }: StreamOptions): readonly string[] {
  return families === undefined ? [] : wants(families).flatMap((family) => variants[family]);
}

export function isComplete(measured: Measured, options: StreamOptions): boolean {
  return measured.families !== undefined &&
    wantedVariants(measured, options).every((name) => name in measured.variants);
}

/** Signals of the operating system are seen only between two turns of the event loop, which a CPU device never gives up. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Numbers that are not finite would turn into a verdict silently: weights are broken, or a device is. */
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
