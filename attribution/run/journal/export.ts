/**
 * Exports a journal as lines for other programs: for every image of the last run its label and, if it could be read,
 * its evidence. Nothing is decided again.
 */
import type { Measured } from "../image_state.ts";
import { lastSession, resultsOf } from "./results.ts";
import type { Said } from "./said.ts";
import type { Journal, JournalKey, RunSpec } from "./store.ts";

/** An image of a run: what was said of it, by which program and when, and under which weights, settings and calibration. */
export interface ExportedLine extends Said {
  readonly image: string;
  readonly label: string;
  readonly sha256: string | null;
  readonly modelSet: string;
  readonly method: unknown;
  /** sha256 of the calibration file, null where the set has none. */
  readonly calibration: unknown;
  readonly settings: unknown;
  /** Absent if the image could not be read. */
  readonly evidence?: Omit<Measured, "sha256" | "tokens">;
}

/** The last measuring version of which runs do not say that it was theirs. */
const lastUnnamed = 6;

/**
 * Yields the lines of the last run in the order of its images. Throws without a run, and at a damaged row of it.
 * Damaged evidence is left out; `journal.damaged` then has its images.
 */
export function* exportLines(journal: Journal): Generator<ExportedLine, void, void> {
  const session = lastSession(journal);
  const { modelSet, settings, method, calibration, measuring = lastUnnamed } = JSON.parse(session.spec) as
    & JournalKey
    & RunSpec;
  const evidence = journal.evidence({ modelSet, settings }, measuring as number);
  // Before the first line: a row that is missing shows only at the end.
  for (const _ of resultsOf(session));
  for (const row of resultsOf(session)) {
    const sha256 = row.sha256 === null ? null : (row.sha256 as Uint8Array).toHex();
    const stored = sha256 === null ? undefined : evidence.find(sha256);
    const { sha256: _, tokens: __, ...numbers } = stored ?? { sha256, tokens: undefined };
    yield {
      image: row.name as string,
      label: row.label as string,
      sha256,
      ...JSON.parse(row.verdict as string) as Said,
      ...{ modelSet, method, calibration, settings },
      ...stored !== undefined && { evidence: numbers as Omit<Measured, "sha256" | "tokens"> },
    };
  }
}
