/** The tables of docs/limits.md: what the tool finds after each processing, and in outliers of each source. */
import { aboutFigure, type FigureName, outlierAbout } from "./figures.ts";
import { describeFigure } from "./format.ts";
import type { ProcessingResult } from "./processing.ts";

const processingColumns: readonly FigureName[] = [
  ...[
    "membersRight",
    "accuracy",
    "familyAccuracy",
    "outlierRecall",
    "accused",
    "surelyAccused",
    "exonerated",
    "surelyExonerated",
  ] as const,
  ...["inconclusive", "auroc", "accuracyAt80", "calibrationError", "constantCalibrationError"] as const,
];
const sourceColumns: readonly FigureName[] = [
  "outlierRecall",
  "accused",
  "surelyNamed",
  "outliersFamily",
  "outliersInconclusive",
  "cllr",
];

/** The tables in Markdown, with what they depend on and what each column says. */
export function limitsMarkdown(
  results: readonly ProcessingResult[],
  about: Readonly<Record<string, string>>,
): string {
  const [{ all: { images, members, outliers, pictures } }] = results;
  const titles = (names: readonly FigureName[]) => names.map((name) => aboutFigure(name).title);
  const sources = [results[0], ...results.slice(1).slice(-1)].flatMap((row) =>
    Object.entries(row.sources).map(([source, found]) => [
      ...[source, row.title, String(found.outliers)],
      ...sourceColumns.map((name) => describeFigure(name, found.figures)),
    ])
  );
  const shown = [...new Set([...processingColumns, ...sourceColumns])];
  return [
    `${images} images of ${pictures} pictures: ${members} generated ones, ${outliers} outliers. Model set ` +
    `${about["model set"]}, calibration ${about.calibration}, fitted on ${
      about["fitted on"]
    }; decided by ${about.decides}. ` +
    "In brackets: 95 % intervals by picture.",
    "### After processing",
    markdownTable(
      ["processing", "images", ...titles(processingColumns)],
      results.map(({ title, all }) => [
        ...[title, String(all.images)],
        ...processingColumns.map((name) => describeFigure(name, all.figures)),
      ]),
    ),
    "### Sources of outliers",
    markdownTable(["source", "processing", "outliers", ...titles(sourceColumns)], sources),
    "### Columns",
    outlierAbout,
    shown.map((name) => `- ${aboutFigure(name).title}: ${aboutFigure(name).about}`).join("\n"),
  ].join("\n\n") + "\n";
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
