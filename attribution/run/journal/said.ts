/**
 * What a run said of an image, as the journal keeps it beside the label and apart from the measurements: the verdict, and
 * which program said it when.
 */
import type { Evidence, EvidenceLine, Unreadable } from "../../evidence/evidence.ts";

const names = [
  ...["finding", "confidence", "unsure", "family", "scores", "reasons", "log10LikelihoodRatio", "missRate"] as const,
  ...["pose", "notes", "version", "commit", "judged"] as const,
] satisfies readonly (keyof Evidence)[];

/** Of an image that could not be read, only `error` and what says how the line came about. Rows of old journals have less. */
export type Said = Partial<Pick<Evidence, (typeof names)[number]> & Pick<Unreadable, "error">>;

/** What a line says. */
export function saidOf(line: EvidenceLine): Said {
  const entries = Object.entries(line).filter(([name]) =>
    name === "error" || (names as readonly string[]).includes(name)
  );
  return Object.fromEntries(entries) as Said;
}
