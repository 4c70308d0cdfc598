/**
 * The report folder: evidence.jsonl with a line per image, with or without a verdict, and summary.json, for people and for
 * other programs. It is a view of a run; what a later run recalls is the journal's (journal/), which lies beside them.
 */
import { join } from "node:path";
import type { MeasurementLine } from "../evidence/evidence.ts";
import { createPart, partSuffix, writeFileAtomically, writeText } from "../../util/files.ts";
import { version } from "../../util/version.ts";

/** The journal of a run that has a report and no journal elsewhere. */
export function journalIn(dir: string): string {
  return join(dir, "journal.sqlite");
}

const evidenceName = "evidence.jsonl";

export class Report {
  readonly #dir: string;
  readonly #evidence: Deno.FsFile;
  #lines = 0;
  #closed = false;

  private constructor(dir: string, evidence: Deno.FsFile) {
    this.#dir = dir;
    this.#evidence = evidence;
  }

  /** Opens the folder, which is created if need be. What is in it stays until finish(). */
  static async open(dir: string): Promise<Report> {
    await makeReportFolder(dir);
    return new Report(dir, await createPart("--report", join(dir, evidenceName)));
  }

  /** Whether lines can be added: neither finish() nor discard() was called. */
  get isOpen(): boolean {
    return !this.#closed;
  }

  /** Adds a line. */
  async add(line: MeasurementLine): Promise<void> {
    await writeText(this.#evidence, JSON.stringify(line) + "\n");
    this.#lines++;
  }

  /** Gives the lines their name and writes summary.json. A run that came to no image replaces no evidence. */
  async finish(summary: { readonly status: "done" | "interrupted" | "failed" }): Promise<void> {
    const path = join(this.#dir, evidenceName);
    this.#close();
    if (this.#lines > 0 || summary.status === "done") await Deno.rename(path + partSuffix, path);
    else await Deno.remove(path + partSuffix);
    await writeFileAtomically(join(this.#dir, "summary.json"), JSON.stringify({ version, ...summary }, null, 2) + "\n");
  }

  /** Closes the file of a run that did not begin, and removes it. After finish(), nothing. */
  async discard(): Promise<void> {
    if (this.#closed) return;
    this.#close();
    await Deno.remove(join(this.#dir, evidenceName) + partSuffix);
  }

  #close(): void {
    this.#closed = true;
    this.#evidence.close();
  }
}

/** Throws, naming the option, when there can be no such folder. */
export async function makeReportFolder(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new Error(`--report ${dir}: cannot make this folder: ${(cause as Error).message}`, { cause });
  }
}
