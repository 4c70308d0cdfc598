/**
 * Whether verdicts hold when an image is changed so lightly that nobody sees it. A verdict that does not is no finding
 * about the image.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { nameCell } from "../../util/names.ts";
import type { Edit, Processing } from "../images/edits/mod.ts";
import { formatEdits } from "../images/edits/mod.ts";
import type { Finding } from "../evidence/evidence.ts";
import { clusteredRate } from "../metrics/mod.ts";
import type { Estimate } from "./evaluate.ts";
import { isRight, type JudgedVerdict } from "./judged.ts";

/** Changes by about one level of a byte. After these, noise with other seeds. */
const light: readonly Edit[] = [
  { name: "noise", levels: 0.5, seed: 1 },
  { name: "jpeg", quality: 98, subsampling: "4:4:4" },
  { name: "brightness", factor: 1.01 },
  { name: "contrast", factor: 0.99 },
  { name: "brightness", factor: 0.99 },
  { name: "saturation", factor: 1.01 },
  { name: "contrast", factor: 1.01 },
  { name: "saturation", factor: 0.99 },
];

/** The first `count` light changes. */
export function lightChanges(count: number): Processing[] {
  return Array.from({ length: count }, (_, i): Processing => {
    const edit = light[i] ?? { name: "noise", levels: 0.5, seed: i };
    const name = formatEdits([edit]);
    return { name, title: name, edits: [edit] };
  });
}

/** How an image's verdict held. */
export interface StableImage {
  readonly image: string;
  readonly label: string;
  readonly source: string;
  /** The verdict on the untouched image. */
  readonly verdict: string;
  readonly finding: Finding;
  readonly confidence: number;
  /** Changes after which label or finding is another one, as text. */
  readonly changedBy: readonly string[];
  /** Least confidence in the untouched image's label after any change, 0 where the label is another one. */
  readonly leastConfidence: number;
}

/** How verdicts held. */
export interface Stability {
  /** The changes, as text. */
  readonly changes: readonly string[];
  /** Share of images whose label or finding is another one after at least one change. */
  readonly unstable: Estimate;
  /** Share of right labels among the unstable images. */
  readonly unstableRight: Estimate;
  /** Share of right labels among the other ones. */
  readonly stableRight: Estimate;
  /** Every image, in the order of the verdicts. */
  readonly images: readonly StableImage[];
}

/** Compares verdicts on untouched images with those after each change, by the change's name. */
export function stabilityOf(
  verdicts: readonly JudgedVerdict[],
  changed: ReadonlyMap<string, readonly JudgedVerdict[]>,
): Stability {
  const byImage = [...changed].map(([name, items]) => ({
    name,
    items: new Map(items.map((item) => [item.image, item])),
  }));
  const images = verdicts.map(({ image, label, source, verdict, finding, confidence }): StableImage => {
    const others = byImage.flatMap(({ name, items }) => {
      const item = items.get(image);
      return item === undefined ? [] : [{ name, item }];
    });
    const isOther = ({ item }: { item: JudgedVerdict }) => item.verdict !== verdict || item.finding !== finding;
    return {
      ...{ image, label, source, verdict, finding, confidence },
      changedBy: others.filter(isOther).map(({ name }) => name),
      leastConfidence: Math.min(
        confidence,
        ...others.map(({ item }) => item.verdict === verdict ? item.confidence : 0),
      ),
    };
  });
  const isUnstable = images.map(({ changedBy }) => changedBy.length > 0);
  const rightAmong = (unstable: boolean) => {
    const items = verdicts.filter((_, i) => isUnstable[i] === unstable);
    return rateOf(items.map(isRight), items);
  };
  return {
    changes: [...changed.keys()],
    unstable: rateOf(isUnstable, verdicts),
    unstableRight: rightAmong(true),
    stableRight: rightAmong(false),
    images,
  };
}

function rateOf(hits: readonly boolean[], items: readonly JudgedVerdict[]): Estimate {
  return clusteredRate(hits, items.map(({ label, picture }) => `${label} ${picture}`)) ??
    { value: null, interval: null };
}

/** A row per image; `unstable` is 1 or 0. */
export function stabilityCsv({ changes, images }: Stability): string {
  return stringify([
    [
      ...["image_name", "label", "source", "verdict", "finding", "confidence"],
      ...["unstable", "changes", "changed", "least_confidence", "changed_by"],
    ],
    ...images.map((item) => [
      ...[nameCell(item.image), item.label, nameCell(item.source), item.verdict, item.finding, item.confidence],
      ...[Number(item.changedBy.length > 0), changes.length, item.changedBy.length, item.leastConfidence],
      item.changedBy.join(" "),
    ]),
  ]);
}
