/**
 * Membership features from the losses of the tokens alone, as the reference defines them for models without access to
 * logits. features.ts has those from rows of logits.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia_loss.py.
 */
import { defaultKs, meanOf, shareBelowMean, shareBelowMeanSoFar, slopeOf, takenOf } from "./features.ts";
import { zlibLength } from "./zlib_length.ts";

/** Options of the features. The defaults are the reference's. */
export interface LossFeatureOptions {
  /** Shares of the tokens for max-k, above 0 and at most 1. Default 0.1, 0.2, ..., 0.5. */
  readonly ks?: readonly number[];
  /** `zlibLength(tokens)`, if it is known. */
  readonly zlibLength?: number;
}

/** Names of the features, in the reference's order. */
export function lossFeatureNames({ ks = defaultKs }: LossFeatureOptions = {}): string[] {
  return ["loss", "zlib_ratio", ...ks.map((k) => `max_k@${k}`), "above_mean", "above_prev_mean", "slope"];
}

/**
 * Features from the losses of an image's tokens (cross entropy in nats), in the order of `lossFeatureNames`. Throws on
 * lengths that do not fit, and on values that are not finite.
 *
 * - `loss`: mean; `zlib_ratio`: mean divided by `zlibLength`
 * - `max_k@k`: mean over the share k of the tokens with the largest loss
 * - `above_mean`: share above the mean; `above_prev_mean`: minus the share above the mean of all tokens up to them
 * - `slope`: minus the slope of the least-squares line by token index
 */
export function lossFeatures(
  losses: ArrayLike<number>,
  tokens: ArrayLike<number>,
  options: LossFeatureOptions = {},
): Float64Array {
  const { ks = defaultKs } = options;
  const n = tokens.length;
  if (losses.length !== n) throw new RangeError(`lossFeatures: expected ${n} losses, got ${losses.length}`);
  const negated = Float64Array.from(losses, (loss) => -loss);
  const wrong = negated.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new RangeError(`lossFeatures: the loss of token ${wrong} is ${losses[wrong]}`);
  const sorted = negated.slice().sort();
  const loss = meanOf(losses);
  return Float64Array.from([
    loss,
    loss / (options.zlibLength ?? zlibLength(tokens)),
    ...ks.map((k) => -meanOf(sorted.subarray(0, takenOf(k, n)))),
    shareBelowMean(negated),
    -shareBelowMeanSoFar(negated),
    slopeOf(negated),
  ]);
}
