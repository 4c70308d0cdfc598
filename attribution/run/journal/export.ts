/**
 * Exports a journal as lines for other programs: for every image of the last run its label and, if it could be read,
 * its evidence. Nothing is decided again.
 */
import type { Measured } from "../image_state.ts";
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

/** Yields the lines of the last run in the order of its images. Throws without a run. */
export function* exportLines(journal: Journal): Generator<ExportedLine, void, void> {
  const last = journal.sql(
    "SELECT runs.id, runs.spec FROM sessions JOIN runs ON runs.id = sessions.run ORDER BY sessions.id DESC LIMIT 1",
  ).get();
  if (last === undefined) throw new Error(`${journal.path}: no run was journaled here`);
  const { modelSet, settings } = JSON.parse(last.spec as string) as JournalKey;
  const evidence = journal.evidence({ modelSet, settings });
  const rows = journal.sql("SELECT * FROM results WHERE run = ? ORDER BY position");
  for (const row of rows.iterate(last.id as number)) {
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
