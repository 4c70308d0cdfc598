/** `--format`: verdicts on stdout as a table for people, as CSV, as one JSON document, or as JSON Lines. */
import { type EvidenceLine, isUnreadable } from "../../attribution/evidence/evidence.ts";
import { type SubmissionColumn, submissionHead, submissionRow } from "../../attribution/run/submission.ts";
import { printable } from "../../util/names.ts";
import { choice } from "../../util/options.ts";
import type { Progress } from "./progress.ts";
import { coloured, imageWidth, plain, verdictHead, verdictRow } from "./verdicts.ts";

/** What each format is. */
const formats = {
  table: "for people, in colours where the terminal has them",
  csv: "image_name,label and the columns of --columns, or what decides where there are none",
  json: "one document, a list with the evidence of every image",
  jsonl: "JSON Lines, one per image with its evidence",
} as const;

export type Format = keyof typeof formats;

/** The row of the option; `--json` is short for `--format jsonl`. */
export const format = {
  value: "NAME",
  type: choice(formats),
  help: "results on stdout",
  unset: "table; with --json jsonl",
} as const;

/** The format that was asked for. Throws where --json and --format disagree. */
export function formatOf({ format, json }: { readonly format?: Format; readonly json: boolean }): Format {
  if (json && format !== undefined && format !== "jsonl") {
    throw new Error(`--json: is --format jsonl, got --format ${format} too`);
  }
  return format ?? (json ? "jsonl" : "table");
}

/** Columns of CSV where none are named: what decides, and why. */
const usualColumns: readonly SubmissionColumn[] = ["finding", "confidence", "log10lr", "reasons"];

/** Prints results, one after the other. */
export interface Printer {
  add(line: EvidenceLine): void;
  /** Prints what ends the results. */
  end(): void;
}

/** A printer; `images` are the names of all images, `columns` those of --columns. */
export function openPrinter(
  format: Format,
  progress: Pick<Progress, "print" | "printStyled">,
  { images, columns }: { readonly images: readonly string[]; readonly columns?: readonly SubmissionColumn[] },
): Printer {
  if (format === "table") return tablePrinter(progress, images);
  if (format === "csv") return csvPrinter(progress, columns ?? usualColumns);
  const isDocument = format === "json";
  let count = 0;
  return {
    add(line) {
      const before = isDocument ? (count === 0 ? "[\n" : ",\n") : "";
      progress.print(before + JSON.stringify(line) + (isDocument ? "" : "\n"));
      count++;
    },
    end: () => isDocument && progress.print(count === 0 ? "[]\n" : "\n]\n"),
  };
}

function tablePrinter(progress: Pick<Progress, "printStyled">, images: readonly string[]): Printer {
  const paint = Deno.stdout.isTerminal() && !Deno.noColor ? coloured : plain;
  const layout = { paint, imageWidth: imageWidth(images) };
  let hasHead = false;
  return {
    add(line) {
      progress.printStyled((hasHead ? "" : verdictHead(layout)) + verdictRow(line, layout));
      hasHead = true;
    },
    end() {},
  };
}

function csvPrinter(progress: Pick<Progress, "print">, columns: readonly SubmissionColumn[]): Printer {
  let hasHead = false;
  return {
    add(line) {
      progress.print((hasHead ? "" : submissionHead(columns)) + submissionRow(line, columns));
      hasHead = true;
    },
    end: () => hasHead || progress.print(submissionHead(columns)),
  };
}

/**
 * What a note says of a file that could not be read. Undefined for other lines, and where the row of a table has just said
 * it on the same terminal.
 */
export function unreadableNote(line: EvidenceLine, format: Format): string | undefined {
  if (!isUnreadable(line) || (format === "table" && Deno.stdout.isTerminal())) return undefined;
  return `unreadable: ${printable(line.image)}: ${line.error.message}`;
}
