/** Options that several tasks have: each row exists once, and means the same everywhere. */
import { strategies } from "../../attribution/decision/calibration_file.ts";
import { decidingMethods, methodOf } from "../../attribution/decision/methods.ts";
import { DEFAULT_MAX_PIXELS } from "../../attribution/images/decode.ts";
import { quantizerNames } from "../../attribution/quantisation/quantizers.ts";
import { journalIn } from "../../attribution/run/report.ts";
import { choice, defineOptions, listOf, real, size, whole } from "../../util/options.ts";

/** `--json`: everywhere JSON Lines, and nothing else, on stdout. `lines` says what each is, such as `one per image`. */
export function jsonLines(lines: string) {
  return { help: `JSON Lines on stdout instead of text: ${lines}` } as const;
}

export const limit = { value: "N", type: whole(1), help: "only the first N images" } as const;

export const seed = { value: "N", type: whole(0), help: "of all random numbers", default: "0" } as const;

export const models = {
  value: "DIR",
  help: "model set",
  unset: "weights/official where it is complete, else weights/tiny",
} as const;

/** Where to compute. */
export const deviceOptions = defineOptions({
  device: {
    value: "NAME",
    type: choice(["auto", "cpu", "webgpu"]),
    default: "auto",
    help: "where to compute; auto takes a GPU where there is one, else the processor",
  },
  threads: { value: "N", type: whole(1), help: "threads of the processor", unset: "all" },
});

/** Where to compute networks, and in which memory. */
export const networkOptions = defineOptions({
  ...deviceOptions,
  memoryBytes: {
    name: "memory",
    value: "SIZE",
    type: size,
    help: "limit for weights and activations on the device",
    unset: "three quarters of the free memory, at most 8GiB or what the largest network needs; on a GPU 40GiB",
  },
  weightType: {
    value: "TYPE",
    type: choice(["f32", "f16"]),
    help: "precision in which weights are kept; f16 takes half the memory of f32",
    unset: "that of their files",
  },
});

export const journal = {
  value: "FILE",
  help: "keep every measurement in this file, and measure only what it lacks, so that a stopped run continues",
  unset: "journal.sqlite in the report's folder",
} as const;

export const resume = { help: "no effect: a run always continues from its journal" } as const;

export const report = { value: "DIR", help: "folder for evidence.jsonl, a line per image, and summary.json" } as const;

export const quantization = {
  value: "NAME",
  type: choice(quantizerNames),
  help: "how tokens of several scales are found",
  unset: "as in the calibration",
} as const;

/** What every task has that measures images. */
export const measuringOptions = defineOptions({
  models,
  journal,
  resume,
  quantization,
  ...networkOptions,
  maxPixels: { value: "N", type: whole(1), default: String(DEFAULT_MAX_PIXELS), help: "refuse larger images" },
});

/** How verdicts are reached. */
export const decisionOptions = defineOptions({
  method: {
    value: "NAME",
    type: choice(Object.fromEntries(decidingMethods().map((name) => [name, methodOf(name).description]))),
    help: "how to decide",
    unset: "joint where the calibration has its classifiers, else perplexity",
  },
  outlierPrior: { value: "P", type: real(0, 1), help: "share of outliers that joint expects", unset: "0.2" },
  threshold: {
    value: "NAME",
    type: choice(strategies),
    help: "which of the calibration's thresholds decide",
    unset: "the calibration's choice",
  },
  search: {
    value: "HOW",
    type: choice({
      off: "not at all",
      quick: "such an image costs twice as much as others at most",
      full: "ten times at most; also crops at any offset and shifts",
    }),
    default: "quick",
    help: "how images that would be outliers are searched mirrored, turned, cropped or within a canvas",
  },
});

/** Scores of methods that are not measured unless asked for. */
export const extras = { value: "LIST", type: listOf(choice(["membership", "prada"])) } as const;

/** The class under which tokens are scored, where no classes are given. */
export const condition = {
  value: "NAME",
  type: choice(["none", "infer"]),
  default: "infer",
  help: "the class under which tokens are scored",
} as const;

/** How much the tokenizers measure. */
export const signals = {
  value: "LEVEL",
  type: choice(["core", "all"]),
  default: "all",
  help: "which signals to measure; all takes half as long again",
} as const;

/** The journal of a run: the one given, or the one in the report's folder. */
export function withJournal<T extends { readonly journal?: string; readonly report: string }>(values: T) {
  return { ...values, journal: values.journal ?? journalIn(values.report) };
}
