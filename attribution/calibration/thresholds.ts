/**
 * From labelled evidence to a calibration: thresholds of the three strategies for every family and signal, what each costs,
 * and which of them should decide. Numbers in, numbers out; measuring and files are in calibrate.ts.
 */
import type { FamilyName } from "../../models/family.ts";
import {
  type Calibration,
  calibrationFormat,
  type Costs,
  type Rules,
  rulesOf,
  type SignalCalibration,
  strategies,
  type Strategy,
} from "../decision/calibration_file.ts";
import type { Measurements } from "../evidence/evidence.ts";
import { groupOf, type Label, type Labels, mapFamilies, outlierLabel } from "../labels.ts";
import { balancedAccuracy, type ConfusionMatrix, confusionMatrix, meanAndDeviation, quantile } from "../metrics/mod.ts";
import type { OneClass } from "../decision/classifiers/one_class.ts";
import { familyScore } from "../decision/family_distance.ts";
import { fromScale, type ScoreName, type SignalName, signalTable, toScale } from "../signals/table.ts";
import { chooseFamily } from "../decision/methods.ts";
import { fitFamilyDistance } from "./fit_one_class.ts";

type Families = Measurements["families"];

/** The signals of an image whose label is known. */
export interface Labelled {
  readonly label: Label;
  readonly families: Families;
}

export interface FitOptions {
  /** `quantile`: the share of the family's own images that pass. Default 0.99. */
  readonly quantile?: number;
  /** `gaussian`: standard deviations above the mean. Default 3. */
  readonly sigmas?: number;
  /** `roc`: the share of outliers that may pass. Default 0.01. */
  readonly falseAlarms?: number;
  /** What decides; chosen by cross-fitting where it is not given. */
  readonly threshold?: Strategy;
  readonly signals?: Readonly<Partial<Record<FamilyName, ScoreName>>>;
}

/** What one way to decide costs, from thresholds fitted without the images that they are tried on. */
export interface Candidate {
  readonly signals: Readonly<Record<FamilyName, ScoreName>>;
  readonly threshold: Strategy;
  /** Images of val by true family (or outlier) and what was decided. */
  readonly matrix: ConfusionMatrix;
  /** Mean of the recalls of all families and of outliers, so that it does not depend on how many of each there are. */
  readonly balanced: number;
}

export interface Fit {
  readonly families: Calibration["families"];
  readonly oneClass: NonNullable<Calibration["oneClass"]>;
  readonly decision: Calibration["decision"];
  /** Every way to decide that was tried, the best first; empty without outliers. */
  readonly candidates: readonly Candidate[];
}

/** val is cut into so many parts; thresholds for one part are fitted on train and the others. */
export const folds = 5;

/** Scores in the order of preference among ways to decide that are equally good. */
const preferred: readonly ScoreName[] = ["quantLoss", "combined", "encLoss", "oneClass"];
/**
 * And strategies. Generators that val has no images of make outliers that are nearer to a family than val's photographs: the
 * threshold that keeps a promised share of the family's own, and has been drawn no wider towards val's outliers, comes first.
 */
const preferredStrategies: readonly Strategy[] = ["quantile", "gaussian", "roc"];

/** Throws when a family has fewer than two images, and when `roc` is asked for and val has no outliers. */
export function requireFittable(
  train: readonly { readonly label: Label }[],
  val: readonly { readonly label: Label }[],
  labels: Labels,
  options: FitOptions = {},
): void {
  const counts = labels.families.map((name) => [name, count([...train, ...val], name, labels)] as const);
  const short = counts.filter(([, n]) => n < 2);
  if (short.length > 0) {
    const missing = short.map(([name, n]) => `${n} of ${name} (${labels.variants[name].join(", ")})`).join(" and ");
    throw new Error(
      `calibration: expected two images or more of each family in train and val together, got ${missing}`,
    );
  }
  if (options.threshold === "roc" && count(val, outlierLabel, labels) === 0) {
    throw new Error(
      "--threshold roc: val has no outliers, whose rate of false alarms it would fix: add val/outlier, or use " +
        "--threshold gaussian or quantile, which need none",
    );
  }
}

/** Fits every signal that the evidence has. Throws as requireFittable() does, and when a chosen signal was not measured. */
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
  const candidates = outliers === 0 ? [] : tryAll(names, parts, labels, options);
  const enough = labels.families.every((name) => count([...train, ...val], name, labels) >= enoughForDistances);
  const decision = chooseDecision(candidates, labels, options, enough ? "oneClass" : "quantLoss");
  return { ...fitted, decision, candidates };
}

/** With fewer images of a family, the distances of its own images are too uncertain to be chosen untried. */
const enoughForDistances = 20;

/** The signals that all evidence has, in the order of the table. */
function measuredSignals(all: readonly Labelled[], labels: Labels): SignalName[] {
  return (Object.keys(signalTable) as SignalName[]).filter((name) =>
    all.every(({ families }) =>
      labels.families.every((family) => signalTable[name].score(families[family]) !== undefined)
    )
  );
}

/** Images of a label come to the folds in turn, so that every fold has some of each. */
function foldOf(val: readonly Labelled[], i: number): number {
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
const foldCache = new WeakMap<readonly Labelled[], readonly number[]>();

type Fitted = Pick<Fit, "families" | "oneClass">;

function fitAll(
  all: readonly Labelled[],
  names: readonly ScoreName[],
  labels: Labels,
  options: FitOptions,
): Fitted {
  const outliers = all.filter(({ label }) => label === outlierLabel);
  const oneClass = {} as Record<FamilyName, OneClass>, families = {} as Fitted["families"];
  for (const family of labels.families) {
    const own = all.filter(({ label }) => labels.familyOf(label) === family);
    const model = oneClass[family] = fitFamilyDistance(own.map(({ families }) => families), family);
    const ownDistances = distancesOfOthers(own, family);
    const fits = names.map((name) => {
      const score = (item: Labelled) => toScale(name, familyScore(name, item.families, family, model));
      const ownScores = name === "oneClass" ? ownDistances : own.map(score);
      return [name, fitSignal(name, ownScores, outliers.map(score), options)] as const;
    });
    families[family] = Object.fromEntries(fits) as Partial<
      Record<ScoreName, SignalCalibration>
    > as Fitted["families"][string];
  }
  return { families, oneClass };
}

/**
 * Distances of a family's own images from the rest of them: those that a model was fitted to are nearer to it than images
 * that it has not seen, which thresholds are for. On the score's scale.
 */
function distancesOfOthers(own: readonly Labelled[], family: FamilyName): number[] {
  const parts = Math.min(folds, Math.floor(own.length / 2));
  const distance = (item: Labelled, model: OneClass) =>
    toScale("oneClass", familyScore("oneClass", item.families, family, model));
  // Of fewer than four images no part could do without the others.
  if (parts < 2) {
    const model = fitFamilyDistance(own.map(({ families }) => families), family);
    return own.map((item) => distance(item, model));
  }
  const models = Array.from(
    { length: parts },
    (_, part) => fitFamilyDistance(own.filter((_, i) => i % parts !== part).map(({ families }) => families), family),
  );
  return own.map((item, i) => distance(item, models[i % parts]));
}

/** Fits one signal from scores on its scale; `outliers` may be empty. */
function fitSignal(
  name: ScoreName,
  own: readonly number[],
  outliers: readonly number[],
  { quantile: q = 0.99, sigmas = 3, falseAlarms = 0.01 }: FitOptions,
): SignalCalibration {
  const moments = own.length < 2 ? { mean: own[0] ?? 0, deviation: 0 } : meanAndDeviation(own);
  // Equal scores: any distance from them is a large one, but a finite one.
  const deviation = Math.max(moments.deviation, 1e-6);
  const row = (value: number, parameter: number) => ({ threshold: fromScale(name, value), parameter });
  return {
    mean: moments.mean,
    deviation,
    thresholds: {
      quantile: own.length === 0 ? null : row(quantile(own, q), q),
      gaussian: own.length === 0 ? null : row(moments.mean + sigmas * deviation, sigmas),
      roc: outliers.length === 0 ? null : row(rocThreshold(own, outliers, deviation, falseAlarms), falseAlarms),
    },
  };
}

/**
 * The threshold that lets at most the share `rate` of the outliers pass: half way between the first outlier that must not
 * pass and the largest score below it, of either kind. Where both groups lie apart that is the middle of the gap, which
 * serves images that were not seen better than its edges. Scores on the signal's scale; `deviation` is that of the own ones.
 */
export function rocThreshold(
  own: readonly number[],
  outliers: readonly number[],
  deviation: number,
  rate: number,
): number {
  const sorted = [...outliers].sort((a, b) => a - b);
  const allowed = Math.floor(rate * sorted.length + 1e-9);
  if (allowed >= sorted.length) return Math.max(...own, ...sorted);
  const first = sorted[allowed];
  const below = [...own, ...sorted].filter((score) => score < first);
  const last = below.length > 0 ? Math.max(...below) : first - deviation;
  const middle = (last + first) / 2;
  return middle < first ? middle : last;
}

interface Part {
  readonly held: readonly Labelled[];
  readonly fitted: Fitted;
}

/** Adds what every threshold of a score costs on val, in sample and cross-fitted. */
function addCosts(
  fit: Fitted,
  { family, name, labels }: { family: FamilyName; name: ScoreName; labels: Labels },
  val: readonly Labelled[],
  parts: readonly Part[],
): void {
  const costs = (items: readonly Labelled[], fitted: Fitted, threshold: number) =>
    costsOf(
      items,
      family,
      labels,
      (item) => familyScore(name, item.families, family, fitted.oneClass[family]) <= threshold,
    );
  for (const strategy of strategies) {
    const own = fit.families[family][name]!.thresholds[strategy];
    if (own === null) continue;
    own.onVal = costs(val, fit, own.threshold);
    const each = parts.filter(({ held }) => held.length > 0)
      .map(({ held, fitted }) => ({ held, fitted, row: fitted.families[family][name]!.thresholds[strategy] }));
    own.crossFitted = each.length < 2 || each.some(({ row }) => row === null)
      ? null
      : each.map(({ held, fitted, row }) => costs(held, fitted, row!.threshold)).reduce(addUp);
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
 * Decides every image of val by every signal and every strategy, with thresholds fitted without it. All families are judged
 * by the same signal, but for those whose signal is given: signals of several families in all combinations would be chosen
 * by luck.
 */
function tryAll(
  names: readonly ScoreName[],
  parts: readonly Part[],
  labels: Labels,
  options: FitOptions,
): Candidate[] {
  const found: Candidate[] = [];
  const isGiven = labels.families.every((family) => options.signals?.[family] !== undefined);
  for (const threshold of options.threshold ? [options.threshold] : strategies) {
    for (const name of isGiven ? names.slice(0, 1) : names) {
      const signals = mapFamilies(labels.families, (family) => options.signals?.[family] ?? name);
      const matrix = crossFittedMatrix(parts, labels, signals, threshold);
      if (matrix !== null) found.push({ signals, threshold, matrix, balanced: balancedAccuracy(matrix) ?? 0 });
    }
  }
  return found.sort((a, b) => b.balanced - a.balanced || rank(a) - rank(b));
}

/** True and decided families of val; null where a part has no such thresholds. */
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

/** Rules of a part's fit; null where it has no such thresholds. */
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

/** Small for the ways to decide that are preferred among equals: plain signals, then strategies. */
function rank({ signals, threshold }: Candidate): number {
  const place = (name: ScoreName) => {
    const i = preferred.indexOf(name);
    return i < 0 ? preferred.length : i;
  };
  const places = Object.values(signals).reduce((sum, name) => sum + place(name), 0);
  return 10 * places + preferredStrategies.indexOf(threshold);
}

/**
 * The preferred scores among those that are not worse than the best ones by more than one standard error (Breiman et al.
 * 1984): with a few hundred images, the best of many is partly luck. For them, the preferred strategy within two.
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
  // What val says about strategies holds for outliers like its own, so that it must say more to set the order aside.
  const isSame = (other: Candidate) => labels.families.every((family) => other.signals[family] === signals[family]);
  const { threshold } = first(within(2).filter(isSame));
  return { signals, threshold };
}

/** Standard error of a balanced accuracy: that of a mean of independent shares. */
function standardError({ counts }: ConfusionMatrix): number {
  const sizes = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const present = counts.map((row, i) => ({ share: row[i] / sizes[i], of: sizes[i] })).filter(({ of }) => of > 0);
  const variance = present.reduce((total, { share, of }) => total + share * (1 - share) / of, 0);
  return Math.sqrt(variance) / present.length;
}

function count(items: readonly { readonly label: Label }[], group: string, labels: Labels): number {
  return items.filter(({ label }) => groupOf(labels, label) === group).length;
}
