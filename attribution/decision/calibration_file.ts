/**
 * The calibration file of a model set, and the rules that follow from it. For every family and signal the file has the
 * typical score and the thresholds of three strategies; it also says which of them decide. A set without a file gets
 * rules that accept every image. calibration/ fits what the file has, methods.ts decides by it.
 */
import { CalibrationError } from "../../util/errors.ts";
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import type { FamilyName } from "../../models/family.ts";
import { parseJson } from "../../util/json.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { type ConditionName, type Measurements, summariesVersion } from "../evidence/evidence.ts";
import { type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { defaultQuantizer, type QuantizerName, quantizerNames } from "../quantisation/quantizers.ts";
import { type Classifiers, classifiersSchema } from "./classifiers/schema.ts";
import { defaultOutlierPrior } from "./classifiers/joint.ts";
import type { OneClass } from "./classifiers/one_class.ts";
import { latentsOf, latentsSchema } from "./latents.ts";
import { familyScore, oneClassSchema } from "./family_distance.ts";
import { levelFor, type ScoreName, scoreNames, type SignalLevel, toScale } from "../signals/table.ts";
import { sha256Hex } from "../../util/hash.ts";

/**
 * How a threshold is fitted.
 *
 * - `quantile`: the q-quantile of the family's own scores
 * - `gaussian`: mean + k standard deviations of the family's own scores, on the signal's scale
 * - `roc`: the threshold at a chosen rate of false alarms among outliers
 */
export type Strategy = "quantile" | "gaussian" | "roc";

/** All strategies. */
export const strategies: readonly Strategy[] = ["quantile", "gaussian", "roc"];

const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
const count = v.pipe(v.number(), v.integer("a whole number"), v.minValue(0, "0 or more"));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"));
const share = v.strictObject({ count, of: count });

/**
 * Errors of a threshold: images of the family that it rejects; outliers, and images of other families, that it accepts.
 */
const costs = v.strictObject({ misses: share, falseAlarms: share, otherFamily: share });
/** Errors of a threshold, each as a count of so many images. */
export type Costs = v.InferOutput<typeof costs>;

const fitted = v.strictObject({
  /** Images with at most this score pass. */
  threshold: v.number(),
  /** What it was fitted with: q, k, or the rate of false alarms. */
  parameter: v.optional(v.number()),
  /** Errors of this threshold on val. */
  onVal: v.optional(costs),
  /** Errors on val of thresholds that were fitted without the images that they are tried on. */
  crossFitted: v.optional(v.nullable(costs)),
});

const signal = v.strictObject({
  /** Mean of the family's own scores on the signal's scale (ln for losses). */
  mean: v.number(),
  /** Standard deviation of the same. */
  deviation: positive,
  /** Null if the data do not allow a fit, as for `roc` without outliers. */
  thresholds: v.strictObject({
    quantile: v.nullable(fitted),
    gaussian: v.nullable(fitted),
    roc: v.nullable(fitted),
  }),
});
/** What was fitted for one signal of one family. */
export type SignalCalibration = v.InferOutput<typeof signal>;

const data = v.strictObject({
  /** sha256 over the sorted labels and content hashes of the images. */
  fingerprint: sha256,
  images: count,
  /** Images by label. */
  labels: v.record(v.string(), count),
});
/** The images of a split. */
export type DataSummary = v.InferOutput<typeof data>;

const scoreName = v.picklist(scoreNames);
/** The format of the file. */
export const calibrationFormat = "model-tracer-calibration/6";
/** The format of a file with latent statistics, which programs that do not know them must not read. */
export const calibrationFormatWithLatents = "model-tracer-calibration/7";

const schema = v.strictObject({
  format: v.picklist([calibrationFormat, calibrationFormatWithLatents]),
  /** The hash of the model set that the numbers were made with. */
  modelSet: sha256,
  description: v.optional(v.string()),
  /** The quantiser that the scores were made with. */
  quantization: v.picklist(quantizerNames),
  /** The images that were fitted to; null if the numbers were set by hand. */
  data: v.nullable(v.strictObject({ train: data, val: data })),
  /** What decides by default. Without a strategy, all families accept every image. */
  decision: v.strictObject({
    signals: v.record(v.string(), scoreName),
    threshold: v.nullable(v.picklist(strategies)),
  }),
  /** By family, then by signal. */
  families: v.record(v.string(), v.record(scoreName, signal)),
  /** By family: what the score `oneClass` is computed with. */
  oneClass: v.optional(v.record(v.string(), oneClassSchema)),
  /** What methods beyond thresholds and perplexity decide by. Absent if a variant had too few images. */
  classifiers: v.optional(classifiersSchema),
  /**
   * By family: the latent statistics of an encoder whose file has none (estimate_latents.ts), which everything here was
   * measured with.
   */
  latents: v.optional(latentsSchema),
  variants: v.strictObject({
    /** Mean log-probabilities per token are multiplied by this before the softmax over variants. */
    scale: positive,
  }),
});

/** The content of a calibration file. */
export type Calibration = v.InferOutput<typeof schema>;

/** Fewer images of a family, or outliers in val, than this give a caution. */
const enoughImages = 20;

/** Why a calibration should be trusted less than others: sentences that every verdict by it repeats. */
export function cautionsOf({ data }: Pick<Calibration, "data">, labels: Labels): readonly string[] {
  if (data === null) return [];
  const { train, val } = data;
  const few = labels.families.flatMap((name) => {
    const n = labels.variants[name].reduce(
      (sum, label) => sum + (train.labels[label] ?? 0) + (val.labels[label] ?? 0),
      0,
    );
    return n < enoughImages ? [`${n} of ${name}`] : [];
  });
  const outliers = val.labels[outlierLabel] ?? 0;
  const all = [...few, ...outliers < enoughImages ? [`${outliers} outliers`] : []];
  if (all.length === 0) return [];
  return [`The calibration rests on few images (${all.join(", ")}; ${enoughImages} or more are needed): be cautious.`];
}

/** A calibration by which all families of a set accept every image, so that no image is an outlier. */
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
 * The calibration of a set, and the sha256 of its file (null if the manifest names none). Latent statistics of the file
 * are supplied to the set, so that its tokenizers are those that were calibrated. Throws a CalibrationError when the file
 * cannot be read, is not valid, or was made for other weights.
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
  const latents = await latentsOf(calibration.latents);
  try {
    if (latents !== undefined) set.supplyLatents(latents.byFamily, latents.id, path);
  } catch (cause) {
    throw new CalibrationError((cause as Error).message, { cause });
  }
  return { calibration, sha256: await sha256Hex(bytes) };
}

/** Reads a calibration for a model set. Throws a CalibrationError when it is not valid, or was made for another set. */
export function parseCalibration(
  text: string,
  set: Pick<ModelSet, "hash" | "families">,
  label = "calibration.json",
): Calibration {
  const calibration = parseJson(schema, text, label, (value) => inconsistencies(value, set.families), CalibrationError);
  if (calibration.modelSet !== set.hash) {
    throw new CalibrationError(
      `${label}: was made for the model set ${short(calibration.modelSet)}, these weights are ${short(set.hash)}: ` +
        "thresholds of other weights mean nothing; calibrate again (deno task calibrate), or remove `calibration` " +
        "from the manifest",
    );
  }
  return calibration;
}

/** Contradictions within a file: what `decision` refers to must have been fitted, to what is measured now. */
function inconsistencies(
  { format, decision, families, oneClass, classifiers, latents }: Calibration,
  names: readonly FamilyName[],
): string[] {
  const problems: string[] = [];
  if ((latents !== undefined) !== (format === calibrationFormatWithLatents)) {
    const [expected, got] = latents === undefined ? ["them", "none"] : ["none", "some"];
    problems.push(`latents: expected ${expected} in a file of the format ${format}, got ${got}`);
  }
  for (const name of Object.keys(latents ?? {})) {
    if (!names.includes(name)) problems.push(`latents: expected families of ${names.join(", ")}, got ${name}`);
  }
  if (classifiers !== undefined && classifiers.summaries !== summariesVersion) {
    problems.push(
      `classifiers.summaries: expected ${summariesVersion}, got ${classifiers.summaries ?? "none"}: ` +
        "likelihoods are measured in another way now; calibrate again (deno task calibrate)",
    );
  }
  for (const name of names) {
    if (families[name] === undefined || decision.signals[name] === undefined) {
      problems.push(`families: expected ${names.join(", ")}, got ${Object.keys(families).join(", ") || "none"}`);
      continue;
    }
    const signal = decision.signals[name], calibration = families[name][signal];
    if (calibration === undefined) {
      const known = Object.keys(families[name]).join(", ");
      problems.push(`decision.signals.${name}: expected one of ${known}, got ${signal}`);
    } else if (decision.threshold !== null && calibration.thresholds[decision.threshold] === null) {
      problems.push(`families.${name}.${signal}.thresholds.${decision.threshold}: expected a threshold, got null`);
    }
    if (families[name].oneClass !== undefined && oneClass === undefined) {
      problems.push(`oneClass: expected what the scores of families.${name}.oneClass are computed with, got none`);
    }
  }
  return problems;
}

/** How an image's score for one family is judged. */
export interface FamilyRule {
  /** Which score. */
  readonly signal: ScoreName;
  /**
   * What the score `oneClass` is computed with.
   *
   * @internal
   */
  readonly oneClass?: OneClass;
  /** Mean of the family's own scores on the signal's scale. */
  readonly mean: number;
  /** Their standard deviation. */
  readonly deviation: number;
  /** Images with at most this score pass; null accepts every image. */
  readonly threshold: number | null;
}

/** All that a method decides by. */
export interface Rules {
  /** The labels that a verdict can have. */
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
  /** Expected share of outliers among the images, above 0 and below 1. Only `joint` uses it. */
  readonly outlierPrior?: number;
  /** What to say with every verdict: why the calibration should be trusted less than others. */
  readonly cautions?: readonly string[];
}

/** What a user may choose instead of the calibration's own decision. */
export interface RuleChoice {
  /** The strategy of thresholds. Default: the one that the calibration chose. */
  readonly threshold?: Strategy;
  /** Expected share of outliers for `joint`, above 0 and below 1. Default 0.2. */
  readonly outlierPrior?: number;
  /** Scores to judge by, for some families or all. Default: those that the calibration chose. */
  readonly signals?: Readonly<Partial<Record<FamilyName, ScoreName>>>;
}

/**
 * The rules of a calibration, with what the user chose instead. Throws a CalibrationError that says what was fitted if
 * the choice was not, and a RangeError for a prior out of range.
 */
export function rulesOf(calibration: Calibration, labels: Labels, choice: RuleChoice = {}): Rules {
  const { outlierPrior = defaultOutlierPrior } = choice;
  if (!(outlierPrior > 0 && outlierPrior < 1)) {
    throw new RangeError(`--outlier-prior: expected a share above 0 and below 1, got ${outlierPrior}`);
  }
  const { classifiers, variants } = calibration, cautions = cautionsOf(calibration, labels);
  return {
    labels,
    families: mapFamilies(labels.families, (family) => familyRule(calibration, family, choice)),
    variantScale: variants.scale,
    ...classifiers !== undefined && { classifiers, outlierPrior },
    ...cautions.length > 0 && { cautions },
  };
}

/** The rule of one family. */
function familyRule(calibration: Calibration, family: FamilyName, choice: RuleChoice): FamilyRule {
  const signal = choice.signals?.[family] ?? calibration.decision.signals[family];
  const fit = calibration.families[family][signal];
  if (fit === undefined) {
    const known = Object.keys(calibration.families[family]).join(", ");
    throw new CalibrationError(
      `calibration: expected a signal that was fitted for ${family} (${known}), got ${signal}`,
    );
  }
  const strategy = choice.threshold ?? calibration.decision.threshold;
  const threshold = strategy === null ? null : fit.thresholds[strategy];
  if (strategy !== null && threshold === null) {
    const known = strategies.filter((other) => fit.thresholds[other] !== null);
    const hint = strategy === "roc" && calibration.data !== null && !calibration.data.val.labels.outlier
      ? ": val had no outliers when the set was calibrated"
      : "";
    const remedy = known.length > 0
      ? `it has ${known.join(", ")}`
      : "it has none at all: calibrate first (deno task calibrate)";
    throw new CalibrationError(
      `--threshold ${strategy}: the calibration has no such threshold for ${family} (${signal})${hint}; ${remedy}`,
    );
  }
  const scores = { mean: fit.mean, deviation: fit.deviation, threshold: threshold?.threshold ?? null };
  return signal === "oneClass" ? { signal, oneClass: calibration.oneClass![family], ...scores } : { signal, ...scores };
}

/** The signals that must be measured of an image to decide by these rules. */
export function levelOf(rules: Rules): SignalLevel {
  return levelFor(Object.values(rules.families).map(({ signal }) => signal));
}

/** Throws a CalibrationError if the thresholds were fitted to scores of another quantiser. */
export function requireQuantizer(calibration: Calibration, quantization: QuantizerName): void {
  if (calibration.quantization !== quantization && calibration.decision.threshold !== null) {
    throw new CalibrationError(
      `--quantization ${quantization}: the calibration was made with ${calibration.quantization}, whose scores ` +
        `differ; leave the option out, or calibrate with --quantization ${quantization}`,
    );
  }
}

/** Throws a CalibrationError if the classifiers were fitted under another class condition. */
export function requireCondition({ classifiers }: Calibration, condition: ConditionName): void {
  if (classifiers !== undefined && classifiers.condition !== condition) {
    throw new CalibrationError(
      `--condition ${condition}: the classifiers were fitted to likelihoods under ` +
        `--condition ${classifiers.condition}; leave the option out, or calibrate with --condition ${condition}`,
    );
  }
}

/**
 * A score in standard deviations on the signal's scale: 0 for a typical image of the family, larger for a worse fit.
 */
export function standardise(
  { signal, mean, deviation }: Pick<FamilyRule, "signal" | "mean" | "deviation">,
  score: number,
): number {
  return (toScale(signal, score) - mean) / deviation;
}

/** The score by which an image is judged for a family. */
export function ruleScore(rules: Rules, families: Measurements["families"], name: FamilyName): number {
  const { signal, oneClass } = rules.families[name];
  return familyScore(signal, families, name, oneClass);
}

/** Whether an image passes the family's threshold. */
export function passes(rules: Rules, families: Measurements["families"], name: FamilyName): boolean {
  const { threshold } = rules.families[name];
  return threshold === null || ruleScore(rules, families, name) <= threshold;
}

function short(hash: string): string {
  return hash.slice(0, 12);
}
