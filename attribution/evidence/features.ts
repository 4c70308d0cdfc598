/**
 * Features: a row of named numbers per image, from evidence. Methods decide from them; they are written as CSV and
 * safetensors.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import type { Measurements } from "./evidence.ts";
import { writeFileAtomically } from "../../util/files.ts";
import { nameCell } from "../../util/names.ts";
import type { Label, Labels } from "../labels.ts";

/**
 * Numbers by name:
 *
 * - `<family>.<signal>`, named as in evidence
 * - `<family>.class.weight` and `<family>.class.entropy`: weight of the likeliest class, entropy of all in nats
 * - `<variant>.<summary>` (likelihood/summaries.ts)
 * - `<variant>.membership.<kind>.<name>` and `<variant>.prada.score`, if they were measured
 */
export type FeatureRow = Readonly<Record<string, number>>;

/** Numbers of single tokens, to which PRADA is fitted. Rows leave them out. */
const isPerToken = (name: string) => name.startsWith("token.");

/** The features of an image. */
export function featuresOf({ families, classes, variants }: Measurements): FeatureRow {
  const row: Record<string, number> = {};
  for (const family of Object.keys(families)) {
    for (const [name, value] of Object.entries(families[family])) row[`${family}.${name}`] = value;
    const top = classes?.[family]?.top;
    if (top !== undefined) {
      row[`${family}.class.weight`] = top[0].weight;
      // + 0 turns the entropy -0 of a single class into 0.
      row[`${family}.class.entropy`] = top.reduce((sum, { weight }) =>
        sum - (weight > 0 ? weight * Math.log(weight) : 0), 0) + 0;
    }
  }
  for (const [label, { summaries, meanLogProb, perplexity }] of Object.entries(variants)) {
    const values = summaries ?? { "conditional.mean": meanLogProb, "conditional.perplexity": perplexity };
    for (const name of Object.keys(values)) if (!isPerToken(name)) row[`${label}.${name}`] = values[name];
  }
  return row;
}

/** An image with its features. */
export interface FeatureItem {
  /** Name in the results. */
  readonly image: string;
  /** Undefined if unknown. */
  readonly label?: Label;
  /** Where the image comes from. Undefined if unknown. */
  readonly source?: string;
  /** Its features. */
  readonly row: FeatureRow;
}

/** Features of several images. */
export interface FeatureTable {
  /** Columns. A row may lack all those of a family or a variant that does not judge the image. */
  readonly names: readonly string[];
  /** The images, in the order of the rows. */
  readonly items: readonly FeatureItem[];
}

/**
 * A table with the columns that all rows have, in the order of the first row. Of a family or a variant that judges images
 * of one size of several, these are the columns of all rows that have any of it.
 */
export function featureTable(items: readonly FeatureItem[]): FeatureTable {
  const ownerOf = (name: string) => name.split(".")[0];
  const owners = items.map(({ row }) => new Set(Object.keys(row).map(ownerOf)));
  const names = [...new Set(items.flatMap(({ row }) => Object.keys(row)))].filter((name) =>
    items.every(({ row }, i) => name in row || !owners[i].has(ownerOf(name)))
  );
  return { names, items };
}

/** The values of columns for a row. Throws on the first missing column; `what` begins the message. */
export function pickColumns(row: FeatureRow, names: readonly string[], what: string): number[] {
  return names.map((name) => {
    const value = row[name];
    if (value === undefined) throw new Error(`${what}: expected the feature ${name}, which was not measured`);
    return value;
  });
}

/** The table as CSV: image_name, label, source (empty if unknown), then the features (empty if not measured). */
export function featureCsv({ names, items }: FeatureTable): string {
  return stringify([
    ["image_name", "label", "source", ...names],
    ...items.map((
      { image, label, source, row },
    ) => [nameCell(image), label ?? "", nameCell(source ?? ""), ...names.map((name) => row[name])]),
  ]);
}

/**
 * Writes <base>.csv and <base>.safetensors, and returns their paths. The tensors are `features` [images, columns] (f32, NaN if not measured)
 * and `label` [images] (i32; index into the labels, -1 if unknown). The metadata has columns, labels and images as
 * JSON.
 */
export async function writeFeatureTable(table: FeatureTable, labels: Labels, base: string): Promise<string[]> {
  const { names, items } = table;
  const csv = `${base}.csv`, tensors = `${base}.safetensors`;
  await writeFileAtomically(csv, featureCsv(table));
  const values = Float32Array.from(items.flatMap(({ row }) => names.map((name) => row[name] ?? NaN)));
  const places = Int32Array.from(items, ({ label }) => label === undefined ? -1 : labels.all.indexOf(label));
  await writeSafetensors(tensors, [
    { name: "features", dtype: "f32", shape: [items.length, names.length], data: () => values },
    { name: "label", dtype: "i32", shape: [items.length], data: () => places },
  ], {
    columns: JSON.stringify(names),
    labels: JSON.stringify(labels.all),
    images: JSON.stringify(items.map(({ image }) => image)),
  });
  return [csv, tensors];
}
