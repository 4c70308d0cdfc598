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
import { aucFigure, confusionFigure, rocFigure } from "./charts.ts";
import { robustnessLegend, robustnessPanels } from "./robustness_charts.ts";
import { scoreFigure } from "./score_chart.ts";
import { type Estimate, type Evaluation, everythingElse, type Judged } from "./evaluate.ts";
import { aboutFigure, type FigureName, figureNames, outlierAbout } from "./figures.ts";
import {
  boundNames,
  bounds,
  dash,
  describeEstimate,
  describeFigure,
  describeInterval,
  intervalBelow,
  percent,
} from "./format.ts";
import { limitsMarkdown } from "./limits.ts";
import type { ProcessingResult } from "./processing.ts";
import { type Stability, stabilityCsv } from "./stability.ts";
import {
  explain,
  processingCsv,
  processingSections,
  sourcesCsv,
  sourceSection,
  stabilitySection,
  zeroPixelSection,
} from "./verdict_report.ts";
import type { ZeroPixels } from "./zero_pixels.ts";
import { methodColumns, type MethodResult } from "./methods.ts";
import { reliabilityFigure, riskFigure } from "./verdict_charts.ts";
import { colourKey, figure, htmlTable, page, panelsOf, type Section, tile } from "./html.ts";
import { attackTitles, type RobustnessPoint } from "./robustness.ts";

/** What evaluation.json contains. */
export interface EvaluationReport {
  /** Everything that the numbers depend on, in the order in which it is shown. */
  readonly about: Readonly<Record<string, string>>;
  readonly evaluation: Evaluation;
  /** The figures of the images as they are stored, after each processing, and of all together. */
  readonly processings: readonly ProcessingResult[];
  /** The baseline that sees no pixel. */
  readonly zeroPixels: ZeroPixels;
  /** The sources that `ProcessingResult.ordinary` leaves out. */
  readonly strangers?: readonly string[];
  /** Whether verdicts hold after light changes; absent unless requested. */
  readonly stability?: Stability;
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
    "processing.csv": processingCsv(report.processings),
    "limits.md": limitsMarkdown(report.processings, report),
  };
  const bySource = sourcesCsv(report.processings);
  if (bySource !== null) files["sources.csv"] = bySource;
  if (report.stability !== undefined) files["stability.csv"] = stabilityCsv(report.stability);
  if (report.methods.length > 0) files["methods.csv"] = methodsCsv(report.methods);
  if (robustness.length > 0) files["robustness.csv"] = robustnessCsv(robustness);
  for (const [name, text] of Object.entries(files)) await writeFileAtomically(join(dir, name), text);
  return Object.keys(files).map((name) => join(dir, name));
}

async function evaluationPage(report: EvaluationReport, drawn: Drawn): Promise<string> {
  const { evaluation, processings, zeroPixels, stability, about, unreadable, notes } = report;
  const sections: (Section | null)[] = [
    { title: "Verdicts", html: tiles(evaluation) + paragraphs([outlierAbout]) },
    notes.length === 0 ? null : { title: "Notes", html: paragraphs(notes) },
    ...await processingSections(processings),
    sourceSection(processings),
    zeroPixelSection(zeroPixels, evaluation, processings),
    stability === undefined ? null : stabilitySection(stability),
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
  return page(evaluationTitle(about), sections.filter((section) => section !== null));
}

/** What was evaluated by what and when: `Evaluation of tiny by joint on Dataset/val, 450 images, 2026-01-31`. */
export function evaluationTitle(about: Readonly<Record<string, string>>): string {
  const models = about["model set"].replace(/ [0-9a-f]{64}$/, "");
  const method = /variants by (.*)$/.exec(about.decides)?.[1] ?? about.decides;
  const date = about.date === undefined ? "" : `, ${about.date.slice(0, 10)}`;
  return `Evaluation of ${models} by ${method} on ${about.images}${date}`;
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
    paragraphs([
      strategies.some(({ decides }) => decides)
        ? "Thresholds decide about the family; those in bold do."
        : "Thresholds on one signal do not decide here. They are shown for comparison.",
    ]),
    await figure(
      scoreFigure(drawn.judged, drawn.calibration, drawn.rules),
      "Scores of the signal that the thresholds are on, in 40 bins of equal width on the signal's scale, and the " +
        "thresholds of the three strategies. An image passes as the family if its score is below the threshold.",
    ),
    htmlTable(
      ["strategy", "family accuracy", "outlier recall", "outlier precision"],
      strategies.map(({ threshold, familyAccuracy, outlierRecall, outlierPrecision }) => [
        threshold,
        ...[familyAccuracy, outlierRecall, outlierPrecision].map((rate) => intervalBelow(describeEstimate(rate))),
      ]),
      strategies.flatMap(({ decides }, i) => decides ? [i] : []),
    ),
  );
}

async function methodSection(methods: readonly MethodResult[]): Promise<Section | null> {
  if (methods.length === 0) return null;
  const titles = methodColumns(methods).map(({ title }) => title);
  const groups = methods.map(({ method, curves }) => ({ title: method, curves }));
  return sectionOf(
    "Methods",
    htmlTable(["method", ...titles, "half the outliers", "twice the outliers"], methodRows(methods)),
    paragraphs([
      "All methods on the same images as they are stored, without the search for other poses. Variant, family given: " +
      "the share of a family's images whose variant the method finds when it is told the family. Half and twice the " +
      "outliers: accuracy if their share were half or twice as large. The other columns are explained above.",
    ]),
    await figure(
      riskFigure(groups),
      "Risk and coverage of every method: share of wrong labels among its most confident images. The axes end where " +
        "the curves do; numbers of images stand at the marks.",
    ),
    await figure(
      reliabilityFigure(groups),
      "Share of right labels by confidence, in ten bins of equal mass; the line is where both are equal. The axes begin " +
        "where there are verdicts.",
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
        "ROC curves. The axis of false positive rates is logarithmic; a rate of 0 is drawn at its left end. A curve " +
          "has a step per nonmember: what lies left of one step is one false alarm or none. A signal whose thresholds " +
          "decide is drawn thicker; the dotted line is a false positive rate of 1 %.",
      ),
    ],
    ...rules.labels.families.map((family) => separationTable(evaluation, family)),
    paragraphs([
      "With fewer than 100 nonmembers a false positive rate of 1 % allows no false alarm at all.",
    ]),
  );
}

async function robustnessSection(points: readonly RobustnessPoint[]): Promise<Section | null> {
  if (points.length === 0) return null;
  return sectionOf(
    "Robustness",
    paragraphs([
      "The verdicts on images that were processed first, with the attacks and strengths of the reference. Harsher to " +
      "the right.",
    ]),
    colourKey(robustnessLegend),
    await panelsOf(robustnessPanels(points)),
    htmlTable(robustnessHead, robustnessRows(points)),
    explain(robustnessFigures),
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
    `</div><p>Small numbers are 95 % intervals by picture (Clopper-Pearson).</p>`;
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
          // Drawn again and again, a single nonmember would give a narrow interval of nothing.
          auc.interval === null || others < 2
            ? dash
            : `${auc.interval.low.toFixed(4)} to ${auc.interval.high.toFixed(4)}`,
          describeEstimate(others < 2 ? { ...tpr, interval: null } : tpr),
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

/** The figures that tables of robustness show; robustness.csv has all. */
const robustnessFigures: readonly FigureName[] = [
  ...["accuracy", "familyAccuracy", "accused", "exonerated", "inconclusive"] as const,
  ...["auroc", "accuracyAt80", "calibrationError", "cllr"] as const,
];
const robustnessHead = [
  ...["attack", "strength", "images"],
  ...robustnessFigures.map((name) => aboutFigure(name).title),
];

function robustnessRows(points: readonly RobustnessPoint[]): string[][] {
  return points.map(({ attack, strength, images, figures }) => [
    ...[attackTitles[attack].title, String(strength), String(images)],
    ...robustnessFigures.map((name) => intervalBelow(describeFigure(name, figures))),
  ]);
}

/** A row of formatted cells per method. */
function methodRows(methods: readonly MethodResult[]): string[][] {
  return methods.map((result) => [
    result.method,
    ...methodColumns(methods).map((column) => intervalBelow(describeEstimate(column.of(result), column.unit))),
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
  return stringify([
    ["attack", "strength", "images", ...figureNames.flatMap(boundNames)],
    ...points.map(({ attack, strength, images, figures }) => [
      ...[attack, strength, images],
      ...figureNames.flatMap((name) => bounds(figures[name])),
    ]),
  ]);
}
