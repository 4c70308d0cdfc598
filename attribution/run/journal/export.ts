/**
 * Exports a journal as lines for other programs: for every image of the last run its label and, if it could be read,
 * its evidence. Nothing is decided again.
 */
import type { Measured } from "../image_state.ts";
import { lastSession, resultsOf } from "./results.ts";
import type { Journal, JournalKey } from "./store.ts";

/** An image of a run. */
export interface ExportedLine {
  readonly image: string;
  readonly label: string;
  readonly confidence: number | null;
  readonly unsure: boolean | null;
  readonly sha256: string | null;
  readonly error?: unknown;
  readonly modelSet: string;
  readonly settings: unknown;
  /** Absent if the image could not be read. */
  readonly evidence?: Omit<Measured, "sha256" | "tokens">;
}

/**
 * Yields the lines of the last run in the order of its images. Throws without a run, and at a damaged row of it.
 * Damaged evidence is left out; `journal.damaged` then has its images.
 */
export function* exportLines(journal: Journal): Generator<ExportedLine, void, void> {
  const session = lastSession(journal);
  const { modelSet, settings } = JSON.parse(session.spec) as JournalKey;
  const evidence = journal.evidence({ modelSet, settings });
  // Before the first line: a row that is missing shows only at the end.
  for (const _ of resultsOf(session));
  for (const row of resultsOf(session)) {
    const sha256 = row.sha256 === null ? null : (row.sha256 as Uint8Array).toHex();
    const stored = sha256 === null ? undefined : evidence.find(sha256);
    const { sha256: _, tokens: __, ...numbers } = stored ?? { sha256, tokens: undefined };
    yield {
      image: row.name as string,
      label: row.label as string,
      confidence: row.confidence as number | null,
      unsure: row.unsure === null ? null : row.unsure === 1,
      sha256,
      ...row.error !== null && { error: JSON.parse(row.error as string) },
      modelSet,
      settings,
      ...stored !== undefined && { evidence: numbers as Omit<Measured, "sha256" | "tokens"> },
    };
  }
}
