/**
 * From the scores of an image's tokens to a flat, ordered list of named numbers, and from those of several classes to those
 * of their mixture. It knows neither networks nor verdicts: which numbers decide is up to a method.
 */
import type { TokenScores } from "./token_scores.ts";

/** Numbers by name, in the order of `summaryNames`. */
export type Summaries = Readonly<Record<string, number>>;

const kinds = ["conditional", "unconditional", "guided"] as const;
type Kind = (typeof kinds)[number];

/** Share of the tokens, the least likely ones, that `lowest20` is the mean of. */
const lowestShare = 0.2;

/** Per scale: means over its tokens. The kind says by which likelihood the classes of a mixture are weighted. */
const scaleColumns: readonly { name: string; kind: Kind; value: (scores: TokenScores, t: number) => number }[] = [
  { name: "conditional", kind: "conditional", value: ({ conditional }, t) => conditional[t] },
  { name: "unconditional", kind: "unconditional", value: ({ unconditional }, t) => unconditional[t] },
  { name: "guided", kind: "guided", value: ({ guided }, t) => guided[t] },
  { name: "logRank", kind: "guided", value: ({ rank }, t) => Math.log(rank[t]) },
  { name: "support", kind: "guided", value: ({ supported }, t) => supported[t] },
];

/**
 * Names of the summaries, in order; `scales` is 0 for a family without scales (RAR).
 *
 * `<kind>.sum`, `<kind>.mean`: log-probability of all tokens, and per token, in nats; `<kind>.lowest20`: mean over the fifth
 * of the tokens with the lowest; `<kind>.perplexity`: exp(-mean). `difference.mean`: conditional minus unconditional, per
 * token. `rank.mean`, `rank.logMean`: of the ranks (from 1) and their logarithms under the guided distribution;
 * `support.rate`: share of the tokens that the sampler could have drawn, 0 to 1. `scale<k>.<column>`, k from 1: means.
 */
export function summaryNames(scales = 0): string[] {
  return [
    ...kinds.flatMap((kind) => ["sum", "mean", "lowest20", "perplexity"].map((what) => `${kind}.${what}`)),
    "difference.mean",
    "rank.mean",
    "rank.logMean",
    "support.rate",
    ...Array.from({ length: scales }, (_, k) => scaleColumns.map(({ name }) => `scale${k + 1}.${name}`)).flat(),
  ];
}

/** Summarises one image's tokens; `starts` are the first token of every scale and the number of all tokens at the end. */
export function summarise(scores: TokenScores, starts: readonly number[] = []): Summaries {
  const n = scores.conditional.length;
  if (n === 0) throw new Error("summarise: expected at least one token, got none");
  const named: Record<string, number> = {};
  for (const kind of kinds) {
    const values = scores[kind];
    const total = sum(values);
    named[`${kind}.sum`] = total;
    named[`${kind}.mean`] = total / n;
    named[`${kind}.lowest20`] = lowestMean(values);
    named[`${kind}.perplexity`] = perplexity(total / n);
  }
  named["difference.mean"] = named["conditional.mean"] - named["unconditional.mean"];
  named["rank.mean"] = sum(scores.rank) / n;
  named["rank.logMean"] = sum(Float64Array.from(scores.rank, Math.log)) / n;
  named["support.rate"] = sum(scores.supported) / n;
  for (let k = 0; k + 1 < starts.length; k++) {
    const [start, end] = [starts[k], starts[k + 1]];
    for (const { name, value } of scaleColumns) {
      let total = 0;
      for (let t = start; t < end; t++) total += value(scores, t);
      named[`scale${k + 1}.${name}`] = total / (end - start);
    }
  }
  return named;
}

/**
 * Summaries of an image whose class is one of several, with given weights (of any sum above 0).
 *
 * An image has one class: the mixture is one over whole images, sum_c w_c p(x | c), not over tokens, which would let every
 * token choose a class of its own and flatter images that fit none. So the log-likelihoods of all tokens are the
 * log-sum-exp over classes, and what belongs to single tokens (lowest fifth, ranks, support, scales) is the mean over the
 * classes by their posterior, w_c p(x | c), each kind by its own likelihood.
 */
export function mixSummaries(each: readonly Summaries[], weights: readonly number[], tokens: number): Summaries {
  if (each.length === 0 || each.length !== weights.length) {
    throw new Error(`mixSummaries: expected a weight per class, got ${each.length} classes, ${weights.length} weights`);
  }
  const total = weights.reduce((a, b) => a + b, 0);
  const posteriors = {} as Record<Kind, number[]>;
  const mixed: Record<string, number> = {};
  for (const kind of kinds) {
    const logs = each.map((summaries, c) => Math.log(weights[c] / total) + summaries[`${kind}.sum`]);
    const all = logSumExp(logs);
    posteriors[kind] = logs.map((value) => Math.exp(value - all));
    mixed[`${kind}.sum`] = all;
    mixed[`${kind}.mean`] = all / tokens;
    mixed[`${kind}.perplexity`] = perplexity(all / tokens);
  }
  mixed["difference.mean"] = mixed["conditional.mean"] - mixed["unconditional.mean"];
  const kindOf = (name: string): Kind => {
    const own = kinds.find((kind) => name.startsWith(`${kind}.`));
    return own ?? scaleColumns.find((column) => name.endsWith(`.${column.name}`))?.kind ?? "guided";
  };
  return Object.fromEntries(
    Object.keys(each[0]).map((name) => {
      const posterior = posteriors[kindOf(name)];
      return [name, mixed[name] ?? each.reduce((sum, summaries, c) => sum + posterior[c] * summaries[name], 0)];
    }),
  );
}

/** log sum exp, in float64. */
export function logSumExp(values: readonly number[]): number {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (most === -Infinity) return -Infinity;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** exp(-mean), at least 1 however a certain token was rounded, and finite. */
function perplexity(meanLogProb: number): number {
  return Math.min(Math.exp(-Math.min(0, meanLogProb)), Number.MAX_VALUE);
}

function lowestMean(values: Float32Array): number {
  const count = Math.ceil(lowestShare * values.length);
  return sum(values.slice().sort().subarray(0, count)) / count;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
