/**
 * Compares what a check measured with the figures of the set, and says in words whether this installation would find its
 * own images. Numbers in, words out: no network runs here.
 */
import { clopperPearson, quantile } from "../../attribution/metrics/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import type { Figure, Figures, Quantity } from "./figures.ts";
import type { TrialImage } from "./trials.ts";

/** The verdict about an image whose variant is known. */
export interface TrialVerdict {
  readonly variant: string;
  readonly family: FamilyName;
  readonly label: string;
  /** Family of the label; null for outlier. */
  readonly labelFamily: FamilyName | null;
  readonly finding: string;
  readonly confidence: number | null;
  /** Classes that were inferred under the image's family; undefined where none were. */
  readonly classes?: InferredClasses;
}

/** How an inference of classes ended, of an image whose class is known. */
export interface InferredClasses {
  /** Number of classes that were kept. */
  readonly kept: number;
  /** Place of the image's own class among them, 0 for the likeliest; undefined where it was not kept. */
  readonly own?: number;
}

/** A measured value beside a figure. */
export interface Comparison {
  /** A family, a variant or `all`. */
  readonly of: string;
  readonly quantity: Quantity;
  readonly measured: number;
  /** Images, or verdicts, that were measured. */
  readonly images: number;
  readonly figure: number;
  readonly low?: number;
  readonly high?: number;
  /** `shown`: there is no range, or it does not apply to this set. */
  readonly result: "within" | "below" | "above" | "shown";
  /** Why it is only shown. */
  readonly reason?: string;
  readonly decides: boolean;
  readonly source: string;
}

/** What a check comes to. */
export interface Judgement {
  /** `unknown`: nothing that decides could be compared. */
  readonly result: "good" | "bad" | "unknown";
  /** In words, for people. */
  readonly summary: string;
  readonly comparisons: readonly Comparison[];
}

/** What a judgement is about. */
export interface Checked {
  readonly images: readonly TrialImage[];
  readonly verdicts: readonly TrialVerdict[];
  /** Families of the set that have a fine-tuned encoder. */
  readonly withEncoder: readonly FamilyName[];
  readonly isCalibrated: boolean;
}

/** The median margin of the own variant in nats per token, over images that more than one variant has scored. */
export function marginOf(images: readonly TrialImage[]): { value: number; images: number } | undefined {
  const margins = images.flatMap(({ variant, nats }) => {
    const others = Object.entries(nats).filter(([name]) => name !== variant).map(([, value]) => value);
    return others.length === 0 || nats[variant] === undefined ? [] : [Math.min(...others) - nats[variant]];
  });
  return margins.length === 0 ? undefined : { value: quantile(margins, 0.5), images: margins.length };
}

/** Of images whose classes were inferred: how many kept their own class, and had it first, and what chance would keep. */
export interface ClassesFound {
  readonly images: number;
  readonly kept: number;
  readonly first: number;
  /** Share of images, 0 to 1, that keep their own class where classes are kept at random. */
  readonly chance: number;
}

/** What became of the classes of a variant's images; undefined where none were inferred. `classes` is how many there are. */
export function classesFound(verdicts: readonly TrialVerdict[], classes: number): ClassesFound | undefined {
  const inferred = verdicts.flatMap((verdict) => verdict.classes ?? []);
  if (inferred.length === 0) return undefined;
  return {
    images: inferred.length,
    kept: inferred.filter(({ own }) => own !== undefined).length,
    first: inferred.filter(({ own }) => own === 0).length,
    chance: inferred.reduce((sum, { kept }) => sum + kept / classes, 0) / inferred.length,
  };
}

/** A measured quantity, and the number of images that it is from; undefined where nothing was measured. */
export function measuredOf(
  { of, quantity }: Pick<Figure, "of" | "quantity">,
  { images, verdicts }: Pick<Checked, "images" | "verdicts">,
): { readonly value: number; readonly images: number } | undefined {
  const isOf = ({ variant, family }: { variant: string; family: string }) => [variant, family, "all"].includes(of);
  const own = images.filter(isOf), judged = verdicts.filter(isOf);
  const mean = (values: readonly number[]) =>
    values.length === 0
      ? undefined
      : { value: values.reduce((a, b) => a + b, 0) / values.length, images: values.length };
  switch (quantity) {
    case "tokensRecovered":
      return mean(own.map(({ recovered }) => recovered));
    case "drawnNats":
      return mean(own.map(({ drawnNats }) => drawnNats));
    case "foundNats":
      return mean(own.map(({ foundNats }) => foundNats));
    case "margin":
      return marginOf(own);
    case "rightLabel":
      return mean(judged.map(({ label, variant }) => label === variant ? 1 : 0));
    case "rightFamily":
      return mean(judged.map(({ labelFamily, family }) => labelFamily === family ? 1 : 0));
  }
}

/** Compares what was measured with every figure that fits. */
export function compare(figures: readonly Figure[], checked: Checked): Comparison[] {
  return figures.flatMap((figure) => {
    const measured = measuredOf(figure, checked);
    if (measured === undefined) return [];
    const { of, quantity, value, decides, source, withEncoder } = figure;
    const { low, high } = rangeOf(figure, measured.images);
    const families = checked.images.filter(({ variant, family }) => [variant, family, "all"].includes(of))
      .map(({ family }) => family);
    const lacksEncoder = withEncoder && families.some((family) => !checked.withEncoder.includes(family));
    const row = { of, quantity, measured: measured.value, images: measured.images, figure: value, low, high, source };
    if (lacksEncoder) {
      const reason = "the figure is that of an inverse decoder, which this set lacks";
      return [{ ...row, result: "shown" as const, reason, decides: false }];
    }
    return [{ ...row, result: placed(measured, { quantity, value, low, high }), decides }];
  });
}

/** Deviations of the mean that are allowed. */
const allowed = 3;

/**
 * What the mean of so many images may be. Of the own variant's margin and of tokens found more is never wrong; a margin
 * is above 0 where images are found at all.
 */
function rangeOf({ quantity, value, deviation, low, high }: Figure, images: number): { low?: number; high?: number } {
  if (deviation === undefined) return { low, high };
  const reach = allowed * deviation / Math.sqrt(images);
  if (quantity === "margin" || quantity === "tokensRecovered") return { low: Math.max(0, value - reach) };
  return { low: value - reach, high: value + reach };
}

/** Where a measured value lies. A share of verdicts is below its figure if so few are right by chance in 1 of 40 sets. */
function placed(
  { value, images }: { readonly value: number; readonly images: number },
  { quantity, value: expected, low = -Infinity, high = Infinity }: Pick<Figure, "quantity" | "value" | "low" | "high">,
): Comparison["result"] {
  if (quantity === "rightLabel" || quantity === "rightFamily") {
    return clopperPearson(Math.round(value * images), images).high < expected ? "below" : "within";
  }
  if (low === -Infinity && high === Infinity) return "shown";
  return value < low ? "below" : value > high ? "above" : "within";
}

/** Says what a check comes to. Without figures there is nothing to compare with. */
export function judge(figures: Figures | undefined, checked: Checked): Judgement {
  const comparisons = figures === undefined ? [] : compare(figures.figures, checked);
  const deciding = comparisons.filter(({ decides, result }) => decides && result !== "shown");
  const wrong = deciding.filter(({ result }) => result !== "within");
  const result = deciding.length === 0 ? "unknown" : wrong.length > 0 ? "bad" : "good";
  return { result, comparisons, summary: inWords(result, wrong, figures, checked) };
}

function inWords(
  result: Judgement["result"],
  wrong: readonly Comparison[],
  figures: Figures | undefined,
  { images, verdicts, isCalibrated }: Checked,
): string {
  const tried = [...new Set(images.map(({ variant }) => variant))];
  const of = `${images.length} ${images.length === 1 ? "image" : "images"} of ${tried.join(", ") || "no variant"}`;
  const verdict = verdicts.length > 0
    ? `${verdicts.filter(({ label, variant }) => label === variant).length} of ${verdicts.length} verdicts are right`
    : isCalibrated
    ? "there was no time for verdicts: --minutes gives more"
    : "there are no verdicts yet: deno task calibrate comes next";
  if (result === "unknown") {
    const why = figures === undefined
      ? "there are no figures of this set"
      : "no figure that decides applies to what was measured; the margin needs two variants of a family, the tokens " +
        "found need inverse decoders";
    return `Whether this installation would find its own images cannot be said: ${why} (${of}; ${verdict}).`;
  }
  if (result === "good") {
    return `This installation would find its own images, as far as ${of} can tell: all figures are in their ranges; ` +
      `${verdict}.`;
  }
  const list = wrong.map((row) => `${titleOf(row)} is ${numberOf(row, row.measured)}, expected ${expectedOf(row)}`);
  return `This installation would not find its own images (${of}; ${verdict}): ${list.join("; ")}.`;
}

const titles: Readonly<Record<Quantity, string>> = {
  tokensRecovered: "share of tokens found again",
  margin: "margin of the own variant",
  drawnNats: "nats per drawn token",
  foundNats: "nats per found token",
  rightFamily: "verdicts of the right family",
  rightLabel: "right verdicts",
};

/** `rar: share of tokens found again`. */
export function titleOf({ of, quantity }: Pick<Comparison, "of" | "quantity">): string {
  return `${of}: ${titles[quantity]}`;
}

/** A value with its unit. */
export function numberOf({ quantity }: Pick<Comparison, "quantity">, value: number): string {
  return ["tokensRecovered", "rightFamily", "rightLabel"].includes(quantity)
    ? `${(100 * value).toFixed(1)} %`
    : `${value.toFixed(2)} nats`;
}

/** `85.0 %, at least 70.0 %`. */
export function expectedOf(row: Comparison): string {
  const { low, high, figure } = row;
  const number = (value: number) => numberOf(row, value);
  if (low !== undefined && high !== undefined) return `${number(low)} to ${number(high)}`;
  if (low !== undefined) return `at least ${number(low)}`;
  if (high !== undefined) return `at most ${number(high)}`;
  return `about ${number(figure)}`;
}
