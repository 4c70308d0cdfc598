/**
 * Fits the family decision to labelled signals: thresholds for every family and signal (fit_thresholds.ts), their error
 * rates, and the choice of signals and strategy. calibrate.ts measures the images and writes the file.
 */
import type { FamilyName } from "../../models/family.ts";
import {
  type Calibration,
  calibrationFormat,
  type Costs,
  type Rules,
  rulesOf,
  strategies,
  type Strategy,
} from "../decision/calibration_file.ts";
import { groupOf, type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { balancedAccuracy, type ConfusionMatrix, confusionMatrix } from "../metrics/mod.ts";
import { familyScore } from "../decision/family_distance.ts";
import { type ScoreName, type SignalName, signalTable } from "../signals/table.ts";
import { chooseFamily, judging } from "../decision/methods.ts";
import { fitAll, type FitOptions, type Fitted, folds, type Labelled } from "./fit_thresholds.ts";

/**
 * A decision rule (signals and strategy) with its errors on val, by thresholds fitted without the images they judge.
 */
export interface Candidate {
  readonly signals: Readonly<Record<FamilyName, ScoreName>>;
  readonly threshold: Strategy;
  /** Numbers of val images by true and decided family, or outlier. */
  readonly matrix: ConfusionMatrix;
  /** Balanced accuracy: mean of the recalls of all families and of outliers. */
  readonly balanced: number;
}

/** The fitted decision. */
export interface Fit extends Fitted {
  readonly decision: Calibration["decision"];
  /** All decision rules that were tried, the best first; empty without outliers. */
  readonly candidates: readonly Candidate[];
}

/** Simplest scores first: the order of preference among decision rules that are equally good. */
const preferred: readonly ScoreName[] = ["quantLoss", "combined", "encLoss", "oneClass"];
/**
 * The same for strategies. Generators that are not in val make outliers that are nearer to a family than val's
 * photographs. Therefore the threshold that depends only on the family's images, and not on val's outliers, comes
 * first.
 */
const preferredStrategies: readonly Strategy[] = ["quantile", "gaussian", "roc"];

/**
 * Throws when a family has fewer than two images, in all or without those of one fold of val, or when `roc` is
 * requested and val has no outliers.
 */
export function requireFittable(
  train: readonly { readonly label: Label }[],
  val: readonly { readonly label: Label }[],
  labels: Labels,
  options: FitOptions = {},
): void {
  const short = labels.families.filter((name) => leastOf(train, val, name, labels) < 2);
  if (short.length > 0) {
    const all = [...train, ...val];
    const missing = short.map((name) => `${count(all, name, labels)} of ${name} (${labels.variants[name].join(", ")})`);
    throw new Error(
      `calibration: expected two images or more of each family in train and val together, and as many without a ` +
        `fifth of val's, got ${missing.join(" and ")}`,
    );
  }
  if (options.threshold === "roc" && count(val, outlierLabel, labels) === 0) {
    throw new Error(
      "--threshold roc: val has no outliers, whose rate of false alarms it would fix: add val/outlier, or use " +
        "--threshold gaussian or quantile, which need none",
    );
  }
}

/**
 * Fits all measured signals. Throws as `requireFittable` does, and when `options.signals` names one that was not
 * measured.
 */
export function fitCalibration(
  train: readonly Labelled[],
  val: readonly Labelled[],
  labels: Labels,
  options: FitOptions = {},
): Fit {
  requireFittable(train, val, labels, options);
  const outliers = count(val, outlierLabel, labels);
  const names = [...measuredSignals([...train, ...val], labels), "oneClass" as const];
  for (const [family, name] of Object.entries(options.signals ?? {})) {
    if (!names.includes(name as typeof names[number])) {
      throw new Error(`--signal: expected one of ${names.join(", ")} for ${family}, which were measured; got ${name}`);
    }
  }
  const fitted = fitAll([...train, ...val], names, labels, options);
  const parts = Array.from({ length: folds }, (_, fold): Part => ({
    held: val.filter((_, i) => foldOf(val, i) === fold),
    fitted: fitAll([...train, ...val.filter((_, i) => foldOf(val, i) !== fold)], names, labels, options),
  }));
  for (const family of labels.families) {
    for (const name of names) addCosts(fitted, { family, name, labels }, val, parts);
  }
  const enough = labels.families.every((name) => count([...train, ...val], name, labels) >= enoughForDistances);
  const tried = names.filter((name) => enough || name !== "oneClass");
  const candidates = outliers === 0 ? [] : tryAll(tried, parts, labels, options);
  const decision = chooseDecision(candidates, labels, options, enough ? "oneClass" : "quantLoss");
  return { ...fitted, decision, candidates };
}

/** Images of a family below which its distances are too uncertain to be chosen. */
const enoughForDistances = 20;

/** The fewest images of a family that are fitted to in a part of the cross-validation. */
function leastOf(
  train: readonly { readonly label: Label }[],
  val: readonly { readonly label: Label }[],
  name: FamilyName,
  labels: Labels,
): number {
  const held = Array.from({ length: folds }, (_, fold) => val.filter((_, i) => foldOf(val, i) === fold));
  const largest = Math.max(...held.map((images) => count(images, name, labels)));
  return count([...train, ...val], name, labels) - largest;
}

/** The signals that were measured of all images, in the order of the table. */
function measuredSignals(all: readonly Labelled[], labels: Labels): SignalName[] {
  return (Object.keys(signalTable) as SignalName[]).filter((name) =>
    all.every(({ families }) =>
      judging(families, { labels }).every((family) => signalTable[name].score(families[family]) !== undefined)
    )
  );
}

/**
 * The fold of the image with index `i`. Images of a label go to the folds in turn, so that every fold has some of each.
 */
function foldOf(val: readonly { readonly label: Label }[], i: number): number {
  const cached = foldCache.get(val) ?? (() => {
    const seen = new Map<Label, number>();
    const made = val.map(({ label }) => {
      const n = seen.get(label) ?? 0;
      seen.set(label, n + 1);
      return n % folds;
    });
    foldCache.set(val, made);
    return made;
  })();
  return cached[i];
}
const foldCache = new WeakMap<readonly { readonly label: Label }[], readonly number[]>();

/** A fold: the images that were held out, and the fit to all others. */
interface Part {
  readonly held: readonly Labelled[];
  readonly fitted: Fitted;
}

/** Adds the error rates of every threshold of a score on val, in sample and cross-fitted. */
function addCosts(
  fit: Fitted,
  { family, name, labels }: { family: FamilyName; name: ScoreName; labels: Labels },
  val: readonly Labelled[],
  parts: readonly Part[],
): void {
  const costs = (items: readonly Labelled[], fitted: Fitted, threshold: number) =>
    costsOf(
      items.filter(({ families }) => family in families),
      family,
      labels,
      (item) => familyScore(name, item.families, family, fitted.oneClass[family]) <= threshold,
    );
  for (const strategy of strategies) {
    const row = fit.families[family][name]!.thresholds[strategy];
    if (row === null) continue;
    row.onVal = costs(val, fit, row.threshold);
    const partRows = parts.filter(({ held }) => held.length > 0)
      .map(({ held, fitted }) => ({ held, fitted, row: fitted.families[family][name]!.thresholds[strategy] }));
    row.crossFitted = partRows.length < 2 || partRows.some(({ row }) => row === null)
      ? null
      : partRows.map(({ held, fitted, row }) => costs(held, fitted, row!.threshold)).reduce(addUp);
  }
}

function costsOf(
  items: readonly Labelled[],
  family: FamilyName,
  labels: Labels,
  passes: (item: Labelled) => boolean,
): Costs {
  const total: Costs = {
    misses: { count: 0, of: 0 },
    falseAlarms: { count: 0, of: 0 },
    otherFamily: { count: 0, of: 0 },
  };
  for (const item of items) {
    const truth = labels.familyOf(item.label);
    const isIn = passes(item);
    const kind = truth === family ? total.misses : truth === null ? total.falseAlarms : total.otherFamily;
    kind.of++;
    kind.count += isIn === (truth !== family) ? 1 : 0;
  }
  return total;
}

function addUp(a: Costs, b: Costs): Costs {
  const both = (x: { count: number; of: number }, y: { count: number; of: number }) => ({
    count: x.count + y.count,
    of: x.of + y.of,
  });
  return {
    misses: both(a.misses, b.misses),
    falseAlarms: both(a.falseAlarms, b.falseAlarms),
    otherFamily: both(a.otherFamily, b.otherFamily),
  };
}

/**
 * Tries every signal with every strategy on val, by thresholds fitted without the image that they judge. All families
 * use the same signal, except those whose signal is given: among all combinations of signals, luck would choose.
 */
function tryAll(
  names: readonly ScoreName[],
  parts: readonly Part[],
  labels: Labels,
  options: FitOptions,
): Candidate[] {
  const candidates: Candidate[] = [];
  const isGiven = labels.families.every((family) => options.signals?.[family] !== undefined);
  for (const threshold of options.threshold ? [options.threshold] : strategies) {
    for (const name of isGiven ? names.slice(0, 1) : names) {
      const signals = mapFamilies(labels.families, (family) => options.signals?.[family] ?? name);
      const matrix = crossFittedMatrix(parts, labels, signals, threshold);
      if (matrix !== null) candidates.push({ signals, threshold, matrix, balanced: balancedAccuracy(matrix) ?? 0 });
    }
  }
  return candidates.sort((a, b) => b.balanced - a.balanced || rank(a) - rank(b));
}

/** True and decided families of val; null if a part lacks these thresholds. */
function crossFittedMatrix(
  parts: readonly Part[],
  labels: Labels,
  signals: Candidate["signals"],
  threshold: Strategy,
): ConfusionMatrix | null {
  const actual: string[] = [], decided: string[] = [];
  for (const part of parts) {
    if (part.held.length === 0) continue;
    const rules = partRules(part, labels, signals, threshold);
    if (rules === null) return null;
    for (const { label, families } of part.held) {
      actual.push(groupOf(labels, label));
      decided.push(chooseFamily(families, rules) ?? outlierLabel);
    }
  }
  return confusionMatrix(actual, decided, [...labels.families, outlierLabel]);
}

/** Rules with the thresholds of a part; null if it lacks them. */
function partRules(
  { fitted: { families, oneClass } }: Part,
  labels: Labels,
  signals: Candidate["signals"],
  threshold: Strategy,
): Rules | null {
  if (labels.families.some((family) => families[family][signals[family]]!.thresholds[threshold] === null)) return null;
  return rulesOf({
    format: calibrationFormat,
    modelSet: "",
    quantization: "greedy",
    data: null,
    decision: { signals, threshold },
    families,
    oneClass,
    variants: { scale: 1 },
  }, labels);
}

/** The rank of a decision rule among equally good ones: by the simplicity of its signals, then by strategy. */
function rank({ signals, threshold }: Candidate): number {
  const place = (name: ScoreName) => {
    const i = preferred.indexOf(name);
    return i < 0 ? preferred.length : i;
  };
  const places = Object.values(signals).reduce((sum, name) => sum + place(name), 0);
  return 10 * places + preferredStrategies.indexOf(threshold);
}

/**
 * Chooses among statistically tied rules the simplest one, because with a few hundred images the best of many is partly
 * luck:
 *
 * 1. the preferred signals within one standard error of the best rule (Breiman et al. 1984);
 * 2. with these signals, the preferred strategy within two standard errors.
 *
 * Without candidates, the signal `untried` decides.
 */
function chooseDecision(
  candidates: readonly Candidate[],
  labels: Labels,
  options: FitOptions,
  untried: ScoreName,
): Calibration["decision"] {
  const [best] = candidates;
  if (best === undefined) {
    const signals = mapFamilies(labels.families, (family) => options.signals?.[family] ?? untried);
    return { signals, threshold: options.threshold ?? "gaussian" };
  }
  const within = (errors: number) => {
    const limit = best.balanced - errors * standardError(best.matrix);
    return candidates.filter(({ balanced }) => balanced >= limit);
  };
  const first = (some: readonly Candidate[]) => some.reduce((a, b) => (rank(b) < rank(a) ? b : a));
  const { signals } = first(within(1));
  // Two errors: val compares strategies only on outliers like those in val, so it needs stronger evidence to overrule.
  const isSame = (other: Candidate) => labels.families.every((family) => other.signals[family] === signals[family]);
  const { threshold } = first(within(2).filter(isSame));
  return { signals, threshold };
}

/** Standard error of balanced accuracy, as of a mean of independent shares. */
function standardError({ counts }: ConfusionMatrix): number {
  const sizes = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const present = counts.map((row, i) => ({ share: row[i] / sizes[i], of: sizes[i] })).filter(({ of }) => of > 0);
  const variance = present.reduce((total, { share, of }) => total + share * (1 - share) / of, 0);
  return Math.sqrt(variance) / present.length;
}

function count(items: readonly { readonly label: Label }[], group: string, labels: Labels): number {
  return items.filter(({ label }) => groupOf(labels, label) === group).length;
}
