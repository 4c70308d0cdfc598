/**
 * The parts of a report that say how good verdicts are: by processing and by source, the confidence, likelihood ratios,
 * the baseline that sees no pixel, stability. report.ts puts the page together.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { aboutFigure, type FigureName, figureNames, outlierAbout, sourceFigureNames } from "./figures.ts";
import { boundNames, bounds, describeEstimate, describeFigure, intervalBelow, percent } from "./format.ts";
import type { Headline } from "./headline.ts";
import { escapeHtml, figure, htmlTable, type Section } from "./html.ts";
import { type ProcessingResult, together } from "./processing.ts";
import type { Stability } from "./stability.ts";
import { reliabilityFigure, riskFigure, tippettFigure } from "./verdict_charts.ts";
import type { ZeroPixels } from "./zero_pixels.ts";
import { nameCell } from "../../util/names.ts";
import type { Evaluation } from "./evaluate.ts";

/** The tables of figures: their titles and columns. */
export const figureGroups: readonly { readonly title: string; readonly names: readonly FigureName[] }[] = [
  {
    title: "Findings",
    names: [
      ...["accuracy", "familyAccuracy", "outlierRecall", "accused", "surelyAccused", "outliersFamily"] as const,
      ...["exonerated", "surelyExonerated", "inconclusive"] as const,
    ],
  },
  {
    title: "Confidence",
    names: [
      ...["auroc", "accuracyAt80", "accuracyAt90", "aurc", "brier", "constantBrier"] as const,
      ...["calibrationError", "constantCalibrationError"] as const,
    ],
  },
  {
    title: "Likelihood ratios",
    names: ["cllr", "minCllr", "membersBelow1", "membersBelow01", "outliersAbove1", "outliersAbove10"],
  },
];

/** The rows of diagrams: the images as they are stored, and all processings together. */
function drawn(results: readonly ProcessingResult[]): readonly ProcessingResult[] {
  return results.filter(({ name }, i) => i === 0 || name === together);
}

/** What each figure says, as a list. */
export function explain(names: readonly FigureName[]): string {
  const items = names.map(aboutFigure).map(({ title, about }) =>
    `<li><b>${escapeHtml(title)}</b>: ${escapeHtml(about)}</li>`
  );
  return `<ul class="about"><li><b>outlier</b>: ${escapeHtml(outlierAbout)}</li>${items.join("")}</ul>`;
}

/** Tables of all figures by processing, with diagrams. Without likelihood ratios theirs are left out. */
export async function processingSections(results: readonly ProcessingResult[]): Promise<Section[]> {
  const diagrams: Record<string, string[]> = {
    Confidence: [
      await figure(
        riskFigure(drawn(results)),
        "Risk and coverage: share of wrong labels among the most confident images. A useful confidence keeps the " +
          "curve low until its end; that of a constant is flat. Numbers of images stand in brackets and at the marks; the " +
          "axis ends above the curves.",
      ),
      await figure(
        reliabilityFigure(drawn(results)),
        "Share of right labels by confidence, in ten bins of equal mass, with their numbers of images; the line is where " +
          "both are equal. The axes begin where there are verdicts.",
      ),
    ],
    "Likelihood ratios": [],
  };
  const curves = tippettFigure(drawn(results));
  if (curves !== null) {
    diagrams["Likelihood ratios"].push(
      await figure(
        curves,
        "Tippett curves: share of images whose likelihood ratio is at least as high. Generated images should lie right " +
          "of the dotted line, where the ratio is 1, outliers left of it. Solid: as stored; dashed: all processings.",
      ),
    );
  }
  const groups = figureGroups.filter(({ names }) =>
    results.some(({ all }) => names.some((name) => all.figures[name].value !== null))
  );
  return groups.map(({ title, names }) => ({
    title: results.length > 1 ? `${title} by processing` : title,
    html: [
      htmlTable(
        ["processing", "images", ...names.map((name) => aboutFigure(name).title)],
        results.map((row) => [row.title, String(row.all.images), ...cells(row.all, names)]),
        results.flatMap(({ name }, i) => name === together ? [i] : []),
      ),
      "<p>Below each figure: its 95 % interval by picture.</p>",
      explain(names),
      ...diagrams[title] ?? [],
    ].join("\n"),
  }));
}

/** A table of the figures that concern outliers, by processing and source; null without outliers. */
export function sourceSection(results: readonly ProcessingResult[]): Section | null {
  const rows = sourceRows(results);
  if (rows.length === 0) return null;
  return {
    title: "Sources of outliers",
    html: htmlTable(
      ["source", "processing", "outliers", ...sourceFigureNames.map((name) => aboutFigure(name).title)],
      rows.map(({ source, row, found }) => [
        ...[source, row.title, String(found.outliers)],
        ...cells(found, sourceFigureNames),
      ]),
      rows.flatMap(({ row }, i) => row.name === together ? [i] : []),
    ) + explain(sourceFigureNames),
  };
}

function sourceRows(results: readonly ProcessingResult[]) {
  const sources = [...new Set(results.flatMap((row) => Object.keys(row.sources)))];
  return sources.flatMap((source) =>
    results.flatMap((row) => source in row.sources ? [{ source, row, found: row.sources[source] }] : [])
  );
}

/** Figures with their intervals below them. */
function cells({ figures }: Headline, names: readonly FigureName[]): string[] {
  return names.map((name) => intervalBelow(describeFigure(name, figures)));
}

/** The rows of the baseline that sees no pixel, beside the method's. */
export function zeroPixelRows(
  zeroPixels: ZeroPixels,
  evaluation: Evaluation,
  processings: readonly ProcessingResult[],
) {
  const { counts, labels } = evaluation.familyConfusion;
  const out = labels.length - 1;
  const right = counts.reduce(
    (sum, row, i) => sum + row.reduce((own, count, j) => own + ((i === out) === (j === out) ? count : 0), 0),
    0,
  );
  const { accuracy, familyAccuracy } = processings[0].all.figures;
  return ([
    ["labels", zeroPixels.labels, describeEstimate(accuracy)],
    ["families", zeroPixels.families, describeEstimate(familyAccuracy)],
    ["outlier or generated", zeroPixels.outliers, percent(right / evaluation.images)],
  ] as const).map(([question, { accuracy, chance, isBetter }, own]) => [
    ...[question, own, describeEstimate(accuracy), percent(chance)],
    isBetter ? "better than chance" : "",
  ]);
}

/** The baseline that sees no pixel. */
export function zeroPixelSection(
  zeroPixels: ZeroPixels,
  evaluation: Evaluation,
  processings: readonly ProcessingResult[],
): Section {
  const all = zeroPixelRows(zeroPixels, evaluation, processings);
  const isBetter = all.some((row) => row.at(-1) !== "");
  const head = ["right about", "this tool", "zero pixels", "chance", ...isBetter ? [""] : []];
  const rows = all.map((row) => row.slice(0, head.length).map(intervalBelow));
  return {
    title: "Zero pixels",
    html: htmlTable(head, rows) +
      "<p>Zero pixels is a guess from file format, width, height and file length alone: the vote of the nine most " +
      "similar files of other pictures. Chance is the share of the most frequent answer. Where zero pixels is better " +
      "than chance, files of different labels were stored differently, or compress differently.</p>",
  };
}

/** How verdicts held under light changes. */
export function stabilitySection({ changes, unstable, unstableRight, stableRight, images }: Stability): Section {
  const moved = images.filter(({ changedBy }) => changedBy.length > 0);
  const listed = 50;
  return {
    title: "Stability",
    html: [
      htmlTable(["", ""], [
        ["unstable images", `${moved.length} of ${images.length}: ${describeEstimate(unstable)}`],
        ["labels right among them", describeEstimate(unstableRight)],
        ["labels right among the others", describeEstimate(stableRight)],
      ]),
      `<p>An image is unstable if its label or finding is another one after any of ${changes.length} changes that ` +
      `nobody sees: ${escapeHtml(changes.join(", "))}.</p>`,
      moved.length === 0 ? "" : htmlTable(
        ["image", "true label", "verdict", "finding", "confidence", "least after changes", "changed by"],
        moved.slice(0, listed).map((item) => [
          ...[item.image, item.label, item.verdict, item.finding, percent(item.confidence)],
          ...[percent(item.leastConfidence), item.changedBy.join(", ")],
        ]),
      ),
      moved.length > listed ? `<p>The first ${listed} of ${moved.length}; stability.csv has all.</p>` : "",
    ].join("\n"),
  };
}

const countNames = ["images", "pictures", "members", "outliers"] as const;

/** All figures by processing as CSV. */
export function processingCsv(results: readonly ProcessingResult[]): string {
  return stringify([
    ["processing", "title", "edits", ...countNames, ...figureNames.flatMap(boundNames)],
    ...results.map(({ name, title, edits, all }) => [
      ...[name, title, edits],
      ...countNames.map((count) => all[count]),
      ...figureNames.flatMap((figure) => bounds(all.figures[figure])),
    ]),
  ]);
}

/** The figures that concern outliers by processing and source, as CSV; null without outliers. */
export function sourcesCsv(results: readonly ProcessingResult[]): string | null {
  const rows = sourceRows(results);
  return rows.length === 0 ? null : stringify([
    ["source", "processing", "outliers", ...sourceFigureNames.flatMap(boundNames)],
    ...rows.map(({ source, row, found }) => [
      ...[nameCell(source), row.name, found.outliers],
      ...sourceFigureNames.flatMap((figure) => bounds(found.figures[figure])),
    ]),
  ]);
}
