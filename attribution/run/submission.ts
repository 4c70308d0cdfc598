/**
 * The submission: a CSV table `image_name,label` with one row per image, in the order in which rows are added. A user
 * may ask for further columns. Rows go to a temporary file, which gets the final name only when it is finished.
 * Evidence is written by report.ts.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { PartFile } from "../../util/files.ts";
import { nameCell } from "../../util/names.ts";
import type { Evidence, Unreadable } from "../evidence/evidence.ts";

type Cell = string | number | undefined;

/** What a row of a table needs of an image's line. Rows of merged journals may lack some of it. */
export type SubmissionRow =
  & { readonly image: string; readonly label: string }
  & Partial<
    Pick<Evidence, "finding" | "confidence" | "family" | "reasons" | "log10LikelihoodRatio" | "sha256" | "notes">
  >
  & Partial<Pick<Unreadable, "error">>
  & Pick<Unreadable, "version" | "commit" | "judged">;

/** The columns that a user may ask for: what each holds of a line. A cell is empty where a line has nothing for it. */
const cells = {
  finding: ({ finding }) => finding,
  confidence: ({ confidence }) => confidence,
  family: ({ family }) => family ?? undefined,
  reasons: ({ reasons, error }) => error === undefined ? reasons?.join(" ") : error.message,
  log10lr: ({ log10LikelihoodRatio }) => log10LikelihoodRatio,
  sha256: ({ sha256 }) => sha256,
  notes: ({ notes }) => notes?.join("; "),
  version: ({ version }) => version,
  commit: ({ commit }) => commit,
  judged: ({ judged }) => judged,
} as const satisfies Record<string, (line: SubmissionRow) => Cell>;

/** A column that a submission may have beside `image_name` and `label`. */
export type SubmissionColumn = keyof typeof cells;

/** All of them. */
export const submissionColumns = Object.keys(cells) as readonly SubmissionColumn[];

/** The first line of a table with these further columns. */
export function submissionHead(columns: readonly SubmissionColumn[]): string {
  return stringify([["image_name", "label", ...columns]]);
}

/** A row of such a table. Texts that a spreadsheet would run are made safe. */
export function submissionRow(line: SubmissionRow, columns: readonly SubmissionColumn[]): string {
  return rowOf(line.image, line.label, columns.map((column) => cells[column](line)));
}

function rowOf(imageName: string, label: string, more: readonly Cell[]): string {
  return stringify([[imageName, label, ...more].map((cell) => typeof cell === "string" ? nameCell(cell) : cell ?? "")]);
}

/** Writes a submission. */
export class Submission {
  readonly #file: PartFile;
  readonly #columns: readonly SubmissionColumn[];
  #rows = 0;

  private constructor(file: PartFile, columns: readonly SubmissionColumn[]) {
    this.#file = file;
    this.#columns = columns;
  }

  /**
   * Starts the table, with further `columns` in their order, in a temporary file beside `path`. Throws when the folder
   * cannot be written to, or another run is writing the table.
   */
  static async create(path: string, columns: readonly SubmissionColumn[] = []): Promise<Submission> {
    const file = await PartFile.create("--out", path);
    await file.write(submissionHead(columns));
    return new Submission(file, columns);
  }

  /** Appends the row of an image. */
  async add(line: SubmissionRow): Promise<void> {
    await this.addRow(line.image, line.label, this.#columns.map((column) => cells[column](line)));
  }

  /** Appends a row with these cells of the further columns. Texts that a spreadsheet would run are made safe. */
  async addRow(imageName: string, label: string, more: readonly Cell[] = []): Promise<void> {
    await this.#file.write(rowOf(imageName, label, more));
    this.#rows++;
  }

  /** Renames the table to its final name and returns the number of rows. Without rows, an existing table stays. */
  async finish(): Promise<number> {
    await (this.#rows === 0 ? this.#file.discard() : this.#file.finish());
    return this.#rows;
  }

  /** Deletes the temporary file of a table that was not finished; after `finish`, does nothing. */
  async discard(): Promise<void> {
    await this.#file.discard();
  }
}
