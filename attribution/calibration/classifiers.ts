/**
 * Fits all classifiers of a calibration to labelled measurements, and cross-validates them. calibrate.ts measures the
 * images and writes the file.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { Rules } from "../decision/calibration_file.ts";
import { type MeasuredLine, summariesVersion } from "../evidence/evidence.ts";
import { type FeatureRow, featuresOf } from "../evidence/features.ts";
import { type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { membershipTableNames } from "../likelihood/membership/mod.ts";
import { fitPrada, type ScoreFunction, type TokenPairs } from "../likelihood/prada/mod.ts";
import { belonging, chooseFamily, judging, perplexityScores } from "../decision/methods.ts";
import type { Stretches } from "../decision/classifiers/confidence.ts";
import { mainKind } from "../decision/classifiers/history.ts";
import { largest } from "../decision/classifiers/joint.ts";
import { softmax } from "../decision/classifiers/logistic.ts";
import { storePrada } from "../decision/classifiers/prada.ts";
import type { Classifiers } from "../decision/classifiers/schema.ts";
import { ownSampleScores } from "../decision/classifiers/variant.ts";
import { stretchConfidence, stretchOf } from "../decision/classifiers/confidence.ts";
import { fitStretches, type JudgedVerdict, whyUninformative } from "./fit_confidence.ts";
import { type Example, fitJoint, type FittedTo } from "./fit_joint.ts";
import { judgeJoint, type ReadLine } from "./judge_joint.ts";
import { fitOwnSamples, fitVariants, type LabelledRow, type NamedFit } from "./fit_variants.ts";

/** A labelled image with the likelihoods of its tokens under all variants. */
export interface LabelledLine {
  readonly label: Label;
  readonly line: MeasuredLine;
  /** What was done to the image, see `Example`. Default `original`. */
  readonly role?: Example["role"];
  /** Images that belong together. Default: the image alone. */
  readonly group?: string;
}

/** Options of `fitClassifiers`. */
export interface ClassifierFitOptions {
  /** Rules with the fitted thresholds. */
  readonly rules: Rules;
  /**
   * Fits PRADA's score functions: on this device, for so many epochs, with the token counts of scales by family (null
   * without scales). Default: not fitted. The lines need the extra `tokens`.
   */
  readonly prada?: {
    readonly device: Device;
    readonly epochs: number;
    readonly scaleLengths: Readonly<Record<FamilyName, readonly number[] | null>>;
  };
  /** Which likelihoods the lines have. Default `all`. */
  readonly likelihoods?: FittedTo;
  readonly onNote?: (text: string) => void;
}

/** By method and family: the share of the family's images whose variant is found, cross-validated on train and val. */
export type VariantRates = Readonly<Record<string, Readonly<Record<FamilyName, number>>>>;

/** The fitted classifiers. */
export interface ClassifiersFit {
  readonly classifiers: Classifiers;
  readonly rates: VariantRates;
  /**
   * By family: the chosen set of columns of the likelihood classifier, and the cross-validated loss of each set in
   * nats.
   */
  readonly columns: Readonly<Record<FamilyName, Pick<NamedFit, "chosen" | "losses">>>;
}

/** Smallest number of images of every variant. */
export const leastPerVariant = 5;

/** Why classifiers cannot be fitted to images with these labels; undefined if they can. */
export function whyNotFittable(images: readonly { readonly label: Label }[], labels: Labels): string | undefined {
  const short = labels.all.filter((label) => label !== outlierLabel)
    .map((label) => ({ label, n: images.filter((item) => item.label === label).length }))
    .filter(({ n }) => n < leastPerVariant);
  if (short.length === 0) return undefined;
  const list = short.map(({ label, n }) => `${n} of ${label}`).join(", ");
  return `classifiers need ${leastPerVariant} images or more of every variant in train and val together, got ${list}`;
}

/** Probabilities of the variants of a family for the image with index `i`. */
type VariantProbabilities = (i: number, name: FamilyName) => Readonly<Record<string, number>>;

/** Fits all classifiers. Throws where `whyNotFittable` gives a reason. */
export async function fitClassifiers(
  all: readonly LabelledLine[],
  options: ClassifierFitOptions,
): Promise<ClassifiersFit> {
  const { rules } = options, { labels } = rules;
  // Only `joint` knows processed images.
  const lines = all.filter(({ role = "original" }) => role === "original");
  const problem = whyNotFittable(lines, labels);
  if (problem !== undefined) throw new Error(problem);
  const rows = lines.map(({ label, line }): LabelledRow => ({ label, row: featuresOf(line) }));
  const ofFamily = (name: FamilyName) => rows.filter(({ label }) => labels.familyOf(label) === name);
  const perFamily = <T>(make: (name: FamilyName) => T) => mapFamilies(labels.families, make);
  const examples = all.map(exampleOf);
  const { model: joint, readings, strangers } = fitJoint(examples, labels, options.likelihoods);
  const read = all.map((item, i): ReadLine => ({ ...item, role: examples[i].role, readings: readings[i] }));
  const judged = judgeJoint([
    ...read,
    ...read.flatMap((item, i) =>
      strangers[i] === undefined ? [] : [{ ...item, role: "stranger" as const, readings: strangers[i] }]
    ),
  ]);
  const ownSamples = fitOwnSamples(rows);
  const likelihood = perFamily((name) => fitVariants(ofFamily(name), labels.variants[name]));
  const names = membershipTableNames().map((name) => `membership.${name}`);
  const hasMembership = labels.families.every((family) =>
    ofFamily(family).every(({ row }) => names.every((name) => `${labels.variants[family][0]}.${name}` in row))
  );
  const membership = hasMembership
    ? perFamily((name) => fitVariants(ofFamily(name), labels.variants[name], { membership: names }))
    : undefined;
  const prada = options.prada === undefined ? undefined : await fitPradaFunctions(lines, options);
  // Probabilities of variants. Classifiers are cross-fitted; the baselines have next to no parameters to overfit.
  const probabilities: Record<string, VariantProbabilities> = {
    "two-stage": crossFitted(rows, likelihood, labels),
    // Perplexity is defined without a class.
    perplexity: (i, name) => perplexityScores(withoutClass(rows[i].row), name, rules),
    "own-sample": (i, name) => ownSampleScores(ownSamples, labels.variants[name], rows[i].row),
    ...membership !== undefined && { membership: crossFitted(rows, membership, labels) },
  };
  const confidence: Record<string, Stretches> = {};
  const rates: Record<string, Record<FamilyName, number>> = {};
  for (const [method, scores] of Object.entries(probabilities)) {
    rates[method] = perFamily((name) => {
      const members = rows.flatMap(({ label }, i) => labels.familyOf(label) === name ? [i] : []);
      return members.filter((i) => largest(scores(i, name)) === rows[i].label).length / members.length;
    });
    const stretches = fitConfidence(lines, rules, scores);
    if (typeof stretches === "string") options.onNote?.(`${method}: its confidence is not calibrated: ${stretches}`);
    else confidence[method] = stretches;
  }
  confidence.joint = judged.stretches;
  const { condition, inference } = lines[0].line.settings;
  return {
    classifiers: {
      summaries: summariesVersion,
      condition,
      inference,
      ownSamples,
      joint,
      ...membership !== undefined && { membership: perFamily((name) => membership[name].classifier) },
      ...prada !== undefined && { prada: storePrada(prada) },
      misses: judged.misses,
      confidence,
      unsureBelow: judged.unsureBelow,
    },
    rates,
    columns: perFamily((name) => ({ chosen: likelihood[name].chosen, losses: likelihood[name].losses })),
  };
}

/** A labelled line as an example of `fitJoint`. */
export function exampleOf({ label, line, role = "original", group = line.image }: LabelledLine): Example {
  return { label, row: featuresOf(line), role, group, kind: mainKind(line.facts) };
}

/** The row as if tokens had been scored without a class. */
function withoutClass(row: FeatureRow): FeatureRow {
  const renamed = Object.entries(row).map(([name, value]) =>
    name.endsWith(".conditional.mean") ? [name, row[name.replace(".conditional.", ".unconditional.")]] : [name, value]
  );
  return Object.fromEntries(renamed);
}

/** Probabilities of variants from cross-fitted log-odds; equal ones for images of other families. */
function crossFitted(
  rows: readonly LabelledRow[],
  fits: Readonly<Record<FamilyName, NamedFit>>,
  labels: Labels,
) {
  const known = new Map<LabelledRow, Record<string, number>>();
  for (const name of labels.families) {
    const members = rows.filter(({ label }) => labels.familyOf(label) === name);
    members.forEach((row, i) => {
      const p = softmax(fits[name].crossFitted[i]);
      known.set(row, Object.fromEntries(labels.variants[name].map((label, k) => [label, p[k]])));
    });
  }
  // With the wrong family, a verdict is wrong for any variant, so the probabilities do not matter.
  return (i: number, name: FamilyName): Record<string, number> => {
    const probabilities = known.get(rows[i]);
    const variants = labels.variants[name];
    return probabilities !== undefined && variants[0] in probabilities
      ? probabilities
      : Object.fromEntries(variants.map((label) => [label, 1 / variants.length]));
  };
}

/**
 * Fits the confidence of a two-stage method: from its raw confidence to the share of right verdicts. Or says why its
 * confidence carries no information.
 */
function fitConfidence(
  lines: readonly LabelledLine[],
  rules: Rules,
  scores: VariantProbabilities,
): Stretches | string {
  const verdicts = lines.map(({ label, line: { families } }, i): JudgedVerdict => {
    const family = chooseFamily(families, rules);
    if (family === null) {
      const raw = Math.min(...judging(families, rules).map((name) => 1 - belonging(families, rules, name)));
      return { finding: "none", raw, isRight: label === outlierLabel };
    }
    const probabilities = scores(i, family), best = largest(probabilities);
    // Of another family's image every variant is wrong.
    const isRight = best === label && rules.labels.familyOf(label) === family;
    return { finding: "variant", raw: belonging(families, rules, family) * probabilities[best], isRight };
  });
  const stretches = fitStretches(verdicts);
  const confidences = verdicts.map(({ finding, raw }) => stretchConfidence(stretchOf(stretches, finding), raw));
  return whyUninformative(confidences, verdicts.map(({ isRight }) => isRight)) ?? stretches;
}

/** Fits a score function per variant: images of the variant against all other images, outliers of val included. */
async function fitPradaFunctions(
  lines: readonly LabelledLine[],
  { prada, onNote, rules: { labels } }: ClassifierFitOptions,
): Promise<Map<string, ScoreFunction>> {
  const { device, epochs, scaleLengths } = prada!;
  const functions = new Map<string, ScoreFunction>();
  for (const name of labels.families) {
    for (const label of labels.variants[name]) {
      onNote?.(`fitting PRADA's score function of ${label}`);
      const pairs = ({ line }: LabelledLine) => tokenPairs(line, label);
      const members = lines.filter((item) => item.label === label);
      const nonmembers = nonmembersOf(lines, label, name);
      const { scoreFunction } = await fitPrada(device, members.map(pairs), nonmembers.map(pairs), {
        scaleLengths: scaleLengths[name],
        epochs,
      });
      functions.set(label, scoreFunction);
    }
  }
  return functions;
}

/**
 * The images that PRADA's score function of a family's variant tells from the variant's own: about as many, and equally
 * many of every label, the first ones of each.
 */
export function nonmembersOf(lines: readonly LabelledLine[], variant: string, family: FamilyName): LabelledLine[] {
  const others = lines.filter(({ label, line }) => label !== variant && family in line.families);
  const groups = [...Map.groupBy(others, ({ label }) => label).values()];
  const count = lines.filter(({ label }) => label === variant).length;
  return groups.flatMap((group) => group.slice(0, Math.ceil(count / groups.length)));
}

/**
 * The log-probabilities of an image's tokens under a variant, from the extra `tokens`. Throws if it was not measured.
 */
export function tokenPairs(line: MeasuredLine, label: string): TokenPairs {
  const { tokens = 0, summaries = {} } = line.variants[label] ?? {};
  const column = (kind: "c" | "u") =>
    Float32Array.from({ length: tokens }, (_, t) => {
      const value = summaries[`token.${kind}${t}`];
      if (value === undefined) {
        throw new Error(
          `prada: expected the log-probabilities of single tokens of ${line.image}, which were not measured`,
        );
      }
      return value;
    });
  return { conditional: column("c"), unconditional: column("u") };
}
