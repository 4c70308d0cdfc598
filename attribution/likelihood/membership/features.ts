/**
 * Membership features of one image under one variant, as the reference defines, names and orders them. They are
 * computed from statistics per token (statistics.ts).
 *
 * Sources: sprintml/privacy_attacks_against_iars (arXiv 2502.02514), src/attacks/llm_mia.py and
 * conf/attack/llm_mia*.yaml.
 */
import { logitKinds, statisticsOf, type TokenStatistics } from "./statistics.ts";
import { zlibLength } from "./zlib_length.ts";

/**
 * `plain`: from the conditional logits. `cfg`: from conditional minus unconditional logits, without the `surp`
 * features.
 */
export type FeatureKind = "plain" | "cfg";

/** Options of the features. The defaults are the reference's. */
export interface FeatureOptions {
  /** Shares of the tokens for min-k, above 0 and at most 1. Default 0.1, 0.2, ..., 0.5. */
  readonly ks?: readonly number[];
  /** The `surp` features use rows whose entropy in nats is below these. Default 2, 4, 8, 16. */
  readonly maxEntropies?: readonly number[];
  /** `zlibLength(tokens)`, if it is known. It is the same for every variant of a family. */
  readonly zlibLength?: number;
}

/** The reference's shares of min-k. */
export const defaultKs: readonly number[] = [0.1, 0.2, 0.3, 0.4, 0.5];
/** The reference's bounds of the entropy, in nats. */
export const defaultMaxEntropies: readonly number[] = [2, 4, 8, 16];

/** A number as Python prints a float. Feature names contain such numbers. */
const text = (x: number) => Number.isInteger(x) ? x.toFixed(1) : String(x);

/** Names of the features, in the reference's order. With the default options 58 of kind `plain`, 18 of kind `cfg`. */
export function membershipFeatureNames(kind: FeatureKind, options: FeatureOptions = {}): string[] {
  const { ks = defaultKs, maxEntropies = defaultMaxEntropies } = options;
  const surp = (name: string) => ks.flatMap((k) => maxEntropies.map((e) => `${name}@${text(k)},${text(e)}`));
  return [
    "loss",
    "zlib_ratio",
    "hinge",
    ...ks.map((k) => `min_k%@${text(k)}`),
    ...(kind === "plain" ? [...surp("surp"), ...surp("surp_counter")] : []),
    ...ks.map((k) => `min_k%++@${text(k)}`),
    "below_mean_logproba",
    "below_mean_min_k_plus",
    "below_prev_mean_logproba",
    "below_prev_mean_min_k_plus",
    "slope",
  ];
}

/**
 * The features of an image in the order of `membershipFeatureNames`, in float64. Signs are the reference's: for most
 * features, lower means that the variant more likely generated the image or was trained on it. Throws on lengths that
 * do not fit, on values that are not finite, and if a share k takes no token.
 *
 * With l the log-probability of a token in nats:
 *
 * - `loss`: mean of -l
 * - `zlib_ratio`: loss divided by `zlibLength`
 * - `hinge`: minus the mean hinge
 * - `min_k%@k`: mean of -l over the share k of the tokens with the lowest l
 * - `min_k%++@k`: the same for z = (l - mean) / (variance + 1e-6)
 * - `surp@k,e`: minus the mean l over rows with entropy below e; `surp_counter@k,e`: minus the share of such rows. The
 *   reference also requires that l is below the largest -l. This holds unless all tokens are certain, so k has no
 *   effect.
 * - `below_mean_*`: share of tokens below the mean
 * - `below_prev_mean_*`: minus the share of tokens below the mean of all tokens up to them
 * - `slope`: slope of the least-squares line through l by token index
 */
export function membershipFeatures(
  kind: FeatureKind,
  statistics: TokenStatistics,
  tokens: ArrayLike<number>,
  options: FeatureOptions = {},
): Float64Array {
  const { ks = defaultKs, maxEntropies = defaultMaxEntropies } = options;
  const { logProbs, means, variances, hinges } = statistics;
  const n = tokens.length;
  for (const [name, values] of Object.entries(statistics)) {
    if (values.length !== n) {
      throw new RangeError(`membershipFeatures: ${name} expects ${n} values, got ${values.length}`);
    }
    const wrong = (values as Float32Array).findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new RangeError(`membershipFeatures: ${name} of token ${wrong} is ${values[wrong]}`);
  }
  const counts = ks.map((k) => takenOf(k, n));
  const scores = Float64Array.from(logProbs, (l, t) => (l - means[t]) / (variances[t] + 1e-6));
  const bytes = options.zlibLength ?? zlibLength(tokens);
  const loss = -meanOf(logProbs);
  const lowest = lowestMeans(logProbs), lowestScores = lowestMeans(scores);
  return Float64Array.from([
    loss,
    loss / bytes,
    -meanOf(hinges),
    ...counts.map((k) => -lowest(k)),
    ...(kind === "plain" ? surprises(logProbs, means, ks, maxEntropies) : []),
    ...counts.map((k) => -lowestScores(k)),
    shareBelowMean(logProbs),
    shareBelowMean(scores),
    -shareBelowMeanSoFar(logProbs),
    -shareBelowMeanSoFar(scores),
    slopeOf(logProbs),
  ]);
}

/** Names of `membershipTable`, `<kind>.<name>`: first kind `plain`, then `cfg`. */
export function membershipTableNames(options: FeatureOptions = {}): string[] {
  return logitKinds.flatMap((kind) => membershipFeatureNames(kind, options).map((name) => `${kind}.${name}`));
}

/** Features of both kinds in the order of `membershipTableNames`, from the columns of `membershipRows`. */
export function membershipTable(
  columns: Readonly<Record<string, Float32Array>>,
  tokens: ArrayLike<number>,
  options: FeatureOptions = {},
): Float64Array {
  const known = { ...options, zlibLength: options.zlibLength ?? zlibLength(tokens) };
  const parts = logitKinds.map((kind) => membershipFeatures(kind, statisticsOf(kind, columns), tokens, known));
  return Float64Array.from(parts.flatMap((part) => [...part]));
}

/** How many of n tokens a share k takes, rounded down as in the reference. Throws if it is none, or k is above 1. */
export function takenOf(k: number, n: number): number {
  const taken = Math.floor(k * n);
  if (!(k <= 1 && taken >= 1)) {
    throw new RangeError(
      `membership features: k expects a share of at most 1 that takes a token, got ${k} of ${n} tokens`,
    );
  }
  return taken;
}

/** Mean of values; NaN without any. */
export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Returns a function from k to the mean of the k lowest values. */
function lowestMeans(values: ArrayLike<number>): (k: number) => number {
  const sorted = Float64Array.from(values).sort();
  return (k) => meanOf(sorted.subarray(0, k));
}

/** The `surp` features, then the `surp_counter` features, each by k and entropy. */
function surprises(
  logProbs: Float32Array,
  means: Float32Array,
  ks: readonly number[],
  maxEntropies: readonly number[],
): number[] {
  const bound = logProbs.reduce((largest, l) => Math.max(largest, -l), -Infinity);
  const of = maxEntropies.map((entropy) => {
    let sum = 0, count = 0;
    for (let t = 0; t < logProbs.length; t++) {
      if (-means[t] < entropy && logProbs[t] < bound) {
        sum += logProbs[t];
        count++;
      }
    }
    return { mean: -(sum / Math.max(count, 1e-6)), share: -(count / logProbs.length) };
  });
  return [...ks.flatMap(() => of.map(({ mean }) => mean)), ...ks.flatMap(() => of.map(({ share }) => share))];
}

/** Share of the values below their mean, 0 to 1. */
export function shareBelowMean(values: ArrayLike<number>): number {
  const mean = meanOf(values);
  let below = 0;
  for (let i = 0; i < values.length; i++) if (values[i] < mean) below++;
  return below / values.length;
}

/** Share of the values that are below the mean of all values up to and including themselves, 0 to 1. */
export function shareBelowMeanSoFar(values: ArrayLike<number>): number {
  let sum = 0, below = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i];
    if (values[i] < sum / (i + 1)) below++;
  }
  return below / values.length;
}

/** Slope of the least-squares line through (0, values[0]), (1, values[1]), ... It is 0 for a single value. */
export function slopeOf(values: ArrayLike<number>): number {
  const n = values.length, middle = (n - 1) / 2, mean = meanOf(values);
  let above = 0, below = 0;
  for (let i = 0; i < n; i++) {
    above += (i - middle) * (values[i] - mean);
    below += (i - middle) ** 2;
  }
  return n > 1 ? above / below : 0;
}
