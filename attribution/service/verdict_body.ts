/** A verdict as the API gives it: the finding and its words first, then numbers, evidence and maps. */
import { wordsOf } from "../evidence/words.ts";
import type { MappedVerdict } from "./mapped_tracer.ts";
import type { VerdictBody } from "./schemas.ts";

/** The answer about an image, without its place and name in the request. */
export function verdictBody(
  { evidence, scores, maps }: MappedVerdict,
  withMaps: boolean,
): Omit<VerdictBody, "index" | "name"> {
  const { finding, label, confidence, unsure, reasons, log10LikelihoodRatio, missRate, pose, ...measured } = evidence;
  const { title, explanation, labelMeaning, support, history, found } = wordsOf(evidence);
  const { scores: _, ...rest } = measured;
  return {
    verdict: {
      ...{ finding, title, explanation, label, labelMeaning, confidence, unsure, reasons },
      log10LikelihoodRatio: log10LikelihoodRatio ?? null,
      support,
      missRate: missRate ?? null,
      history,
      pose: pose ?? null,
      found,
      scores,
    },
    evidence: rest,
    ...withMaps && { maps: maps as Mutable<typeof maps> },
  };
}

/** The schemas' types have no readonly arrays. */
type Mutable<T> = T extends readonly (infer E)[] ? E[]
  : T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> }
  : T;
