/**
 * What verdicts would be if something were known that no program knows, from the evidence of `deno task evaluate`:
 * deno run -A bench/oracles.ts --report DIR --labels FILE [--leave-out SOURCES]
 *
 * Shows, by processing, the share of right labels
 *   as decided, and with each of these oracles:
 *   best limit    the limit on an outlier's probability that is best for these very images
 *   outliers      told which images are outliers: the others get their likeliest model
 *   families      told the family of every generated image, and which are outliers
 * and of the labels that are wrong as decided, how many are generated images called outlier, generated images with
 * another model's label, and outliers with a model's label. SOURCES of outliers, with commas between, are left out.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Evidence, isUnreadable } from "../attribution/evidence/evidence.ts";
import { standardProcessings } from "../attribution/images/edits/mod.ts";
import { parseNameTable } from "../attribution/images/name_table.ts";
import { type Labels, labelsOf, outlierLabel } from "../attribution/labels.ts";
import { openModelSet } from "../models/model_set.ts";
import { table } from "./table.ts";

interface Judged {
  readonly truth: string;
  readonly label: string;
  readonly scores: Readonly<Record<string, number>>;
}

const { values: options } = parseArgs({
  options: {
    report: { type: "string" },
    labels: { type: "string" },
    models: { type: "string", default: "weights/tiny" },
    "leave-out": { type: "string", default: "" },
  },
});
if (options.report === undefined || options.labels === undefined) {
  throw new Error("oracles: expected --report DIR, a folder that deno task evaluate wrote, and --labels FILE");
}

/** The likeliest of some labels. */
function likeliest(scores: Judged["scores"], among: readonly string[]): string {
  return among.reduce((best, label) => (scores[label] ?? 0) > (scores[best] ?? 0) ? label : best);
}

/** Share of images for which `labelOf` is right. */
function rightBy(items: readonly Judged[], labelOf: (item: Judged) => string): number {
  return items.filter((item) => labelOf(item) === item.truth).length / items.length;
}

/** The largest share of right labels over all limits on an outlier's probability. */
function bestLimit(items: readonly Judged[], models: readonly string[]): number {
  const limits = [0, ...items.map(({ scores }) => scores[outlierLabel])];
  return Math.max(
    ...limits.map((limit) =>
      rightBy(items, ({ scores }) => scores[outlierLabel] > limit ? outlierLabel : likeliest(scores, models))
    ),
  );
}

function row(title: string, items: readonly Judged[], labels: Labels): string[] {
  const models = labels.all.filter((label) => label !== outlierLabel);
  const ofFamily = (truth: string) => labels.variants[labels.familyOf(truth)!];
  const known = (item: Judged, among: (truth: string) => readonly string[]) =>
    item.truth === outlierLabel ? outlierLabel : likeliest(item.scores, among(item.truth));
  const wrong = items.filter(({ truth, label }) => truth !== label);
  const missed = wrong.filter(({ label }) => label === outlierLabel).length;
  const accused = wrong.filter(({ truth }) => truth === outlierLabel).length;
  const shares = [
    rightBy(items, ({ label }) => label),
    bestLimit(items, models),
    rightBy(items, (item) => known(item, () => models)),
    rightBy(items, (item) => known(item, ofFamily)),
  ];
  return [
    ...[title, String(items.length), ...shares.map((share) => `${(100 * share).toFixed(1)} %`)],
    ...[missed, wrong.length - missed - accused, accused].map(String),
  ];
}

const labels = labelsOf(await openModelSet(options.models));
const left = options["leave-out"].split(",");
const truths = new Map(
  parseNameTable(await Deno.readTextFile(options.labels), options.labels, "label")
    .filter(({ source }) => !left.includes(source)).map(({ image_name, label }) => [image_name, label]),
);
const rows = [[
  "processing",
  "images",
  "as decided",
  "best limit",
  "outliers",
  "families",
  "missed",
  "other",
  "accused",
]];
const byProcessing = new Map<string, Judged[]>();
for (const [folder, prefixed] of [["", false], ["processing", true]] as const) {
  const path = join(options.report, folder, "evidence.jsonl");
  for (const text of (await Deno.readTextFile(path)).trim().split("\n")) {
    const line: Evidence = JSON.parse(text);
    if (isUnreadable(line)) continue;
    const [name, image] = prefixed ? splitName(line.image) : ["none", line.image];
    const truth = truths.get(image);
    if (truth === undefined) continue;
    const known = byProcessing.get(name) ?? [];
    byProcessing.set(name, [...known, { truth, label: line.label, scores: line.scores }]);
  }
}
for (const { name, title } of standardProcessings) {
  const items = byProcessing.get(name);
  if (items !== undefined) rows.push(row(title, items, labels));
}
rows.push(row("all of these", [...byProcessing.values()].flat(), labels));
console.log(table(rows));

function splitName(image: string): [processing: string, image: string] {
  const at = image.indexOf("/");
  return [image.slice(0, at), image.slice(at + 1)];
}
