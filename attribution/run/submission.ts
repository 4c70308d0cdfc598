/**
 * The submission: a CSV table `image_name,label` with one row per image, in the order in which rows are added. Rows go
 * to a temporary file, which gets the final name only when it is finished. Evidence is written by report.ts.
 */
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { createPart, partSuffix, removeIfThere, writeText } from "../../util/files.ts";
import { nameCell } from "../../util/names.ts";

/** Writes a submission. */
export class Submission {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #rows = 0;
  #open = true;

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
  }

  /** Starts the table in a temporary file beside `path`. Throws when the folder cannot be written to. */
  static async create(path: string): Promise<Submission> {
    const file = await createPart("--out", path);
    const submission = new Submission(path, file);
    await writeText(file, stringify([["image_name", "label"]]));
    return submission;
  }

  /** Appends a row. */
  async add(imageName: string, label: string): Promise<void> {
    await writeText(this.#file, stringify([[nameCell(imageName), label]]));
    this.#rows++;
  }

  /** Renames the table to its final name and returns the number of rows. Without rows, an existing table stays. */
  async finish(): Promise<number> {
    if (this.#rows === 0) {
      await this.discard();
      return 0;
    }
    this.#open = false;
    this.#file.close();
    await Deno.rename(this.#path + partSuffix, this.#path);
    return this.#rows;
  }

  /** Deletes the temporary file of a table that was not finished; after `finish`, does nothing. */
  async discard(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
    await removeIfThere(this.#path + partSuffix);
  }
}
