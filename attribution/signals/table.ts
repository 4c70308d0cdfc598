/**
 * The table of signals: name, title, cost, and scale of each. Lower scores mean closer to the family. reconstruction.ts
 * computes the signals, decision/ judges them.
 */
import type { FamilyEvidence } from "./family_evidence.ts";

/**
 * How many signals are measured of every image.
 *
 * - `core`: two passes of encoder and decoder
 * - `all`: also the signals of reconstruction from tokens; another pass of the encoder and two of the decoder
 * - `baselines`: the same with the encoder that the tokenizer was trained with, instead of a fine-tuned one; also
 *   LatentTracer, 100 passes of the decoder and its gradient
 */
export type SignalLevel = "core" | "all" | "baselines";

/** All levels. Each measures what the ones before it do. */
export const signalLevels: readonly SignalLevel[] = ["core", "all", "baselines"];

/** What tables, thresholds and plots need to know of a signal. */
export interface SignalRow {
  /** For tables and diagrams. */
  readonly title: string;
  /** The first level that measures it. */
  readonly level: SignalLevel;
  /** Scale on which means, deviations and midpoints of scores are taken: logarithms for losses, linear for shares. */
  readonly scale: "log" | "linear";
  /** The score from evidence, lower for images closer to the family. Undefined if it was not measured. */
  readonly score: (evidence: FamilyEvidence) => number | undefined;
}

/**
 * Name of a signal, in calibration files and options. It is the field of `FamilyEvidence`, except that `changedTokens`
 * is 1 minus the field `unchangedTokens`, so that lower means closer to the family for every signal.
 */
export type SignalName =
  | "quantLoss"
  | "combined"
  | "encLoss"
  | "quantErrorTail"
  | "encLossUncalibrated"
  | "encLossQuantized"
  | "reconstruction"
  | "changedTokens";

/** A row per signal. */
export const signalTable: Readonly<Record<SignalName, SignalRow>> = {
  quantLoss: { title: "QuantLoss", level: "core", scale: "log", score: ({ quantLoss }) => quantLoss },
  combined: { title: "QuantLoss x EncLoss", level: "core", scale: "log", score: ({ combined }) => combined },
  encLoss: { title: "EncLoss", level: "core", scale: "log", score: ({ encLoss }) => encLoss },
  quantErrorTail: {
    title: "QuantLoss, 90th percentile of tokens",
    level: "core",
    scale: "log",
    score: ({ quantErrorTail }) => quantErrorTail,
  },
  encLossUncalibrated: {
    title: "EncLoss, not calibrated",
    level: "core",
    scale: "log",
    score: ({ encLossUncalibrated }) => encLossUncalibrated,
  },
  encLossQuantized: {
    title: "EncLoss with quantisation",
    level: "all",
    scale: "log",
    score: ({ encLossQuantized }) => encLossQuantized,
  },
  reconstruction: {
    title: "Reconstruction",
    level: "all",
    scale: "log",
    score: ({ reconstruction }) => reconstruction,
  },
  changedTokens: {
    title: "Tokens changed by re-encoding",
    level: "all",
    scale: "linear",
    score: ({ unchangedTokens }) => unchangedTokens === undefined ? undefined : 1 - unchangedTokens,
  },
};

/** All signals, in the order of the table. */
export const signalNames: readonly SignalName[] = Object.keys(signalTable) as SignalName[];

/**
 * What thresholds apply to: a signal, or the distance `oneClass` computed from several (decision/family_distance.ts).
 */
export type ScoreName = SignalName | "oneClass";
/** All scores. */
export const scoreNames: readonly ScoreName[] = ["oneClass", ...signalNames];

/** What tables, diagrams and plans need to know of a score. */
export const scoreTable: Readonly<Record<ScoreName, Omit<SignalRow, "score">>> = {
  oneClass: { title: "Distance from the family's own images", level: "core", scale: "log" },
  ...signalTable,
};

/** A baseline of the paper (arXiv 2606.28386). */
export type BaselineName = "AEDR" | "Reconstruction" | "LatentTracer";

/** Scores of the baselines from evidence of the level `baselines`. Lower means closer to the family. */
export const baselineTable: Readonly<Record<BaselineName, SignalRow["score"]>> = {
  AEDR: ({ encLoss }) => encLoss,
  Reconstruction: ({ reconstruction }) => reconstruction,
  LatentTracer: ({ latentTracer }) => latentTracer,
};

/** All baselines. */
export const baselineNames: readonly BaselineName[] = Object.keys(baselineTable) as BaselineName[];

/** Lower bound of scores under a logarithm, so that an error of exactly 0 stays finite. Real losses are larger. */
const least = 1e-12;

/** A score on its scale: its logarithm, clipped at 1e-12, or the score itself. */
export function toScale(name: ScoreName, score: number): number {
  return scoreTable[name].scale === "log" ? Math.log(Math.max(score, least)) : score;
}

/** The inverse of `toScale`. */
export function fromScale(name: ScoreName, value: number): number {
  return scoreTable[name].scale === "log" ? Math.exp(value) : value;
}

/** The score of a signal. Throws if it was not measured. */
export function scoreOf(name: SignalName, evidence: FamilyEvidence): number {
  const score = signalTable[name].score(evidence);
  if (score === undefined) {
    throw new Error(`${name}: was not measured; evidence with the signals "${signalTable[name].level}" has it`);
  }
  return score;
}

/** The lowest level that measures all of these scores. */
export function levelFor(names: Iterable<ScoreName>): SignalLevel {
  let level = 0;
  for (const name of names) level = Math.max(level, signalLevels.indexOf(scoreTable[name].level));
  return signalLevels[level];
}
