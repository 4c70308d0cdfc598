/** Verdicts as lines for people: a row per image under a head, and at the end how often each finding came and what it means. */
import {
  type Evidence,
  type EvidenceLine,
  type Finding,
  findings,
  isUnreadable,
} from "../../attribution/evidence/evidence.ts";
import {
  findingWords,
  outlierMeaning,
  sharePhrase,
  type VerdictWords,
  wordsOf,
} from "../../attribution/evidence/words.ts";
import { noLabel, outlierLabel, unreadableLabel } from "../../attribution/labels.ts";
import type { Summary } from "../../attribution/run/attribute.ts";
import { printable } from "../../util/names.ts";

/** A text in a style of the terminal; unchanged where there is no colour. */
export type Paint = (text: string, style: Style) => string;

/** Codes of ECMA-48. */
const styles = { strong: "1", weak: "2", red: "31", yellow: "33", cyan: "36" } as const;
export type Style = keyof typeof styles;

/** No colours. */
export const plain: Paint = (text) => text;

/** Colours for a terminal. */
export const coloured: Paint = (text, style) => `\x1b[${styles[style]}m${text}\x1b[0m`;

const findingStyles: Readonly<Record<Finding | typeof unreadableLabel, Style>> = {
  variant: "strong",
  family: "cyan",
  none: "weak",
  inconclusive: "yellow",
  unsuitable: "yellow",
  unreadable: "red",
};

/** Titles of the columns, and how wide they are at least. The first one may be told to be wider, the last one is open. */
const columns = ["image", "finding", "label", "confidence", "log10 LR", "what else is known"];
const widths = [12, 12, 8, 10, 8, 0];
const numeric = ["confidence", "log10 LR"];

/** Names of images are set in so many characters at most; longer ones move their row to the right. */
const widestImage = 48;

/** How a table of verdicts is set. */
export interface Layout {
  /** Characters of the column of images. Default 28. */
  readonly imageWidth?: number;
  /** Default: no colours. */
  readonly paint?: Paint;
}

/** The width of the column for these images. */
export function imageWidth(names: readonly string[]): number {
  const longest = names.reduce((most, name) => Math.max(most, printable(name).length), widths[0]);
  return Math.min(longest, widestImage);
}

function rowOf(cells: readonly string[], width = 28, paint: (cell: string, column: string) => string): string {
  const padded = cells.map((cell, i) => {
    const wide = i === 0 ? width : widths[i];
    return paint(numeric.includes(columns[i]) ? cell.padStart(wide) : cell.padEnd(wide), columns[i]);
  });
  return padded.join("  ").trimEnd() + "\n";
}

/** The line above all rows. */
export function verdictHead({ imageWidth, paint = plain }: Layout = {}): string {
  return rowOf(columns, imageWidth, (cell) => paint(cell, "weak"));
}

/**
 * A row: the image, what decides, then words with semicolons between them. The words say what the ratio supports, what
 * happened to the image, in which pose it was found, and how often traces are missed. Of a file that could not be read,
 * why.
 */
export function verdictRow(line: EvidenceLine, { imageWidth, paint = plain }: Layout = {}): string {
  const image = printable(line.image);
  const kind = isUnreadable(line) ? line.label : line.finding;
  const cells = isUnreadable(line) ? [image, kind, "-", "-", "-", printable(line.error.message)] : [
    ...[image, kind, line.label === noLabel ? "-" : line.label, line.confidence.toFixed(3)],
    ...wordCells(line),
  ];
  return rowOf(cells, imageWidth, (cell, column) => {
    if (column === "finding") return paint(cell, findingStyles[kind]);
    return column === "confidence" && "unsure" in line && line.unsure ? paint(cell, "yellow") : cell;
  });
}

/** The likelihood ratio, and what else is known. */
function wordCells(line: Evidence): [ratio: string, remarks: string] {
  const words = wordsOf(line);
  const ratio = words.support === null ? "-" : signed(line.log10LikelihoodRatio ?? 0);
  return [ratio, remarks(line, words).map(printable).join("; ")];
}

/** `+4.6`; a ratio that rounds to 0 has no sign. */
function signed(ratio: number): string {
  const digits = ratio.toFixed(1);
  return Number(digits) === 0 ? "0.0" : ratio > 0 ? `+${digits}` : digits;
}

function remarks(
  { finding, missRate, reasons, unsure }: Evidence,
  { support, history, found }: VerdictWords,
): string[] {
  const isMissed = missRate !== undefined && (finding === "none" || finding === "inconclusive");
  return [
    ...unsure ? ["unsure"] : [],
    ...finding === "unsuitable" ? reasons.map((reason) => reason.replace(/\.$/, "")) : [],
    ...support === null ? [] : [support],
    ...history,
    ...found.length === 0 ? [] : [`found ${found.join(", ")}`],
    ...isMissed ? [`${sharePhrase(missRate)} of generated images like this are missed`] : [],
  ];
}

/** What a run found: a line for every finding with its number of images and what it means, as a summary ends with. */
export function findingSummary({ findings: counts, labels }: Pick<Summary, "findings" | "labels">): string {
  const rows: [name: string, count: number, meaning: string][] = findings.flatMap((finding) => {
    const count = counts[finding];
    return count === undefined ? [] : [[finding, count, findingWords[finding].explanation]];
  });
  const unreadable = labels[unreadableLabel];
  if (unreadable !== undefined) rows.push([unreadableLabel, unreadable, "The file could not be read."]);
  const outliers = labels[outlierLabel];
  if (outliers !== undefined) rows.push([`label ${outlierLabel}`, outliers, capital(`${outlierMeaning}.`)]);
  const left = Math.max(0, ...rows.map(([name]) => name.length));
  const middle = Math.max(0, ...rows.map(([, count]) => String(count).length));
  return rows.map(([name, count, meaning]) => `  ${name.padEnd(left)}  ${String(count).padStart(middle)}  ${meaning}\n`)
    .join("");
}

function capital(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}
