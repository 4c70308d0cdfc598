/**
 * The reference's membership features of per-token losses alone: for models, or summaries, without rows of logits.
 * The features of whole rows are in features.ts.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia_loss.py.
 */
import { defaultKs, meanOf, shareBelowMean, shareBelowMeanSoFar, slopeOf, takenOf } from "./features.ts";
import { zlibLength } from "./zlib_length.ts";

/** Options of the features; the defaults are the reference's. */
export interface LossFeatureOptions {
  /** Shares of the tokens, above 0 and at most 1 (default 0.1 to 0.5). */
  readonly ks?: readonly number[];
  /** `zlibLength(tokens)` where it is known. */
  readonly zlibLength?: number;
}

/** Names of the features, in the reference's order. */
export function lossFeatureNames({ ks = defaultKs }: LossFeatureOptions = {}): string[] {
  return ["loss", "zlib_ratio", ...ks.map((k) => `max_k@${k}`), "above_mean", "above_prev_mean", "slope"];
}

/**
 * Features of the losses of one image's tokens (cross entropy in nats), in the order of `lossFeatureNames`: their mean,
 * that per byte of `zlibLength`, the means of the k largest, the share above the mean, minus the share above the mean so
 * far, and minus the slope. Throws on lengths that do not fit and on values that are not finite.
 */
export function lossFeatures(
  losses: ArrayLike<number>,
  tokens: ArrayLike<number>,
  options: LossFeatureOptions = {},
): Float64Array {
  const { ks = defaultKs } = options;
  const n = tokens.length;
  if (losses.length !== n) throw new Error(`lossFeatures: expected ${n} losses, got ${losses.length}`);
  const negated = Float64Array.from(losses, (loss) => -loss);
  const wrong = negated.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new Error(`lossFeatures: the loss of token ${wrong} is ${losses[wrong]}`);
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
