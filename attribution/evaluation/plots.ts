/**
 * The diagrams of `deno task plot features`, `reliability` and `prada`: reads the files that other tasks wrote, and
 * writes diagrams. feature_charts.ts draws them.
 */
import { parse } from "npm:csv-parse@6.1.0/sync";
import { join } from "node:path";
import { loadCalibration } from "../decision/calibration_file.ts";
import { pradaTokenScore, readPrada } from "../decision/classifiers/prada.ts";
import type { Figure } from "./chart_style.ts";
import type { EvaluationReport } from "./report.ts";
import { reliabilityFigure } from "./verdict_charts.ts";
import { openModelSet } from "../../models/model_set.ts";
import { renderPng, renderSvg } from "../plot/chart.ts";
import { type Labels, labelsOf } from "../labels.ts";
import { aucFigure, distributionFigure, pradaFigure, scoreMatrixFigure } from "./feature_charts.ts";
import { type FeatureItem, type FeatureTable, featureTable } from "../evidence/features.ts";
import { nameOfCell } from "../../util/names.ts";

/** Features that are drawn by default: two signals per family, two summaries of its smallest and largest variant. */
export function defaultFeatures({ families, variants }: Labels): string[] {
  return [
    ...families.flatMap((family) => ["quantLoss", "encLoss"].map((name) => `${family}.${name}`)),
    ...families.flatMap((family) => [variants[family][0], variants[family].at(-1)])
      .flatMap((label) => ["guided.mean", "support.rate"].map((name) => `${label}.${name}`)),
  ];
}

/** Summaries that are drawn as matrices of generating class and scoring variant. */
export const defaultScores = ["guided.mean", "conditional.mean", "difference.mean", "support.rate"];

/** Reads a table of features (`deno task features`). Throws, naming file and line, if it is none. */
export async function readFeatureCsv(path: string, labels: Labels): Promise<FeatureTable> {
  const rows: string[][] = parse(await Deno.readTextFile(path), { bom: true, skip_empty_lines: true });
  const [head = [], ...body] = rows;
  if (head.slice(0, 3).join() !== "image_name,label,source") {
    throw new Error(
      `${path}: expected the columns image_name,label,source and features, got ${head.slice(0, 3).join()}`,
    );
  }
  const names = head.slice(3);
  const items = body.map(([image, label, source, ...values], i): FeatureItem => {
    if (label !== "" && !labels.all.includes(label)) {
      throw new Error(`${path}: line ${i + 2}: expected one of ${labels.all.join(", ")}, got ${label}`);
    }
    const row = Object.fromEntries(names.flatMap((name, j) => values[j] === "" ? [] : [[name, Number(values[j])]]));
    const wrong = names.find((name) => name in row && !Number.isFinite(row[name]));
    if (wrong !== undefined) throw new Error(`${path}: line ${i + 2}: ${wrong}: expected a number`);
    return { image: nameOfCell(image), label: label === "" ? undefined : label, source: nameOfCell(source), row };
  });
  return { ...featureTable(items), items };
}

/** Diagrams of a table, by file name. Throws when the table lacks a feature, or no image has a label. */
export function featureFigures(
  table: FeatureTable,
  labels: Labels,
  features?: readonly string[],
): Map<string, Figure> {
  const labelled = table.items.filter(({ label }) => label !== undefined);
  if (labelled.length === 0) throw new Error("plot features: expected images with labels, got none");
  const chosen = features ?? defaultFeatures(labels).filter((name) => table.names.includes(name));
  const missing = chosen.find((name) => !table.names.includes(name));
  if (missing !== undefined) throw new Error(`plot features: expected features of the table, got ${missing}`);
  const scores = defaultScores.filter((name) => table.names.some((column) => column.endsWith(`.${name}`)));
  return new Map<string, Figure>([
    ["distributions", distributionFigure(labelled, labels, chosen)],
    ...chosen.map((name): [string, Figure] => [`auc_${name}`, aucFigure(labelled, labels, name)]),
    ...(features === undefined ? scores : []).map((
      name,
    ): [string, Figure] => [`scores_${name}`, scoreMatrixFigure(labelled, labels, name)]),
  ]);
}

/** Reliability diagram of an evaluation.json: of all methods with `evaluate --compare`, else of all processings. */
export async function reliabilityOf(path: string): Promise<Figure> {
  const { methods = [], processings = [] } = JSON.parse(await Deno.readTextFile(path)) as Partial<EvaluationReport>;
  const groups = methods.length > 0 ? methods.map(({ method, curves }) => ({ title: method, curves })) : processings;
  if (groups.length === 0) throw new Error(`${path}: has no verdicts: make it with deno task evaluate`);
  return reliabilityFigure(groups);
}

/** PRADA's score functions in the calibration of a model set, from -12 to 4 nats. Throws if it has none. */
export async function pradaOf(models: string): Promise<Figure> {
  const set = await openModelSet(models);
  const { calibration } = await loadCalibration(set);
  const stored = calibration.classifiers?.prada;
  if (stored === undefined) {
    throw new Error(`${models}: the calibration has no score functions: run deno task calibrate --extras prada`);
  }
  const x = Array.from({ length: 161 }, (_, i) => -12 + i / 10);
  return pradaFigure(
    [...readPrada(stored)].map(([label, score]) => ({ label, x, y: x.map((at) => pradaTokenScore(score, at)) })),
    labelsOf(set),
  );
}

/** Writes figures as <dir>/<name>.svg and .png, and returns the paths. */
export async function writeFigures(dir: string, figures: ReadonlyMap<string, Figure>): Promise<string[]> {
  await Deno.mkdir(dir, { recursive: true });
  const files: string[] = [];
  for (const [name, { option, width, height }] of figures) {
    const base = join(dir, name);
    await Deno.writeTextFile(`${base}.svg`, await renderSvg(option, width, height));
    await Deno.writeFile(`${base}.png`, await renderPng(option, width, height));
    files.push(`${base}.svg`, `${base}.png`);
  }
  return files;
}
