/**
 * The signals by name: what each is called, what it costs, and how it is put on a scale on which lower means closer to the
 * family. How they are computed is in signals.ts and measure.ts, what follows from them in calibration.ts.
 */
import type { FamilyEvidence } from "./family_evidence.ts";

/**
 * How much is measured of every image. `core`: two passes of the encoder and of the decoder. `all`: another pass of the
 * encoder and two of the decoder, for what quantisation does to the reconstruction. `baselines`: the same with the encoder
 * that the tokenizer was trained with in place of a fine-tuned one, and LatentTracer (a hundred passes of the decoder and
 * its gradient).
 */
export type SignalLevel = "core" | "all" | "baselines";

/** All of them, each measuring what those before it do. */
export const signalLevels: readonly SignalLevel[] = ["core", "all", "baselines"];

/** What tables, thresholds and plots need to know of a signal. */
export interface SignalRow {
  /** For tables and diagrams. */
  readonly title: string;
  /** The first level that measures it. */
  readonly level: SignalLevel;
  /** Scale on which its scores are averaged and halved: logarithms for losses, the scores themselves for shares. */
  readonly scale: "log" | "linear";
  /** Lower means closer to the family. Undefined where it was not measured. */
  readonly score: (evidence: FamilyEvidence) => number | undefined;
}

/** The signals' names, those of the fields of `FamilyEvidence` but for `changedTokens`. */
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

/** All of them, in the order of the table. */
export const signalNames: readonly SignalName[] = Object.keys(signalTable) as SignalName[];

/** What thresholds can be on: a signal, or `oneClass`, the distance made of several signals (one_class.ts). */
export type ScoreName = SignalName | "oneClass";
export const scoreNames: readonly ScoreName[] = ["oneClass", ...signalNames];

/** What tables, diagrams and plans need to know of a score. */
export const scoreTable: Readonly<Record<ScoreName, Omit<SignalRow, "score">>> = {
  oneClass: { title: "Distance from the family's own images", level: "core", scale: "log" },
  ...signalTable,
};

/** The baselines of the paper. */
export type BaselineName = "AEDR" | "Reconstruction" | "LatentTracer";

/** Their scores, from evidence of the level `baselines`. Lower means closer to the family. */
export const baselineTable: Readonly<Record<BaselineName, SignalRow["score"]>> = {
  AEDR: ({ encLoss }) => encLoss,
  Reconstruction: ({ reconstruction }) => reconstruction,
  LatentTracer: ({ latentTracer }) => latentTracer,
};

/** All of them. */
export const baselineNames: readonly BaselineName[] = Object.keys(baselineTable) as BaselineName[];

/** Below every loss that float32 images can have; keeps the logarithm of an error of exactly 0 finite. */
const least = 1e-12;

/** A score on its scale, and back. */
export function toScale(name: ScoreName, score: number): number {
  return scoreTable[name].scale === "log" ? Math.log(Math.max(score, least)) : score;
}

export function fromScale(name: ScoreName, value: number): number {
  return scoreTable[name].scale === "log" ? Math.exp(value) : value;
}

/** The score of a signal. Throws where the evidence does not have it. */
export function scoreOf(name: SignalName, evidence: FamilyEvidence): number {
  const score = signalTable[name].score(evidence);
  if (score === undefined) {
    throw new Error(`${name}: was not measured; evidence with the signals "${signalTable[name].level}" has it`);
  }
  return score;
}

/** The level that measures all of these. */
export function levelFor(names: Iterable<ScoreName>): SignalLevel {
  let level = 0;
  for (const name of names) level = Math.max(level, signalLevels.indexOf(scoreTable[name].level));
  return signalLevels[level];
}
