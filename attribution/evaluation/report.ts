/**
 * Writes an evaluation as files: an HTML page, tables as CSV, everything as JSON. evaluate.ts computes the numbers,
 * html.ts lays out the page.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { join } from "node:path";
import type { Calibration, Rules } from "../decision/calibration_file.ts";
import { writeFileAtomically } from "../../util/files.ts";
import { familyNamed } from "../../models/registry.ts";
import type { ConfusionMatrix } from "../metrics/mod.ts";
import { aucFigure, confusionFigure, robustnessFigure, rocFigure } from "./charts.ts";
import { scoreFigure } from "./score_chart.ts";
import { type Estimate, type Evaluation, everythingElse, type Judged } from "./evaluate.ts";
import { methodColumns, type MethodResult } from "./methods.ts";
import { reliabilityFigure } from "./feature_charts.ts";
import { figure, htmlTable, page, type Section, tile } from "./html.ts";
import { attackTitles, type RobustnessPoint } from "./robustness.ts";

/** What evaluation.json contains. */
export interface EvaluationReport {
  /** Everything that the numbers depend on, in the order in which it is shown. */
  readonly about: Readonly<Record<string, string>>;
  readonly evaluation: Evaluation;
  /** All methods on the same images; empty unless requested. */
  readonly methods: readonly MethodResult[];
  readonly robustness: readonly RobustnessPoint[];
  readonly unreadable: readonly { readonly image: string; readonly message: string }[];
  /** What limits the numbers, in sentences. */
  readonly notes: readonly string[];
}

/** What the page shows in diagrams, beyond the numbers of the report. */
export interface Drawn {
  readonly judged: readonly Judged[];
  readonly calibration: Calibration;
  readonly rules: Rules;
}

/** Writes report.html, evaluation.json and the tables into `dir`, and returns their paths. */
export async function writeEvaluation(dir: string, report: EvaluationReport, drawn: Drawn): Promise<string[]> {
  const { evaluation, robustness } = report;
  const files: Record<string, string> = {
    "report.html": await evaluationPage(report, drawn),
    "evaluation.json": JSON.stringify(report, null, 1) + "\n",
    "confusion.csv": confusionCsv(evaluation.confusion),
    "signals.csv": signalsCsv(evaluation),
    "thresholds.csv": thresholdsCsv(evaluation),
  };
  if (report.methods.length > 0) files["methods.csv"] = methodsCsv(report.methods);
  if (robustness.length > 0) files["robustness.csv"] = robustnessCsv(robustness);
  for (const [name, text] of Object.entries(files)) await writeFileAtomically(join(dir, name), text);
  return Object.keys(files).map((name) => join(dir, name));
}

const dash = "–";

/** `93.1 % (90.4 to 95.6 %)`; a dash if it is not defined. */
export function describeEstimate({ value, interval }: Estimate): string {
  if (value === null) return dash;
  return percent(value) + (interval === null ? "" : ` (${describeInterval(interval)})`);
}

function describeInterval({ low, high }: { low: number; high: number }): string {
  return `${(100 * low).toFixed(1)} to ${percent(high)}`;
}

function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? dash : `${(100 * share).toFixed(1)} %`;
}

async function evaluationPage(report: EvaluationReport, drawn: Drawn): Promise<string> {
  const { evaluation, about, unreadable, notes } = report;
  const sections: (Section | null)[] = [
    { title: "Verdicts", html: tiles(evaluation) },
    notes.length === 0 ? null : { title: "Notes", html: paragraphs(notes) },
    await confusionSection(evaluation),
    await thresholdSection(evaluation, drawn),
    await methodSection(report.methods),
    await signalSection(evaluation, drawn),
    await robustnessSection(report.robustness),
    unreadable.length === 0 ? null : {
      title: "Unreadable images",
      html: htmlTable(["image", "reason"], unreadable.map(({ image, message }) => [image, message])),
    },
    { title: "About this evaluation", html: htmlTable(["", ""], Object.entries(about)) },
  ];
  return page("Evaluation", sections.filter((section) => section !== null));
}

function sectionOf(title: string, ...html: string[]): Section {
  return { title, html: html.join("\n") };
}

async function confusionSection({ confusion, familyConfusion }: Evaluation): Promise<Section> {
  return sectionOf(
    "Confusion",
    await figure(
      confusionFigure(confusion),
      "Numbers of images by true label (rows) and verdict (columns); colours are shares of the row.",
    ),
    await figure(confusionFigure(familyConfusion), "The same for families and outliers."),
    htmlTable(["label", "images", "recall", "precision"], perLabel(confusion)),
  );
}

async function thresholdSection({ strategies }: Evaluation, drawn: Drawn): Promise<Section> {
  return sectionOf(
    "Thresholds",
    await figure(
      scoreFigure(drawn.judged, drawn.calibration, drawn.rules),
      "Scores of the signal that decides, in 40 bins of equal width on the signal's scale, and the thresholds of the " +
        "three strategies. An image passes as the family if its score is below the threshold.",
    ),
    htmlTable(
      ["strategy", "family accuracy", "outlier recall", "outlier precision"],
      strategies.map(({ threshold, familyAccuracy, outlierRecall, outlierPrecision }) => [
        threshold,
        ...[familyAccuracy, outlierRecall, outlierPrecision].map(describeEstimate),
      ]),
      strategies.flatMap(({ decides }, i) => decides ? [i] : []),
    ),
  );
}

async function methodSection(methods: readonly MethodResult[]): Promise<Section | null> {
  if (methods.length === 0) return null;
  const titles = methodColumns(methods).map(({ title }) => title);
  return sectionOf(
    "Methods",
    htmlTable(["method", ...titles, "half the outliers", "twice the outliers"], methodRows(methods)),
    paragraphs([
      "All methods on the same images. Variant, family given: the share of a family's images whose variant the " +
      "method finds when it is told the family. Calibration error: mean distance between confidence and share of " +
      "right verdicts, in ten bins. Half and twice the outliers: accuracy if their share were half or twice as large.",
    ]),
    await figure(
      reliabilityFigure(methods),
      "Rate of being right by confidence, in ten bins; the line is where both are equal.",
    ),
  );
}

async function signalSection(evaluation: Evaluation, { rules }: Drawn): Promise<Section | null> {
  const curves = rocFigure(evaluation.signals), areas = aucFigure(evaluation.signals);
  if (areas === null) return null;
  return sectionOf(
    "Signals",
    await figure(areas, "How well each signal separates images of a family from everything else."),
    ...curves === null ? [] : [
      await figure(
        curves,
        "ROC curves. The axis of false positive rates is logarithmic; a rate of 0 is drawn at its left end. The " +
          "signal that decides is drawn thicker; the dotted line is a false positive rate of 1 %.",
      ),
    ],
    ...rules.labels.families.map((family) => separationTable(evaluation, family)),
    paragraphs([
      "With fewer than 100 nonmembers a false positive rate of 1 % allows no false alarm at all.",
    ]),
  );
}

async function robustnessSection(points: readonly RobustnessPoint[]): Promise<Section | null> {
  const sweep = robustnessFigure(points);
  if (sweep === null) return null;
  return sectionOf(
    "Robustness",
    await figure(
      sweep,
      "The family decision on images that were processed first. Family accuracy and outlier recall are those of the " +
        "thresholds that were fitted to untouched images; TPR at 1 % FPR is against equally processed images of " +
        "everything else. Harsher to the right.",
    ),
    htmlTable(robustnessHead(points), robustnessRows(points)),
  );
}

function tiles(
  { accuracy, familyAccuracy, variantAccuracy, outlierRecall, outlierPrecision, images }: Evaluation,
): string {
  const one = (name: string, estimate: Estimate) =>
    tile(name, percent(estimate.value), estimate.interval === null ? "" : describeInterval(estimate.interval));
  return `<div class="tiles">` +
    one("Accuracy, all labels", accuracy) +
    one("Family accuracy", familyAccuracy) +
    one("Variant, given the family", variantAccuracy) +
    one("Outlier recall", outlierRecall) +
    one("Outlier precision", outlierPrecision) +
    tile("Images", String(images), "") +
    `</div><p>Small numbers are 95 % bootstrap intervals, drawn within each true label.</p>`;
}

function perLabel({ labels, counts }: ConfusionMatrix): string[][] {
  return labels.flatMap((label, i) => {
    const images = counts[i].reduce((a, b) => a + b, 0), verdicts = counts.reduce((total, row) => total + row[i], 0);
    if (images + verdicts === 0) return [];
    return [[
      label,
      String(images),
      percent(images === 0 ? null : counts[i][i] / images),
      percent(verdicts === 0 ? null : counts[i][i] / verdicts),
    ]];
  });
}

function separationTable({ signals }: Evaluation, family: string): string {
  const rows = signals.filter((result) => result.family === family)
    .flatMap(({ title, decides, separations }) =>
      separations.map(({ nonmembers, others, auc, tpr }) => ({
        cells: [
          title,
          nonmembers,
          String(others),
          auc.value === null ? dash : auc.value.toFixed(4),
          auc.interval === null ? dash : `${auc.interval.low.toFixed(4)} to ${auc.interval.high.toFixed(4)}`,
          describeEstimate(tpr),
        ],
        strong: decides && nonmembers === everythingElse,
      }))
    );
  if (rows.length === 0) return "";
  return `<h3>${familyNamed(family).title}</h3>` + htmlTable(
    ["signal", "against", "images", "AUC", "95 %", "TPR at 1 % FPR (95 %)"],
    rows.map(({ cells }) => cells),
    rows.flatMap(({ strong }, i) => strong ? [i] : []),
  );
}

function paragraphs(texts: readonly string[]): string {
  return texts.map((text) => `<p>${text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)}</p>`).join("\n");
}

function robustnessHead(points: readonly RobustnessPoint[]): string[] {
  return [
    ...["attack", "strength", "images", "family accuracy", "outlier recall", "outlier precision"],
    ...Object.keys(points[0].separation).map((name) => familyNamed(name).title)
      .flatMap((title) => [`${title} AUC`, `${title} TPR at 1 % FPR`]),
  ];
}

function robustnessRows(points: readonly RobustnessPoint[]): string[][] {
  return points.map(({ attack, strength, images, familyAccuracy, outlierRecall, outlierPrecision, separation }) => [
    attackTitles[attack].title,
    String(strength),
    String(images),
    ...[familyAccuracy, outlierRecall, outlierPrecision].map(percent),
    ...Object.values(separation).flatMap((rates) => [rates?.auc.toFixed(4) ?? dash, percent(rates?.tpr)]),
  ]);
}

/** A row of formatted cells per method. */
export function methodRows(methods: readonly MethodResult[]): string[][] {
  return methods.map((result) => [
    result.method,
    ...methodColumns(methods).map((column) => describeEstimate(column.of(result))),
    percent(result.halfOutliers),
    percent(result.doubleOutliers),
  ]);
}

function methodsCsv(methods: readonly MethodResult[]): string {
  return stringify([
    ["method", ...methodColumns(methods).flatMap(({ name }) => boundNames(name)), "halfOutliers", "doubleOutliers"],
    ...methods.map((result) => [
      result.method,
      ...methodColumns(methods).flatMap((column) => bounds(column.of(result))),
      result.halfOutliers ?? "",
      result.doubleOutliers ?? "",
    ]),
  ]);
}

function confusionCsv({ labels, counts }: ConfusionMatrix): string {
  return stringify([["label", ...labels], ...counts.map((row, i) => [labels[i], ...row])]);
}

const bounds = ({ value, interval }: Estimate) => [value ?? "", interval?.low ?? "", interval?.high ?? ""];
const boundNames = (name: string) => [name, `${name}_low`, `${name}_high`];

function signalsCsv({ signals }: Evaluation): string {
  return stringify([
    [
      "family",
      "signal",
      "decides",
      "nonmembers",
      "members",
      "others",
      ...boundNames("auc"),
      ...boundNames("tpr_at_1fpr"),
    ],
    ...signals.flatMap(({ family, signal, decides, separations }) =>
      separations.map(({ nonmembers, members, others, auc, tpr }) => [
        family,
        signal,
        Number(decides),
        nonmembers,
        members,
        others,
        ...bounds(auc),
        ...bounds(tpr),
      ])
    ),
  ]);
}

function thresholdsCsv({ strategies }: Evaluation): string {
  return stringify([
    [
      "strategy",
      "decides",
      ...boundNames("family_accuracy"),
      ...boundNames("outlier_recall"),
      ...boundNames("outlier_precision"),
    ],
    ...strategies.map(({ threshold, decides, familyAccuracy, outlierRecall, outlierPrecision }) => [
      threshold,
      Number(decides),
      ...bounds(familyAccuracy),
      ...bounds(outlierRecall),
      ...bounds(outlierPrecision),
    ]),
  ]);
}

function robustnessCsv(points: readonly RobustnessPoint[]): string {
  const rates = Object.keys(points[0].separation).flatMap((name) => [`${name}_auc`, `${name}_tpr_at_1fpr`]);
  return stringify([
    ["attack", "strength", "images", "family_accuracy", "outlier_recall", "outlier_precision", ...rates],
    ...points.map(({ attack, strength, images, familyAccuracy, outlierRecall, outlierPrecision, separation }) => [
      attack,
      strength,
      images,
      familyAccuracy ?? "",
      outlierRecall ?? "",
      outlierPrecision ?? "",
      ...Object.values(separation).flatMap((rates) => [rates?.auc ?? "", rates?.tpr ?? ""]),
    ]),
  ]);
}
