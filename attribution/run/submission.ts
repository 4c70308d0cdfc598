/**
 * The submission: a CSV table `image_name,label` with one row per image, in the order in which rows are added. Rows go
 * to a temporary file, which gets the final name only when it is finished. Evidence is written by report.ts.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { PartFile } from "../../util/files.ts";
import { nameCell } from "../../util/names.ts";

/** Writes a submission. */
export class Submission {
  readonly #file: PartFile;
  #rows = 0;

  private constructor(file: PartFile) {
    this.#file = file;
  }

  /**
   * Starts the table in a temporary file beside `path`. Throws when the folder cannot be written to, or
   * another run is writing the table.
   */
  static async create(path: string): Promise<Submission> {
    const file = await PartFile.create("--out", path);
    await file.write(stringify([["image_name", "label"]]));
    return new Submission(file);
  }

  /** Appends a row. */
  async add(imageName: string, label: string): Promise<void> {
    await this.#file.write(stringify([[nameCell(imageName), label]]));
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
