/**
 * Summaries: named numbers per image from the scores of its tokens, and the summaries of a mixture of classes from
 * those of the single classes. Methods choose which of them decide.
 */
import type { TokenScores } from "./token_scores.ts";

/** Numbers by name, in the order of `summaryNames`. */
export type Summaries = Readonly<Record<string, number>>;

const kinds = ["conditional", "unconditional", "guided"] as const;
type Kind = (typeof kinds)[number];

/** `lowest20` is the mean over this share of the tokens, the least likely ones. */
const lowestShare = 0.2;

/** Means over the tokens of a scale. In a mixture, classes are weighted by the likelihood of this kind. */
const scaleColumns: readonly { name: string; kind: Kind; value: (scores: TokenScores, t: number) => number }[] = [
  { name: "conditional", kind: "conditional", value: ({ conditional }, t) => conditional[t] },
  { name: "unconditional", kind: "unconditional", value: ({ unconditional }, t) => unconditional[t] },
  { name: "guided", kind: "guided", value: ({ guided }, t) => guided[t] },
  { name: "logRank", kind: "guided", value: ({ rank }, t) => Math.log(rank[t]) },
  { name: "support", kind: "guided", value: ({ supported }, t) => supported[t] },
];

/**
 * Names of the summaries, in order. `scales` is the number of scales, 0 for a family without scales.
 *
 * - `<kind>.sum`, `<kind>.mean`: log-probability of all tokens, and its mean per token, in nats
 * - `<kind>.lowest20`: mean log-probability of the fifth of the tokens that is least likely
 * - `<kind>.perplexity`: exp(-mean)
 * - `difference.mean`: conditional minus unconditional log-probability, per token
 * - `rank.mean`, `rank.logMean`: mean rank (from 1) under the guided distribution, and mean of its logarithm
 * - `support.rate`: share of the tokens that the sampler could have drawn, 0 to 1
 * - `scale<k>.<column>`: means over the tokens of scale k, from 1
 *
 * Kinds are `conditional`, `unconditional` and `guided`.
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

/** Of these, the mixture over samplers also has the values under the variant's own sampler alone, as `own.<name>`. */
const ofOwnSampler = /^(guided\.(mean|lowest20)|rank\.logMean|support\.rate|scale\d+\.guided)$/;

/** Names of the summaries of an image under the mixture of its classes and of the samplers, in order. */
export function mixedNames(scales = 0): string[] {
  const names = summaryNames(scales);
  return [...names, ...names.filter((name) => ofOwnSampler.test(name)).map((name) => `own.${name}`)];
}

/**
 * Summaries under the mixture of all samplers, with those under the variant's own alone. A stranger to the family looks
 * like one of its variants with other settings, so whether a known variant drew an image is judged by the latter.
 */
export function withOwnSampler(mixed: Summaries, own: Summaries): Summaries {
  const named = Object.entries(own).filter(([name]) => ofOwnSampler.test(name));
  return { ...mixed, ...Object.fromEntries(named.map(([name, value]) => [`own.${name}`, value])) };
}

/**
 * Summarises the scores of one image. `starts` has the first token of every scale, then the number of all tokens; it is
 * empty for a family without scales. Throws without tokens.
 */
export function summarise(scores: TokenScores, starts: readonly number[] = []): Summaries {
  const n = scores.conditional.length;
  if (n === 0) throw new RangeError("summarise: expected at least one token, got none");
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
 * Summaries of an image under a mixture of classes, from the summaries under each class. `weights` are above 0, of any
 * sum; `tokens` is the number of tokens. Throws unless there is a weight per class.
 *
 * An image has one class. So the mixture is over whole images, sum_c w_c p(x | c). A mixture per token would let every
 * token choose its best class, and overrate images that fit no class. Log-likelihoods of all tokens are the log-sum-exp
 * over the classes. Summaries of single tokens (lowest fifth, ranks, support, scales) are means over the classes,
 * weighted by the posterior w_c p(x | c) of the summary's kind.
 */
export function mixSummaries(
  byClass: readonly Summaries[],
  weights: readonly number[],
  tokens: number,
): Summaries {
  if (byClass.length === 0 || byClass.length !== weights.length) {
    throw new RangeError(
      `mixSummaries: expected a weight per class, got ${byClass.length} classes, ${weights.length} weights`,
    );
  }
  const total = weights.reduce((a, b) => a + b, 0);
  const posteriors = {} as Record<Kind, number[]>;
  const mixed: Record<string, number> = {};
  for (const kind of kinds) {
    const logs = byClass.map((summaries, c) => Math.log(weights[c] / total) + summaries[`${kind}.sum`]);
    const all = logSumExp(logs);
    posteriors[kind] = logs.map((value) => Math.exp(value - all));
    mixed[`${kind}.sum`] = all;
    mixed[`${kind}.mean`] = all / tokens;
    mixed[`${kind}.perplexity`] = perplexity(all / tokens);
  }
  mixed["difference.mean"] = mixed["conditional.mean"] - mixed["unconditional.mean"];
  const kindOf = (name: string): Kind => {
    const kind = kinds.find((kind) => name.startsWith(`${kind}.`));
    return kind ?? scaleColumns.find((column) => name.endsWith(`.${column.name}`))?.kind ?? "guided";
  };
  return Object.fromEntries(
    Object.keys(byClass[0]).map((name) => {
      const posterior = posteriors[kindOf(name)];
      return [name, mixed[name] ?? byClass.reduce((sum, summaries, c) => sum + posterior[c] * summaries[name], 0)];
    }),
  );
}

/** log sum_i exp(values[i]) in float64, without overflow. -Infinity without values. */
export function logSumExp(values: readonly number[]): number {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (most === -Infinity) return -Infinity;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** exp(-mean), clipped to be finite and, where rounding makes a log-probability positive, to be at least 1. */
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
