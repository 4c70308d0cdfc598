/** Options, events and observers of runs over images, as plain data. */
import type { DeviceName } from "../../core/open_device.ts";
import type { Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ConditionName } from "../evidence/evidence.ts";
import type { ImageDecoder } from "../images/decoder/mod.ts";
import type { InferenceSettings } from "../likelihood/class_inference.ts";
import type { TokenScores } from "../likelihood/token_scores.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import type { SignalLevel } from "../signals/table.ts";
import type { Measured, SearchOptions } from "./image_state.ts";
import type { RunPlan } from "./run_plan.ts";

/**
 * Where a run computes, and where it stores its results.
 *
 * @example
 * ```ts
 * import { type RunOptions } from "@model-tracer/model-tracer";
 *
 * const options: RunOptions = { device: "cpu", threads: 2, maxBatch: 4, journal: "journal.sqlite" };
 * console.log(options.device); // for Tracer.open(options)
 * ```
 */
export interface RunOptions {
  /** Default `auto`: a hardware adapter of WebGPU, else the CPU. */
  readonly device?: DeviceName;
  /** Whether `webgpu` may be a software adapter. Default true. */
  readonly allowSoftware?: boolean;
  /** Threads of the CPU device. Default: as many as the machine has processors. */
  readonly threads?: number;
  /**
   * Type in which the weights of matrices are stored on the device. Default: that of their files; `f16` rounds them to
   * half the memory of `f32`.
   */
  readonly weightType?: "f32" | "f16";
  /**
   * Limit for weights and activations on the device. Default: by the free memory, at most 8 GiB or what the largest
   * network needs, on a card 40 GiB.
   */
  readonly memoryBytes?: number;
  /** Largest number of images per pass; memory may allow fewer. Default 16. */
  readonly maxBatch?: number;
  /** Load all variants that fit into memory before the first image, not when they are first used. Default true. */
  readonly preload?: boolean;
  /** Images with more pixels are unreadable. Default 64 Mi. */
  readonly maxPixels?: number;
  /** Folder for evidence.jsonl (a line per image) and summary.json. Default: none is written. */
  readonly report?: string;
  /**
   * SQLite file that keeps all measurements. Later runs, also of other tasks, recall them in place of measuring again.
   * Default: journal.sqlite in the report's folder; without a report nothing is kept.
   */
  readonly journal?: string;
  /** Aborting it ends the run after the pass in progress. */
  readonly signal?: AbortSignal;
}

/** Receives intermediate results that the evidence does not contain. */
export interface Observer {
  /** Called with the latents f and fHat [batch, h, w, channels] of a batch. Both tensors are freed after the pass. */
  readonly onQuantised?: (family: FamilyName, f: Tensor, fHat: Tensor) => void;
  /** Called after every pass with the measurements of its images so far, tokens included. */
  readonly onMeasured?: (measured: readonly Measured[]) => void;
  /** Called with the log-probabilities of an image's tokens under a variant. */
  readonly onScores?: (variant: string, tokens: Int32Array, scores: TokenScores) => void;
}

/**
 * Progress of a run.
 *
 * @example
 * ```ts
 * import { type RunEvents, Tracer } from "@model-tracer/model-tracer";
 *
 * const events: RunEvents = { onNote: (text) => console.error(text), onPrepare: (text) => console.error(text) };
 * await using tracer = await Tracer.open({ device: "cpu" }, events);
 * console.log(tracer.info.method);
 * ```
 */
export interface RunEvents {
  /** Called with a fact that the user should know, such as the choice of a software adapter. */
  readonly onNote?: (text: string) => void;
  /** Called before a network is checked or loaded, with a description such as `loading var16`. */
  readonly onPrepare?: (text: string) => void;
  /** Called once before the first image, with the number of images. */
  readonly onStart?: (total: number) => void;
  /** Called before work that takes more than some seconds. */
  readonly onPlan?: (plan: RunPlan) => void;
  /**
   * Called with the work done so far, in images (fractions are possible), and with the seconds that the rest will take,
   * undefined while nothing is known of that.
   */
  readonly onProgress?: (images: number, secondsLeft?: number) => void;
}

/** What is measured of every image. */
export interface Measuring {
  /** The quantiser that makes tokens. */
  readonly quantization: QuantizerName;
  /** Which signals of the tokenizers. */
  readonly signals: SignalLevel;
  /** How transformers score the tokens. Default: no transformer is run. */
  readonly scoring?: Scoring;
  /** Which images are searched for poses. Default: none. */
  readonly searching?: SearchOptions;
  /** Share of the families, 0 to 1, whose variants score an image, for plans. Default 1. */
  readonly openShare?: number;
}

/** How transformers score tokens. */
export interface Scoring {
  /** The class condition; `given` needs images with classes. */
  readonly condition: ConditionName;
  /** How classes are inferred under the condition `infer`. */
  readonly inference?: InferenceSettings;
  /** Further statistics of the token scores. */
  readonly extras?: ExtraScores;
}

/** Options of `openRun`. */
export interface OpenRunOptions extends RunOptions {
  /** Lock the journal so that no other process can use it. Default false. */
  readonly exclusive?: boolean;
  readonly observer?: Observer;
  /** Decodes files; the caller closes it. Default: openDecoder(). */
  readonly decoder?: ImageDecoder;
}
