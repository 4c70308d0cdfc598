/**
 * The tables of docs/limits.md: what the tool finds after each processing, and in outliers of each source, beside rules
 * that look at nothing. limits_document.ts puts them into a document.
 */
import { aboutFigure, type FigureName, outlierAbout } from "./figures.ts";
import { describeEstimate, describeFigure, markdownTable, percent } from "./format.ts";
import type { Headline } from "./headline.ts";
import type { Compared, ProcessingResult } from "./processing.ts";
import type { ZeroPixels } from "./zero_pixels.ts";

const findingColumns: readonly FigureName[] = [
  ...["membersRight", "outlierRecall", "accused", "surelyAccused", "surelyNamed"] as const,
  ...["exonerated", "surelyExonerated", "inconclusive"] as const,
];
const confidenceColumns: readonly FigureName[] = [
  ...["auroc", "accuracyAt80", "calibrationError", "constantCalibrationError"] as const,
];
const sourceColumns: readonly FigureName[] = [
  ...["outlierRecall", "accused", "surelyNamed", "outliersFamily", "outliersInconclusive", "cllr"] as const,
];

/** What the tables depend on beside the results. */
export interface LimitsOptions {
  /** `aboutEvaluation`. */
  readonly about: Readonly<Record<string, string>>;
  /** The sources that `ProcessingResult.ordinary` leaves out. */
  readonly strangers?: readonly string[];
}

/** The tables in Markdown, with what they depend on and what each column says. */
export function limitsMarkdown(
  results: readonly ProcessingResult[],
  { about, strangers = [] }: LimitsOptions,
): string {
  const [{ all: { images, members, outliers, pictures } }] = results;
  const every = results.map(({ title, ...row }) => ({ title, found: row as Compared }));
  const ordinary = results.flatMap(({ title, ordinary }) => ordinary === undefined ? [] : [{ title, found: ordinary }]);
  return [
    `${images} images of ${pictures} pictures: ${members} generated ones, ${outliers} outliers. Model set ` +
    `${about["model set"]}, calibration ${about.calibration}, fitted on ${
      about["fitted on"]
    }; decided by ${about.decides}. ` +
    "In brackets: 95 % intervals by picture.",
    ...ordinary.length === 0 ? [] : [
      "### Generated images, and outliers that went through no tokenizer of the set",
      `Without the outliers of ${strangers.join(", ")}: ${ordinary[0].found.all.images} images, ` +
      `${ordinary[0].found.all.outliers} of them outliers.`,
      ...processingTables(ordinary),
    ],
    "### All images",
    ...processingTables(every),
    "### Sources of outliers",
    sourceTable(results),
    ...results.length < 2 ? [] : [
      "The same after each processing. In every cell: share with a model's label; share with the finding that the " +
      "model made it; share with a model's label at a confidence of 0.9 or more.",
      namedBySource(results),
    ],
    "### Columns",
    outlierAbout,
    columnsMeaning,
  ].join("\n\n") + "\n";
}

interface Row {
  readonly title: string;
  readonly found: Compared;
}

/** Labels beside rules that look at nothing, then findings, then confidences. */
function processingTables(rows: readonly Row[]): string[] {
  const titles = (names: readonly FigureName[]) => names.map((name) => aboutFigure(name).title);
  const table = (names: readonly FigureName[]) =>
    markdownTable(
      ["processing", ...titles(names)],
      rows.map(({ title, found }) => [title, ...names.map((name) => describeFigure(name, found.all.figures))]),
    );
  return [
    markdownTable(
      ["processing", "images", "labels right", ...ruleTitles, "families right", ...ruleTitles],
      rows.map(({ title, found: { all, zeroPixels } }) => [
        ...[title, String(all.images)],
        ...[describeFigure("accuracy", all.figures), ...ruleCells("labels", zeroPixels)],
        ...[describeFigure("familyAccuracy", all.figures), ...ruleCells("families", zeroPixels)],
      ]),
    ),
    table(findingColumns),
    table(confidenceColumns),
  ];
}

const ruleTitles = ["most frequent answer", "zero pixels"];

/** How often rules that see no pixel are right about the same images. */
function ruleCells(question: keyof ZeroPixels, zeroPixels: ZeroPixels | undefined): string[] {
  if (zeroPixels === undefined) return ["", ""];
  const { chance, accuracy } = zeroPixels[question];
  return [percent(chance), describeEstimate(accuracy)];
}

/** All figures of each source, as stored and over all processings. */
function sourceTable(results: readonly ProcessingResult[]): string {
  const rows = [results[0], ...results.slice(1).slice(-1)].flatMap((row) =>
    Object.entries(row.sources).map(([source, found]) => [
      ...[source, row.title, String(found.outliers)],
      ...sourceColumns.map((name) => describeFigure(name, found.figures)),
    ])
  );
  const titles = sourceColumns.map((name) => aboutFigure(name).title);
  return markdownTable(["source", "processing", "outliers", ...titles], rows);
}

/** How often a model is named for outliers, a column per source. */
function namedBySource(results: readonly ProcessingResult[]): string {
  const sources = Object.keys(results[0].sources);
  const cell = (found: Headline | undefined) => {
    if (found === undefined) return "";
    const { outlierRecall: { value }, accused, surelyNamed } = found.figures;
    return [value === null ? null : 1 - value, accused.value, surelyNamed.value].map(percent).join("; ");
  };
  return markdownTable(
    ["processing", ...sources],
    results.map((row) => [row.title, ...sources.map((source) => cell(row.sources[source]))]),
  );
}

const columnsMeaning = [
  ...[...new Set<FigureName>(["accuracy", "familyAccuracy", ...findingColumns, ...confidenceColumns, ...sourceColumns])]
    .map((name) => `- ${aboutFigure(name).title}: ${aboutFigure(name).about}`),
  "- most frequent answer: Share of right answers of a rule that always gives the most frequent one.",
  "- zero pixels: Share of right answers of a rule that sees format, width, height and length of the files alone, and " +
  "takes the vote of the nine most similar ones of other pictures. After processing that writes no file, files are PNG.",
].join("\n");
