/**
 * From evidence to a verdict. A method says what must be measured of an image, and decides from the measured numbers.
 * The built-in methods are a table; `registerMethod` adds others.
 */
import { CalibrationError } from "../../util/errors.ts";
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { passes, type Rules, ruleScore, standardise } from "./calibration_file.ts";
import { mainKind } from "./classifiers/history.ts";
import { openFamilies } from "./classifiers/joint.ts";
import { stretchConfidence, stretchOf } from "./classifiers/confidence.ts";
import { softmax } from "./classifiers/logistic.ts";
import type { Classifiers } from "./classifiers/schema.ts";
import { classifyRow, ownSampleScores } from "./classifiers/variant.ts";
import type { ConditionName, Finding, Measurements, Verdict } from "../evidence/evidence.ts";
import { type Decidable, decideJoint, decideUnsuitable, posesOf } from "./finding.ts";
import { type FeatureRow, featuresOf, pickColumns } from "../evidence/features.ts";
import type { ImageFacts } from "../images/facts/facts.ts";
import { sizeReason } from "../evidence/words.ts";
import { noLabel, outlierLabel } from "../labels.ts";
import { decidePrada } from "../likelihood/prada/mod.ts";

export type { Rules } from "./calibration_file.ts";

/**
 * What a method decides. `decide` adds the rest of a verdict.
 *
 * @example
 * ```ts
 * import { type Decision } from "@model-tracer/model-tracer";
 *
 * const decision: Decision = { label: "rarb", confidence: 0.9, family: "rar", scores: { rarb: 0.9, rarl: 0.1 } };
 * console.log(decision.label);
 * ```
 */
export type Decision =
  & Pick<Verdict, "label" | "confidence" | "family" | "scores" | "log10LikelihoodRatio" | "missRate" | "pose">
  & Partial<Pick<Verdict, "finding" | "reasons">>;

/** Features of tokens beyond the summaries (extras.ts). */
export type ExtrasName = "membership" | "prada";

/**
 * A way to decide from measured numbers. It neither runs networks nor reads files.
 *
 * @example
 * ```ts
 * import { type Method } from "@model-tracer/model-tracer";
 *
 * const always: Method = {
 *   description: "everything is an outlier",
 *   wants: () => [],
 *   decide: () => ({ label: "outlier", confidence: 0.5, family: null, scores: {} }),
 * };
 * console.log(always.description); // see registerMethod
 * ```
 */
export interface Method {
  /** One line for help texts. */
  readonly description: string;
  /** The default class condition of token scores. Default `none`. */
  readonly condition?: ConditionName;
  /** Features of tokens that must be measured beyond the summaries. */
  readonly extras?: ExtrasName;
  /** The classifier that the calibration must have. */
  readonly needs?: "ownSamples" | "joint" | "membership" | "prada";
  /** Whether thresholds of signals choose the family. Default false. */
  readonly byThresholds?: boolean;
  /**
   * The families whose variants must score the image, given the signals of all families and what can be seen of its
   * history.
   */
  wants(families: Measurements["families"], rules: Rules, facts?: ImageFacts): readonly FamilyName[];
  /** Decides. Throws when the scores of a wanted family's variants are missing. */
  decide(evidence: Decidable, rules: Rules): Decision;
}

/** Probabilities of a family's variants from the features of an image. */
export type VariantScores = (row: FeatureRow, family: FamilyName, rules: Rules) => Readonly<Record<string, number>>;

/**
 * Makes a method of two stages. First, thresholds choose the family: of those whose threshold the image passes, the one
 * with the lowest standardised score, or outlier if it passes none. Then `scores` chooses the variant. Confidences are
 * rates of being right if the calibration was fitted for this method; otherwise they only order verdicts.
 */
export function twoStages(
  name: string,
  options: Pick<Method, "description" | "condition" | "extras" | "needs">,
  scores: VariantScores,
): Method {
  return {
    ...options,
    byThresholds: true,
    wants(families, rules) {
      const chosen = chooseFamily(families, rules);
      return chosen === null ? [] : [chosen];
    },
    decide(evidence, rules) {
      const { families } = evidence;
      const family = chooseFamily(families, rules);
      if (family === null) {
        const raw = Math.min(...judging(families, rules).map((name) => 1 - belonging(families, rules, name)));
        return { label: outlierLabel, confidence: calibrated(name, "none", raw, rules), family, scores: {} };
      }
      const variants = Object.entries(scores(featuresOf(evidence), family, rules));
      if (variants.length === 0) throw new Error(`${name}: expected likelihoods of the ${family} variants, got none`);
      const [label, best] = variants.reduce((a, b) => (b[1] > a[1] ? b : a));
      const confidence = calibrated(name, "variant", belonging(families, rules, family) * best, rules);
      return { label, confidence, family, scores: Object.fromEntries(variants) };
    },
  };
}

/** A raw confidence as a rate of being right, by the calibration's map for the method and the finding. */
function calibrated(method: MethodName, finding: Finding, raw: number, { classifiers }: Rules): number {
  return stretchConfidence(stretchOf(classifiers?.confidence[method], finding), raw);
}

function classifiersOf(name: string, rules: Rules): Classifiers {
  if (rules.classifiers === undefined) {
    throw new CalibrationError(
      `--method ${name}: the calibration has no classifiers: calibrate first (deno task calibrate)`,
    );
  }
  return rules.classifiers;
}

/** Probabilities of the variants: a softmax of scaled mean log-probabilities, so that the lowest perplexity wins. */
export const perplexityScores: VariantScores = (row, family, rules) => {
  const measured = rules.labels.variants[family].filter((label) => `${label}.conditional.mean` in row);
  if (measured.length === 0) return {};
  const weights = softmax(measured.map((label) => rules.variantScale * Math.min(0, row[`${label}.conditional.mean`])));
  return Object.fromEntries(measured.map((label, i) => [label, weights[i]]));
};

const everyFamily: Method["wants"] = (_, { labels }) => labels.families;

/** The method that decides nothing, for sets that are not calibrated. */
export const evidenceMethod = "evidence";

/** The methods that come with the program. */
const builtIn: Record<string, Method> = {
  joint: {
    description: "one decision over signals, likelihoods of all variants, and a prior for outliers",
    condition: "infer",
    needs: "joint",
    wants(families, rules, facts) {
      const { joint } = classifiersOf("joint", rules);
      return openFamilies(joint, featuresOf({ families, variants: {} }), mainKind(facts));
    },
    decide(evidence, rules) {
      const { joint, misses } = classifiersOf("joint", rules);
      const { raw, ...decision } = decideJoint(posesOf(joint, evidence), evidence, misses, rules.outlierPrior);
      return { ...decision, confidence: calibrated("joint", decision.finding, raw, rules) };
    },
  },
  "two-stage": twoStages("two-stage", {
    description: "thresholds for the family, a classifier over all four likelihoods for the variant",
    condition: "infer",
    needs: "joint",
  }, (row, family, rules) => classifyRow(classifiersOf("two-stage", rules).joint.families[family].variants, row)),
  perplexity: twoStages("perplexity", {
    description: "thresholds for the family, lowest perplexity for the variant",
  }, perplexityScores),
  "own-sample": twoStages(
    "own-sample",
    {
      description: "thresholds for the family, the variant whose own images' likelihood is like this one's",
      condition: "infer",
      needs: "ownSamples",
    },
    (row, family, rules) =>
      ownSampleScores(classifiersOf("own-sample", rules).ownSamples, rules.labels.variants[family], row),
  ),
  membership: twoStages("membership", {
    description: "thresholds for the family, a classifier over membership features for the variant",
    condition: "infer",
    extras: "membership",
    needs: "membership",
  }, (row, family, rules) => {
    const { membership } = classifiersOf("membership", rules);
    if (membership === undefined) {
      throw new CalibrationError("--method membership: was not fitted: calibrate --extras membership");
    }
    return classifyRow(membership[family], row);
  }),
  [evidenceMethod]: {
    description: "no verdict: what was measured alone, for a set that is not calibrated",
    wants: everyFamily,
    decide: () => ({
      ...{ label: noLabel, finding: "inconclusive", confidence: 0, family: null, scores: {} },
      reasons: ["The model set is not calibrated, so what was measured was not judged."],
    }),
  },
  prada: {
    description: "PRADA's score functions for all variants; slow, needs calibrate --extras prada",
    condition: "infer",
    extras: "prada",
    needs: "prada",
    wants: everyFamily,
    decide(evidence, rules) {
      const row = featuresOf(evidence);
      const fitted = Object.keys(classifiersOf("prada", rules).prada ?? {});
      if (fitted.length === 0) throw new CalibrationError("--method prada: was not fitted: calibrate --extras prada");
      const known = fitted.filter((label) => rules.labels.familyOf(label)! in evidence.families);
      const values = pickColumns(row, known.map((label) => `${label}.prada.score`), "prada");
      const { model, none, probabilities } = decidePrada(
        Object.fromEntries(known.map((label, i) => [label, values[i]])),
      );
      const label = model ?? outlierLabel;
      const scores: Record<string, number> = { ...probabilities, outlier: none };
      return {
        label,
        confidence: calibrated("prada", label === outlierLabel ? "none" : "variant", scores[label], rules),
        family: rules.labels.familyOf(label),
        scores,
      };
    },
  },
};

/** Name of a built-in or registered method. */
export type MethodName = string;

const methods = new Map<MethodName, Method>(Object.entries(builtIn));

/**
 * Adds a method under a new name; `Tracer.open({ method: name })` then decides by it. Throws a RangeError if the name
 * is taken.
 *
 * @example
 * ```ts
 * import { registerMethod, Tracer } from "@model-tracer/model-tracer";
 *
 * registerMethod("always-outlier", {
 *   description: "everything is an outlier",
 *   wants: () => [],
 *   decide: () => ({ label: "outlier", confidence: 0.5, family: null, scores: {} }),
 * });
 * await using tracer = await Tracer.open({ device: "cpu", method: "always-outlier" });
 * for await (const { label } of tracer.attribute(["examples/Dataset/test/0001.png"])) console.log(label);
 * ```
 */
export function registerMethod(name: MethodName, method: Method): void {
  if (methods.has(name)) throw new RangeError(`registerMethod: expected a new name, ${name} is taken`);
  methods.set(name, method);
}

/**
 * The names of all methods: the built-in ones, then the registered ones.
 *
 * @example
 * ```ts
 * import { methodNames } from "@model-tracer/model-tracer";
 *
 * console.log(methodNames()); // joint, two-stage, ...
 * ```
 */
export function methodNames(): readonly MethodName[] {
  return [...methods.keys()];
}

/** The names of the methods that give verdicts. */
export function decidingMethods(): readonly MethodName[] {
  return methodNames().filter((name) => name !== evidenceMethod);
}

/** The method of a name. Throws a RangeError that lists the methods if there is none. */
export function methodOf(name: MethodName): Method {
  const method = methods.get(name);
  if (method !== undefined) return method;
  throw new RangeError(`--method: expected ${methodNames().join(", ")}, got ${name}`);
}

/** The default method: `joint` if the calibration has classifiers, else `perplexity`. */
export function defaultMethod(rules: Pick<Rules, "classifiers">): MethodName {
  return rules.classifiers === undefined ? "perplexity" : "joint";
}

/**
 * Throws a CalibrationError if a method needs a calibration and the set in folder `dir` has none: the numbers of two
 * tokenizers cannot be compared as they are.
 */
export function requireCalibrated(name: MethodName, set: Pick<ModelSet, "dir" | "manifest">): void {
  const { needs, byThresholds } = methodOf(name);
  if (set.manifest.calibration !== undefined || (needs === undefined && !byThresholds)) return;
  throw new CalibrationError(
    `${set.dir}: is not calibrated, and the numbers of two tokenizers cannot be compared as they are: calibrate first ` +
      `(deno task calibrate --models ${set.dir} --train DIR --val DIR), or let attribute report evidence without ` +
      "verdicts (--uncalibrated)",
  );
}

/** Throws a CalibrationError if the calibration lacks what a method decides by. It needs no evidence. */
export function requireMethod(name: MethodName, rules: Rules): void {
  const { needs } = methodOf(name);
  if (needs === undefined) return;
  if (classifiersOf(name, rules)[needs] === undefined) {
    throw new CalibrationError(`--method ${name}: was not fitted: calibrate again, with --extras ${needs}`);
  }
}

/**
 * Decides by the named method and marks the verdict `unsure` below the given confidence (0 to 1). Where nothing can be
 * measured of an image, no method gives a verdict: nothing is known of it but the share of outliers that is expected.
 */
export function decide(
  name: MethodName,
  evidence: Decidable,
  rules: Rules,
  unsureBelow: number,
): Verdict {
  const decision = evidence.facts?.unsuitable === undefined || name === evidenceMethod
    ? methodOf(name).decide(evidence, rules)
    : decideUnsuitable(evidence, judging(evidence.families, rules), rules);
  const { finding = decision.label === outlierLabel ? "none" : "variant", reasons: own = [] } = decision;
  const size = evidence.facts?.native === undefined ? [] : [sizeReason(evidence.facts.native)];
  const reasons = [...own, ...size, ...rules.cautions ?? []];
  return { ...decision, finding, reasons, unsure: decision.confidence < unsureBelow, method: name };
}

/** The families that judge an image, those of its size, in the order of the labels. */
export function judging(families: Measurements["families"], { labels }: Pick<Rules, "labels">): readonly FamilyName[] {
  return labels.families.filter((name) => name in families);
}

/** Of the families whose threshold the image passes, the one with the lowest standardised score; null without any. */
export function chooseFamily(families: Measurements["families"], rules: Rules): FamilyName | null {
  const passing = judging(families, rules).filter((name) => passes(rules, families, name));
  const distance = (name: FamilyName) => standardisedScore(families, rules, name);
  return passing.length === 0 ? null : passing.reduce((best, name) => (distance(name) < distance(best) ? name : best));
}

/** The image's score in standard deviations from the family's mean: 0 for a typical image, larger for a worse fit. */
export function standardisedScore(families: Measurements["families"], rules: Rules, name: FamilyName): number {
  return standardise(rules.families[name], ruleScore(rules, families, name));
}

/**
 * A raw confidence, 0 to 1, that an image belongs to a family: the logistic function of how far its standardised score
 * lies below the threshold, 0.5 at the threshold. 1 without a threshold.
 */
export function belonging(families: Measurements["families"], rules: Rules, name: FamilyName): number {
  const rule = rules.families[name];
  if (rule.threshold === null) return 1;
  return 1 / (1 + Math.exp(standardisedScore(families, rules, name) - standardise(rule, rule.threshold)));
}
