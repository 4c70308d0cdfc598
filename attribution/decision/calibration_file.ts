/**
 * The calibration file of a model set: for every family and signal the typical score and the thresholds of three
 * strategies, and which of them decide. Fitting is in calibration/thresholds.ts, deciding in methods.ts; a set without a file gets
 * rules that accept every image.
 */
import { CalibrationError } from "../../util/errors.ts";
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../../models/family.ts";
import { parseJson } from "../../util/json.ts";
import type { ModelSet } from "../../models/model_set.ts";
import type { ConditionName, Measurements } from "../evidence/evidence.ts";
import { type Labels, mapFamilies } from "../labels.ts";
import { defaultQuantizer, type QuantizerName, quantizerNames } from "../quantisation/quantizers.ts";
import { type Classifiers, classifiersSchema } from "./classifiers/schema.ts";
import { defaultOutlierPrior } from "./classifiers/joint.ts";
import type { OneClass } from "./classifiers/one_class.ts";
import { familyScore, oneClassSchema } from "./family_distance.ts";
import { levelFor, type ScoreName, scoreNames, type SignalLevel, toScale } from "../signals/table.ts";
import { sha256Hex } from "../../util/hash.ts";

/**
 * How a threshold is fitted. `quantile`: the q-quantile of the family's own scores. `gaussian`: mean + k standard deviations
 * of the family's own scores on the signal's scale. `roc`: a chosen rate of false alarms among outliers.
 */
export type Strategy = "quantile" | "gaussian" | "roc";

/** All of them. */
export const strategies: readonly Strategy[] = ["quantile", "gaussian", "roc"];

const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
const count = v.pipe(v.number(), v.integer("a whole number"), v.minValue(0, "0 or more"));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"));
const share = v.strictObject({ count, of: count });

/** What a threshold costs: images of the family that it turns away, and others that it lets in. */
const costs = v.strictObject({ misses: share, falseAlarms: share, otherFamily: share });
export type Costs = v.InferOutput<typeof costs>;

const fitted = v.strictObject({
  /** Largest score of an image of the family. */
  threshold: v.number(),
  /** q, k or rate of false alarms that it was fitted with. */
  parameter: v.optional(v.number()),
  /** On val: with this threshold, and with thresholds fitted without the images that they are tried on. */
  onVal: v.optional(costs),
  crossFitted: v.optional(v.nullable(costs)),
});

const signal = v.strictObject({
  /** Mean and standard deviation of the family's own scores on the signal's scale (ln for losses). */
  mean: v.number(),
  deviation: positive,
  /** Null where the data did not allow a fit: `roc` without outliers. */
  thresholds: v.strictObject({
    quantile: v.nullable(fitted),
    gaussian: v.nullable(fitted),
    roc: v.nullable(fitted),
  }),
});
export type SignalCalibration = v.InferOutput<typeof signal>;

const data = v.strictObject({
  /** sha256 over the sorted labels and content hashes of the images. */
  fingerprint: sha256,
  images: count,
  labels: v.record(v.string(), count),
});
export type DataSummary = v.InferOutput<typeof data>;

const scoreName = v.picklist(scoreNames);
/** The format that is written. Files of the one before lack `oneClass`, and are read as they are. */
export const calibrationFormat = "model-tracer-calibration/3";
const schema = v.strictObject({
  format: v.picklist([calibrationFormat, "model-tracer-calibration/2"]),
  /** The hash of the model set that the numbers were made with. */
  modelSet: sha256,
  description: v.optional(v.string()),
  /** The quantiser that the scores were made with. */
  quantization: v.picklist(quantizerNames),
  /** What was fitted on; null for numbers that were set by hand. */
  data: v.nullable(v.strictObject({ train: data, val: data })),
  /** What decides unless the user says otherwise. Without a strategy every image is accepted by all families. */
  decision: v.strictObject({
    signals: v.record(v.string(), scoreName),
    threshold: v.nullable(v.picklist(strategies)),
  }),
  /** By family, then by signal. */
  families: v.record(v.string(), v.record(scoreName, signal)),
  /** What the scores `oneClass` of the families are computed with. */
  oneClass: v.optional(v.record(v.string(), oneClassSchema)),
  /** What methods beyond thresholds and perplexity decide by; left out where train and val had too few images of a variant. */
  classifiers: v.optional(classifiersSchema),
  variants: v.strictObject({
    /** Mean log-probabilities per token are multiplied by this before the softmax over variants. */
    scale: positive,
  }),
});

export type Calibration = v.InferOutput<typeof schema>;

/** Accepts every image for all families of a set: no outliers are found with it. */
export function uncalibrated(
  set: Pick<ModelSet, "hash" | "families">,
  quantization: QuantizerName = "estimate",
): Calibration {
  const open = { quantLoss: { mean: 0, deviation: 1, thresholds: { quantile: null, gaussian: null, roc: null } } };
  return {
    format: calibrationFormat,
    modelSet: set.hash,
    quantization,
    data: null,
    decision: { signals: mapFamilies(set.families, () => "quantLoss" as const), threshold: null },
    families: mapFamilies(set.families, () => open),
    variants: { scale: 20 },
  };
}

/**
 * The calibration of a set and the sha256 of its file (null when the set names none). Throws when the file is missing, not
 * of the schema, or made for other weights.
 */
export async function loadCalibration(set: ModelSet): Promise<{ calibration: Calibration; sha256: string | null }> {
  const { calibration: file } = set.manifest;
  if (file === undefined) return { calibration: uncalibrated(set, defaultQuantizer(set)), sha256: null };
  const path = join(set.dir, file);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    throw new CalibrationError(
      `${path}: the manifest names this calibration file, it cannot be read: ${(cause as Error).message}; ` +
        "make it with `deno task calibrate`",
      { cause },
    );
  }
  const calibration = parseCalibration(new TextDecoder().decode(bytes), set, path);
  return { calibration, sha256: await sha256Hex(bytes) };
}

/** Reads a calibration for a model set. Throws when it is not valid, or was made for another set. */
export function parseCalibration(
  text: string,
  set: Pick<ModelSet, "hash" | "families">,
  label = "calibration.json",
): Calibration {
  const calibration = parseJson(schema, text, label, (found) => inconsistencies(found, set.families), CalibrationError);
  if (calibration.modelSet !== set.hash) {
    throw new CalibrationError(
      `${label}: was made for the model set ${short(calibration.modelSet)}, these weights are ${short(set.hash)}: ` +
        "thresholds of other weights mean nothing; calibrate again (deno task calibrate), or remove `calibration` " +
        "from the manifest",
    );
  }
  return calibration;
}

/** A decision that rests on numbers that the file does not have. */
function inconsistencies({ decision, families, oneClass }: Calibration, names: readonly FamilyName[]): string[] {
  const problems: string[] = [];
  for (const name of names) {
    if (families[name] === undefined || decision.signals[name] === undefined) {
      problems.push(`families: expected ${names.join(", ")}, got ${Object.keys(families).join(", ") || "none"}`);
      continue;
    }
    const own = decision.signals[name], found = families[name][own];
    if (found === undefined) {
      problems.push(`decision.signals.${name}: expected one of ${Object.keys(families[name]).join(", ")}, got ${own}`);
    } else if (decision.threshold !== null && found.thresholds[decision.threshold] === null) {
      problems.push(`families.${name}.${own}.thresholds.${decision.threshold}: expected a threshold, got null`);
    }
    if (families[name].oneClass !== undefined && oneClass === undefined) {
      problems.push(`oneClass: expected what the scores of families.${name}.oneClass are computed with, got none`);
    }
  }
  return problems;
}

/** How one family's score is judged. */
export interface FamilyRule {
  /** The score. */
  readonly signal: ScoreName;
  /**
   * With what the score is computed where it is `oneClass`.
   *
   * @internal
   */
  readonly oneClass?: OneClass;
  /** Mean of the family's own scores on the signal's scale. */
  readonly mean: number;
  /** Their standard deviation. */
  readonly deviation: number;
  /** Largest score of an image of the family; null accepts every image. */
  readonly threshold: number | null;
}

/** All that a method decides by. */
export interface Rules {
  /** What images may be. */
  readonly labels: Labels;
  /** How each family's score is judged. */
  readonly families: Readonly<Record<FamilyName, FamilyRule>>;
  /** Mean log-probabilities per token are multiplied by this before the softmax over variants. */
  readonly variantScale: number;
  /**
   * What methods beyond thresholds and perplexity decide by.
   *
   * @internal
   */
  readonly classifiers?: Classifiers;
  /** Share of outliers among the images that is expected before any is seen, above 0 and below 1. */
  readonly outlierPrior?: number;
}

/** What a user may choose in place of the calibration's own decision. */
export interface RuleChoice {
  /** In place of the strategy that calibration chose. */
  readonly threshold?: Strategy;
  /** For `joint`. Default 0.2. */
  readonly outlierPrior?: number;
  /** Scores to judge by, for some families or all. */
  readonly signals?: Readonly<Partial<Record<FamilyName, ScoreName>>>;
}

/** The rules of a calibration, or others that it has. Throws naming what was not fitted, and what was. */
export function rulesOf(calibration: Calibration, labels: Labels, choice: RuleChoice = {}): Rules {
  const rule = (name: FamilyName): FamilyRule => {
    const own = choice.signals?.[name] ?? calibration.decision.signals[name];
    const found = calibration.families[name][own];
    if (found === undefined) {
      const known = Object.keys(calibration.families[name]).join(", ");
      throw new CalibrationError(`calibration: expected a signal that was fitted for ${name} (${known}), got ${own}`);
    }
    const strategy = choice.threshold ?? calibration.decision.threshold;
    const fit = strategy === null ? null : found.thresholds[strategy];
    if (strategy !== null && fit === null) {
      const known = strategies.filter((other) => found.thresholds[other] !== null);
      const hint = strategy === "roc" && calibration.data !== null && !calibration.data.val.labels.outlier
        ? ": val had no outliers when the set was calibrated"
        : "";
      throw new CalibrationError(
        `--threshold ${strategy}: the calibration has no such threshold for ${name} (${own})${hint}; ` +
          (known.length > 0
            ? `it has ${known.join(", ")}`
            : "it has none at all: calibrate first (deno task calibrate)"),
      );
    }
    const scores = { mean: found.mean, deviation: found.deviation, threshold: fit?.threshold ?? null };
    return own === "oneClass"
      ? { signal: own, oneClass: calibration.oneClass![name], ...scores }
      : { signal: own, ...scores };
  };
  const { outlierPrior = defaultOutlierPrior } = choice;
  if (!(outlierPrior > 0 && outlierPrior < 1)) {
    throw new RangeError(`--outlier-prior: expected a share above 0 and below 1, got ${outlierPrior}`);
  }
  const { classifiers, variants } = calibration;
  return {
    labels,
    families: mapFamilies(labels.families, rule),
    variantScale: variants.scale,
    ...classifiers !== undefined && { classifiers, outlierPrior },
  };
}

/** How much must be measured of an image to decide by these rules. */
export function levelOf(rules: Rules): SignalLevel {
  return levelFor(Object.values(rules.families).map(({ signal }) => signal));
}

/** Refuses thresholds that were fitted to scores of another quantiser. */
export function requireQuantizer(calibration: Calibration, quantization: QuantizerName): void {
  if (calibration.quantization !== quantization && calibration.decision.threshold !== null) {
    throw new CalibrationError(
      `--quantization ${quantization}: the calibration was made with ${calibration.quantization}, whose scores are others; ` +
        `leave the option out, or calibrate with --quantization ${quantization}`,
    );
  }
}

/** Refuses a class condition that the classifiers were not fitted under. */
export function requireCondition({ classifiers }: Calibration, condition: ConditionName): void {
  if (classifiers !== undefined && classifiers.condition !== condition) {
    throw new CalibrationError(
      `--condition ${condition}: the classifiers were fitted to likelihoods under --condition ${classifiers.condition}; ` +
        `leave the option out, or calibrate with --condition ${condition}`,
    );
  }
}

/** (score - mean) / standard deviation on the signal's scale: 0 for a typical image of the family, larger for a worse fit. */
export function standardise(
  { signal, mean, deviation }: Pick<FamilyRule, "signal" | "mean" | "deviation">,
  score: number,
): number {
  return (toScale(signal, score) - mean) / deviation;
}

/** The score of an image by which it is judged for a family. */
export function ruleScore(rules: Rules, families: Measurements["families"], name: FamilyName): number {
  const { signal, oneClass } = rules.families[name];
  return familyScore(signal, families, name, oneClass);
}

/** Whether an image's score is small enough for the family. */
export function passes(rules: Rules, families: Measurements["families"], name: FamilyName): boolean {
  const { threshold } = rules.families[name];
  return threshold === null || ruleScore(rules, families, name) <= threshold;
}

function short(hash: string): string {
  return hash.slice(0, 12);
}
