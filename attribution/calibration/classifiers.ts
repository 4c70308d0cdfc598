/**
 * From labelled measurements to every classifier of a calibration, with what cross-validation said about each. Numbers in,
 * numbers out; thresholds are fitted in thresholds.ts, measuring and files are in calibrate.ts.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { Rules } from "../decision/calibration_file.ts";
import type { MeasuredLine } from "../evidence/evidence.ts";
import { type FeatureRow, featuresOf } from "../evidence/features.ts";
import { type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { membershipTableNames } from "../likelihood/membership/mod.ts";
import { fitPrada, type ScoreFunction, type TokenPairs } from "../likelihood/prada/mod.ts";
import { belonging, chooseFamily, perplexityScores } from "../decision/methods.ts";
import type { Stretch } from "../decision/classifiers/confidence.ts";
import { jointLabel, jointScores } from "../decision/classifiers/joint.ts";
import { softmax } from "../decision/classifiers/logistic.ts";
import { storePrada } from "../decision/classifiers/prada.ts";
import type { Classifiers } from "../decision/classifiers/schema.ts";
import { ownSampleScores } from "../decision/classifiers/variant.ts";
import { stratifiedFolds } from "./fit_classifier.ts";
import { fitStretch } from "./fit_confidence.ts";
import { fitJoint } from "./fit_joint.ts";
import { fitOwnSamples, fitVariants, type LabelledRow, type NamedFit } from "./fit_variants.ts";

/** An image whose label is known, with the tokens' scores under all variants. */
export interface LabelledLine {
  readonly label: Label;
  readonly line: MeasuredLine;
}

export interface ClassifierFitOptions {
  /** Thresholds and scales that are fitted already. */
  readonly rules: Rules;
  /** Where PRADA's score functions are fitted, and for how long; not at all without. The lines need tokens (extras.ts). */
  readonly prada?: {
    readonly device: Device;
    readonly epochs: number;
    readonly scaleLengths: Readonly<Record<FamilyName, readonly number[] | null>>;
  };
  readonly onNote?: (text: string) => void;
}

/** Cross-validated on train and val: of each method, the share of a family's images whose variant is found, by family. */
export type VariantRates = Readonly<Record<string, Readonly<Record<FamilyName, number>>>>;

export interface ClassifiersFit {
  readonly classifiers: Classifiers;
  readonly rates: VariantRates;
  /** By family: the set of columns of the likelihood classifier, and the cross-validated loss in nats of each. */
  readonly columns: Readonly<Record<FamilyName, Pick<NamedFit, "chosen" | "losses">>>;
}

/** Images of every variant that classifiers need. */
export const leastPerVariant = 5;

/** Why classifiers cannot be fitted to these labels; undefined where they can. */
export function whyNotFittable(images: readonly { readonly label: Label }[], labels: Labels): string | undefined {
  const short = labels.all.filter((label) => label !== outlierLabel)
    .map((label) => ({ label, n: images.filter((item) => item.label === label).length }))
    .filter(({ n }) => n < leastPerVariant);
  if (short.length === 0) return undefined;
  const list = short.map(({ label, n }) => `${n} of ${label}`).join(", ");
  return `classifiers need ${leastPerVariant} images or more of every variant in train and val together, got ${list}`;
}

/** Fits everything. Throws as whyNotFittable() says. */
export async function fitClassifiers(
  lines: readonly LabelledLine[],
  options: ClassifierFitOptions,
): Promise<ClassifiersFit> {
  const { rules } = options, { labels } = rules;
  const problem = whyNotFittable(lines, labels);
  if (problem !== undefined) throw new Error(problem);
  const rows = lines.map(({ label, line }): LabelledRow => ({ label, row: featuresOf(line) }));
  const isOwn = (name: FamilyName) => ({ label }: { label: Label }) => labels.familyOf(label) === name;
  const each = <T>(make: (name: FamilyName) => T) => mapFamilies(labels.families, make);
  const joint = fitJoint(rows, labels);
  const ownSamples = fitOwnSamples(rows);
  const likelihood = each((name) => fitVariants(rows.filter(isOwn(name)), labels.variants[name]));
  const names = membershipTableNames().map((name) => `membership.${name}`);
  const hasMembership = rows.every(({ row }) => names.every((name) => `${labels.all[0]}.${name}` in row));
  const membership = hasMembership
    ? each((name) => fitVariants(rows.filter(isOwn(name)), labels.variants[name], { membership: names }))
    : undefined;
  const prada = options.prada === undefined ? undefined : await fitPradaFunctions(lines, options);
  // Probabilities of the variants by classifiers that did not see the image; baselines have next to nothing to learn.
  const probabilities: Record<string, (i: number, name: FamilyName) => Readonly<Record<string, number>>> = {
    "two-stage": crossFitted(rows, likelihood, labels),
    // Perplexity is that of tokens without a class.
    perplexity: (i, name) => perplexityScores(withoutClass(rows[i].row), name, rules),
    "own-sample": (i, name) => ownSampleScores(ownSamples, labels.variants[name], rows[i].row),
    ...membership !== undefined && { membership: crossFitted(rows, membership, labels) },
  };
  const confidence: Record<string, Stretch> = {};
  const rates: Record<string, Record<FamilyName, number>> = {};
  for (const [method, scores] of Object.entries(probabilities)) {
    rates[method] = each((name) => {
      const own = rows.flatMap((row, i) => isOwn(name)(row) ? [i] : []);
      return own.filter((i) => largest(scores(i, name))[0] === rows[i].label).length / own.length;
    });
    confidence[method] = fitConfidence(lines, rules, scores);
  }
  confidence.joint = fitJointConfidence(rows, labels);
  const { condition, inference } = lines[0].line.settings;
  return {
    classifiers: {
      condition,
      inference,
      ownSamples,
      joint,
      ...membership !== undefined && { membership: each((name) => membership[name].classifier) },
      ...prada !== undefined && { prada: storePrada(prada) },
      confidence,
    },
    rates,
    columns: each((name) => ({ chosen: likelihood[name].chosen, losses: likelihood[name].losses })),
  };
}

/** A row as it is where tokens are scored without a class. */
function withoutClass(row: FeatureRow): FeatureRow {
  const renamed = Object.entries(row).map(([name, value]) =>
    name.endsWith(".conditional.mean") ? [name, row[name.replace(".conditional.", ".unconditional.")]] : [name, value]
  );
  return Object.fromEntries(renamed);
}

/** Probabilities from cross-fitted log-odds; of images of other families, which no fit has seen, from the classifier itself. */
function crossFitted(
  rows: readonly LabelledRow[],
  fits: Readonly<Record<FamilyName, NamedFit>>,
  labels: Labels,
) {
  const known = new Map<LabelledRow, Record<string, number>>();
  for (const name of labels.families) {
    const own = rows.filter(({ label }) => labels.familyOf(label) === name);
    own.forEach((row, i) => {
      const p = softmax(fits[name].crossFitted[i]);
      known.set(row, Object.fromEntries(labels.variants[name].map((label, k) => [label, p[k]])));
    });
  }
  // Verdicts for the wrong family are wrong whatever the variant: equal shares will do.
  return (i: number, name: FamilyName): Record<string, number> => {
    const found = known.get(rows[i]);
    const variants = labels.variants[name];
    return found !== undefined && variants[0] in found
      ? found
      : Object.fromEntries(variants.map((label) => [label, 1 / variants.length]));
  };
}

function largest(scores: Readonly<Record<string, number>>): [string, number] {
  return Object.entries(scores).reduce((a, b) => (b[1] > a[1] ? b : a));
}

/** The same for `joint`, from verdicts of models that were fitted without the image. */
function fitJointConfidence(rows: readonly LabelledRow[], labels: Labels): Stretch {
  const folds = 5, part = stratifiedFolds(rows.map(({ label }) => label), folds);
  const raw: number[] = [], right: boolean[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const model = fitJoint(rows.filter((_, i) => part[i] !== fold), labels);
    rows.forEach(({ label, row }, i) => {
      if (part[i] !== fold) return;
      const scores = jointScores(model, row), said = jointLabel(scores);
      raw.push(scores[said]);
      right.push(said === label);
    });
  }
  return fitStretch(raw, right);
}

/** Makes the raw confidence of a method of two stages a rate of being right. */
function fitConfidence(
  lines: readonly LabelledLine[],
  rules: Rules,
  scores: (i: number, name: FamilyName) => Readonly<Record<string, number>>,
): Stretch {
  const raw: number[] = [], right: boolean[] = [];
  lines.forEach(({ label, line: { families } }, i) => {
    const family = chooseFamily(families, rules);
    if (family === null) {
      raw.push(Math.min(...rules.labels.families.map((name) => 1 - belonging(families, rules, name))));
      right.push(label === outlierLabel);
    } else {
      const own = rules.labels.familyOf(label) === family;
      const [best, p] = own ? largest(scores(i, family)) : ["", largest(scores(i, family))[1]];
      raw.push(belonging(families, rules, family) * p);
      right.push(best === label);
    }
  });
  return fitStretch(raw, right);
}

/** A score function per variant: its own images against every other image, outliers of val among them. */
async function fitPradaFunctions(
  lines: readonly LabelledLine[],
  { prada, onNote, rules: { labels } }: ClassifierFitOptions,
): Promise<Map<string, ScoreFunction>> {
  const { device, epochs, scaleLengths } = prada!;
  const found = new Map<string, ScoreFunction>();
  for (const name of labels.families) {
    for (const label of labels.variants[name]) {
      onNote?.(`fitting PRADA's score function of ${label}`);
      const pairs = ({ line }: LabelledLine) => tokenPairs(line, label);
      const own = lines.filter((item) => item.label === label), others = lines.filter((item) => item.label !== label);
      const { scoreFunction } = await fitPrada(device, own.map(pairs), balanced(others, own.length).map(pairs), {
        scaleLengths: scaleLengths[name],
        epochs,
      });
      found.set(label, scoreFunction);
    }
  }
  return found;
}

/** About so many images, the first ones of every label alike. */
function balanced(lines: readonly LabelledLine[], count: number): LabelledLine[] {
  const groups = [...Map.groupBy(lines, ({ label }) => label).values()];
  return groups.flatMap((group) => group.slice(0, Math.ceil(count / groups.length)));
}

/** The log-probabilities of an image's tokens under a variant, as tokenExtras wrote them. */
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
