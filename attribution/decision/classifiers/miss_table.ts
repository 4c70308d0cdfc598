/**
 * How often nothing is found in generated images, by what happened to them. calibration/judge.ts counts it on processed
 * copies of labelled images, by models that have not seen them.
 */
import type { ImageFacts } from "../../images/facts/facts.ts";
import { historyKinds } from "./history.ts";

/** Generated images of a kind, and in how many of them nothing was found. */
export interface Misses {
  readonly images: number;
  readonly missed: number;
}

/** By kind of processing. */
export type MissTable = Readonly<Record<string, Misses>>;

/** The rate for counts: (missed + 1) / (images + 2), the mean after a uniform prior. */
export function missRate({ images, missed }: Misses): number {
  return (missed + 1) / (images + 2);
}

/** The rate for an image: of the kinds that its facts show, the one that hides most. Undefined without a table. */
export function missRateOf(table: MissTable | undefined, facts: ImageFacts | undefined): number | undefined {
  if (table === undefined) return undefined;
  return Math.max(...historyKinds(facts).map((kind) => missRate(table[kind] ?? { images: 0, missed: 0 })));
}
