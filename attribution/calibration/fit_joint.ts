/**
 * Fits the method `joint`. decision/classifiers/joint.ts explains the model.
 *
 * Traces of a family are told from three kinds of images without them, which weigh alike: outliers, images of other
 * families, and the family's own images off their grid. The last have the content of generated images but no traces, so
 * that content alone does not count. All kinds are there as they were and processed.
 */
import type { FamilyName } from "../../models/family.ts";
import {
  closedReading,
  type FamilyModel,
  type JointModel,
  judgingFamilies,
  largest,
  leastOpenRatio,
  type Reading,
  type Readings,
  signalNumbers,
  tokenFeatures,
  traceNumbers,
} from "../decision/classifiers/joint.ts";
import { untouched } from "../decision/classifiers/history.ts";
import { knownNumbers } from "../decision/classifiers/known.ts";
import { classifyRow, type NamedClassifier } from "../decision/classifiers/variant.ts";
import { familyFirst } from "../decision/family_distance.ts";
import { type FeatureRow, pickColumns } from "../evidence/features.ts";
import { type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { stratifiedFolds } from "./fit_classifier.ts";
import { asStranger, fitTypicals, type Typical } from "./fit_known.ts";
import { fitRatio, fitScale, type RatioImage } from "./fit_log_ratio.ts";
import { fitVariants, type LabelledRow, refitVariants } from "./fit_variants.ts";

/** The features of a labelled image, and what was done to it. */
export interface Example extends LabelledRow {
  /** `original`: as it is; `copy`: processed; `moved`: off its grid, so that it has no traces in place. */
  readonly role: "original" | "copy" | "moved";
  /** Copies of one image, and crops of one picture, are one group. */
  readonly group: string;
  /** The kind of its history (decision/classifiers/history.ts). Default: untouched. */
  readonly kind?: string;
}

/** A fitted model, and readings of every example by models that were fitted without its group. */
export interface JointFit {
  readonly model: JointModel;
  readonly readings: readonly Readings[];
  /**
   * The same for images of known variants as if a stranger had made them (fit_known.ts). Undefined for other images,
   * and for families with one variant.
   */
  readonly strangers: readonly (Readings | undefined)[];
}

/** Folds of the cross-validation, and the number that stands for all images. */
const folds = [0, 1, 2, 3, 4], whole = -1;

/**
 * Which likelihoods a fit rests on: `all` has those of every image under all families; `open` those of images that the
 * signals of a family leave open, and of its own (`familiesToScore`). What `joint` decides by likelihoods is the same
 * ratio, since it reads none of closed images, and the others' share is known.
 */
export type FittedTo = "all" | "open";

/**
 * The least number of images without traces of a family among those that its signals leave open. Where fewer are, those
 * are added that are nearest to it.
 */
export const leastWithoutTraces = 300;

/** The images that a family judges, by their place among all. */
interface Judged {
  readonly indices: readonly number[];
  readonly examples: readonly Example[];
  readonly part: readonly number[];
}

/** A family is fitted to the images that it judges, and their number among these is not that among all. */
function judgedBy(examples: readonly Example[], labels: Labels): Readonly<Record<FamilyName, Judged>> {
  const part = stratifiedFolds(examples.map(({ label }) => label), folds.length, examples.map(({ group }) => group));
  const judging = examples.map(({ row }) => judgingFamilies(labels.families, row));
  return mapFamilies(labels.families, (name) => {
    const indices = examples.flatMap((_, i) => judging[i].includes(name) ? [i] : []);
    return { indices, examples: indices.map((i) => examples[i]), part: indices.map((i) => part[i]) };
  });
}

/**
 * The families whose variants must score each image so that `fitJoint` can be fitted to `open` ones, from rows that
 * have signals alone.
 */
export function familiesToScore(examples: readonly Example[], labels: Labels): readonly (readonly FamilyName[])[] {
  const wanted = examples.map((): FamilyName[] => []);
  for (const [name, { indices, examples: own, part }] of Object.entries(judgedBy(examples, labels))) {
    const { isOpen } = fitSignals(own, part, name, labels);
    indices.forEach((i, at) => {
      if (isOpen[at] || isOwn(examples[i], name, labels)) wanted[i].push(name);
    });
  }
  return wanted;
}

/** Fits to four original images of every variant or more, and to images without traces of each family. */
export function fitJoint(examples: readonly Example[], labels: Labels, to: FittedTo = "all"): JointFit {
  const judging = examples.map(({ row }) => judgingFamilies(labels.families, row));
  const judged = judgedBy(examples, labels);
  const fits = mapFamilies(labels.families, (name) => {
    const { indices, examples, part } = judged[name];
    const fit = fitFamily(examples, part, name, labels, to);
    const place = new Map(indices.map((i, at) => [i, at]));
    return {
      model: fit.model,
      reading: (i: number) => fit.readings[place.get(i)!],
      stranger: (i: number) => place.has(i) ? fit.strangers[place.get(i)!] : undefined,
    };
  });
  return {
    model: { families: mapFamilies(labels.families, (name) => fits[name].model) },
    readings: examples.map((_, i) => mapFamilies(judging[i], (name) => fits[name].reading(i))),
    strangers: examples.map(({ label }, i) => {
      const own = label === outlierLabel ? null : labels.familyOf(label);
      const reading = own === null ? undefined : fits[own].stranger(i);
      if (reading === undefined) return undefined;
      return mapFamilies(judging[i], (name) => name === own ? reading : fits[name].reading(i));
    }),
  };
}

/** What the ratios of a family are computed with. */
interface Parts extends Pick<FamilyModel, "variants" | "tokens"> {
  readonly typical: Typical;
}

/** Whether an image has a family's traces in place. */
function isOwn({ label, role }: Pick<Example, "label" | "role">, name: FamilyName, labels: Labels): boolean {
  return labels.familyOf(label) === name && role !== "moved";
}

/** Fits traces of a family by signals alone. Also says which images are open: where likelihoods are fitted to. */
function fitSignals(examples: readonly Example[], part: readonly number[], name: FamilyName, labels: Labels) {
  const weights = traceWeights(examples, name, labels);
  const order = familyFirst(name, judgingFamilies(labels.families, examples[0].row));
  const base = examples.map(({ group, role, kind = untouched }, i) => ({
    ...{ group, kind, part: part[i], isTypical: role === "original" },
  }));
  const fitTrace = (numbersOf: (row: FeatureRow, fold: number) => readonly number[], known?: readonly boolean[]) =>
    fitRatio(
      examples.map((example, i): RatioImage => {
        const numbers = memoised((fold) => known?.[i] === false ? [] : numbersOf(example.row, fold));
        const first = isOwn(example, name, labels);
        const row = (fold: number) => ({ numbers: numbers(fold), first, weight: weights[i] });
        const rows = (fold: number) => weights[i] > 0 ? [row(fold)] : [];
        return { ...base[i], numbers, rows, isKnown: known?.[i] };
      }),
      folds,
      whole,
    );
  const signals = fitTrace((row) => signalNumbers(order, row));
  const without = examples.flatMap((example, i) =>
    weights[i] > 0 && !isOwn(example, name, labels) ? [signals.crossFitted[i]] : []
  ).sort((a, b) => b - a);
  const limit = Math.min(leastOpenRatio, without[Math.min(leastWithoutTraces, without.length) - 1]);
  return { signals, fitTrace, order, base, isOpen: signals.crossFitted.map((ratio) => ratio >= limit) };
}

function fitFamily(
  examples: readonly Example[],
  part: readonly number[],
  name: FamilyName,
  labels: Labels,
  to: FittedTo,
): { model: FamilyModel; readings: readonly Reading[]; strangers: readonly (Reading | undefined)[] } {
  const variants = labels.variants[name];
  const own = examples.map((example) => isOwn(example, name, labels));
  const ownExamples = examples.filter((_, i) => own[i]);
  const { classifier } = fitVariants(ownExamples, variants);
  const parts = new Map<number, Parts>([[whole, fitParts(ownExamples, classifier)]]);
  for (const fold of folds) {
    const kept = examples.filter((_, i) => part[i] !== fold && own[i]);
    parts.set(fold, fitParts(kept, refitVariants(kept, classifier)));
  }
  const probabilities = examples.map(({ row }) => memoised((fold) => classifyRow(parts.get(fold)!.variants, row)));
  const { signals, fitTrace, order, base, isOpen } = fitSignals(examples, part, name, labels);
  const trace = fitTrace(
    (row, fold) => traceNumbers(parts.get(fold)!, order, row),
    to === "all" ? undefined : isOpen,
  );
  const strange = examples.map((example, i) =>
    memoised((fold) => asStranger(example, parts.get(fold)!.typical, probabilities[i](fold)))
  );
  const known = variants.length < 2 ? undefined : fitRatio(
    examples.map((example, i): RatioImage => {
      const numbers = memoised((fold) =>
        knownNumbers(parts.get(fold)!.typical.all, largest(probabilities[i](fold)), example.row)
      );
      const rows = (fold: number) => [
        { numbers: numbers(fold), first: true, weight: 1 },
        { numbers: strange[i](fold).numbers, first: false, weight: 1 },
      ];
      return { ...base[i], numbers, rows: own[i] ? rows : () => [], isKnown: to === "all" || own[i] || isOpen[i] };
    }),
    folds,
    whole,
  );
  const { typical, ...rest } = parts.get(whole)!;
  const isClosed = (i: number) => signals.crossFitted[i] < leastOpenRatio;
  return {
    model: {
      ...rest,
      signals: signals.ratio,
      trace: trace.ratio,
      ...known && { known: { variants: typical.all, ratio: known.ratio } },
    },
    readings: examples.map((_, i): Reading =>
      isClosed(i) ? closedReading(signals.crossFitted[i], variants) : {
        trace: trace.crossFitted[i],
        known: known?.crossFitted[i] ?? 0,
        variants: probabilities[i](part[i]),
      }
    ),
    strangers: examples.map((_, i): Reading | undefined => {
      if (known === undefined || !own[i]) return undefined;
      if (isClosed(i)) return closedReading(signals.crossFitted[i], variants);
      const { probabilities: shares } = strange[i](part[i]);
      const read = Object.fromEntries(variants.map((name) => [name, shares[name] ?? 0]));
      return { trace: trace.crossFitted[i], known: known.secondCrossFitted[i]!, variants: read };
    }),
  };
}

/** Fits to images of the family's variants, original and processed ones. What is typical is that of the original ones. */
function fitParts(rows: readonly Example[], variants: NamedClassifier): Parts {
  const originals = rows.filter(({ role }) => role === "original");
  const tokens = Object.fromEntries(variants.labels.map((label) => {
    const names = tokenFeatures.map((name) => `${label}.${name}`);
    const own = originals.filter((item) => item.label === label);
    return [label, fitScale(own.map(({ row }) => pickColumns(row, names, "joint")))];
  }));
  return { variants, tokens, typical: fitTypicals(originals, variants.labels) };
}

/** The weight of every example in the family's trace: 1 for its own; of the others, each kind has the same total. */
function traceWeights(examples: readonly Example[], name: FamilyName, labels: Labels): number[] {
  const kinds = examples.map(({ label, role }) => {
    if (label === outlierLabel) return role === "moved" ? undefined : outlierLabel;
    if (role === "moved") return labels.familyOf(label) === name ? "moved" : undefined;
    return labels.familyOf(label) === name ? "own" : "other";
  });
  const counts = new Map<string | undefined, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return kinds.map((kind) => kind === undefined ? 0 : kind === "own" ? 1 : 1 / counts.get(kind)!);
}

/** A function of the fold whose results are kept. */
function memoised<T>(compute: (fold: number) => T): (fold: number) => T {
  const known = new Map<number, T>();
  return (fold) => {
    if (!known.has(fold)) known.set(fold, compute(fold));
    return known.get(fold)!;
  };
}
