/**
 * Features of an image's tokens beyond the summaries, for methods that ask for them: membership features,
 * log-probabilities of single tokens, PRADA scores. likelihood/membership/ and likelihood/prada/ compute them;
 * methods.ts says which method needs which.
 */
import { createHash } from "node:crypto";
import { pradaExtras, readPrada } from "./classifiers/prada.ts";
import type { Classifiers } from "./classifiers/schema.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import { membershipRows, membershipTable, membershipTableNames } from "../likelihood/membership/mod.ts";

/** Membership features of both kinds, named `membership.<kind>.<name>`. */
export const membershipExtras: ExtraScores = {
  id: "membership/1",
  rowStatistics: membershipRows,
  summarise({ extra }, tokens) {
    const values = membershipTable(extra, tokens);
    return Object.fromEntries(membershipTableNames().map((name, i) => [`membership.${name}`, values[i]]));
  },
};

/**
 * Conditional and unconditional log-probability of every token in nats, `token.c<t>` and `token.u<t>`. PRADA is fitted
 * to them.
 */
export const tokenExtras: ExtraScores = {
  id: "tokens/1",
  summarise({ conditional, unconditional }) {
    return Object.fromEntries([
      ...Array.from(conditional, (value, t) => [`token.c${t}`, value]),
      ...Array.from(unconditional, (value, t) => [`token.u${t}`, value]),
    ]);
  },
};

/** The extras of these names as one; undefined without any. PRADA's score functions come from the classifiers. */
export function extrasFor(
  names: readonly ("membership" | "prada" | "tokens")[],
  classifiers?: Classifiers,
): ExtraScores | undefined {
  return joinExtras(names.map((name) => {
    if (name === "membership") return membershipExtras;
    if (name === "tokens") return tokenExtras;
    const stored = classifiers?.prada ?? {};
    return pradaExtras(readPrada(stored), createHash("sha256").update(JSON.stringify(stored)).digest("hex"));
  }));
}

/** Several extras as one; undefined for none. Throws when more than one of them has row statistics. */
export function joinExtras(parts: readonly ExtraScores[]): ExtraScores | undefined {
  if (parts.length <= 1) return parts[0];
  const rows = parts.filter(({ rowStatistics }) => rowStatistics !== undefined);
  if (rows.length > 1) throw new RangeError(`extras: expected row statistics of one at most, got ${rows.length}`);
  return {
    id: parts.map(({ id }) => id).join("+"),
    rowStatistics: rows[0]?.rowStatistics,
    summarise: (scores, tokens, variant) =>
      Object.assign({}, ...parts.map((part) => part.summarise(scores, tokens, variant))),
  };
}
