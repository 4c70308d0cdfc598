/**
 * Writes the report folder of a run: evidence.jsonl with a line per image, and summary.json. People and other programs
 * read it. Later runs do not: they read the journal (journal/).
 */
import { join } from "node:path";
import type { MeasurementLine } from "../evidence/evidence.ts";
import { PartFile, writeFileAtomically } from "../../util/files.ts";
import { commit, version } from "../../util/version.ts";

/** Default path of the journal of a run that writes a report into `dir`. */
export function journalIn(dir: string): string {
  return join(dir, "journal.sqlite");
}

const evidenceName = "evidence.jsonl";

/** Writes a report. */
export class Report {
  readonly #dir: string;
  readonly #evidence: PartFile;
  #lines = 0;

  private constructor(dir: string, evidence: PartFile) {
    this.#dir = dir;
    this.#evidence = evidence;
  }

  /**
   * Creates the folder if it does not exist, and a temporary file for the lines. Existing files stay until `finish`.
   */
  static async open(dir: string): Promise<Report> {
    await makeReportFolder(dir);
    return new Report(dir, await PartFile.create("--report", join(dir, evidenceName)));
  }

  /** Whether lines can be added: neither `finish` nor `discard` was called. */
  get isOpen(): boolean {
    return this.#evidence.isOpen;
  }

  /** Appends the line of an image. */
  async add(line: MeasurementLine): Promise<void> {
    await this.#evidence.write(JSON.stringify(line) + "\n");
    this.#lines++;
  }

  /**
   * Renames the lines to evidence.jsonl and writes summary.json. An interrupted run without lines keeps an old
   * evidence.
   */
  async finish(summary: { readonly status: "done" | "interrupted" | "failed" }): Promise<void> {
    if (this.#lines > 0 || summary.status === "done") await this.#evidence.finish();
    else await this.#evidence.discard();
    await writeFileAtomically(
      join(this.#dir, "summary.json"),
      JSON.stringify({ version, commit, ...summary }, null, 2) + "\n",
    );
  }

  /** Deletes the temporary file of a run that did not begin; after `finish`, does nothing. */
  async discard(): Promise<void> {
    await this.#evidence.discard();
  }
}

/** Creates a folder if it does not exist. Throws, naming `--report`, when that fails. */
export async function makeReportFolder(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new Error(`--report ${dir}: cannot make this folder: ${(cause as Error).message}`, { cause });
  }
}
