/**
 * Four statistics per row of logits. Membership features (features.ts) are computed from them, so that the logits of an
 * image never have to exist all at once.
 */
import {
  affine,
  concat,
  exp,
  logSoftmax,
  logSoftmaxGather,
  max,
  mul,
  oneHot,
  sameShape,
  scope,
  square,
  sub,
  sum,
  type Tensor,
} from "../../../core/tensor/mod.ts";

/**
 * Columns of `tokenStatistics`, in order. With p = softmax(logits) and l = log p:
 *
 * - `logProb`: l of the token, in nats
 * - `mean`: sum p l, the negative entropy of the row (`mu` in the reference)
 * - `variance`: sum p (l - mean)^2 (`sigma` in the reference, though it is no standard deviation)
 * - `hinge`: the token's logit minus the largest other logit
 */
export const statisticNames = ["logProb", "mean", "variance", "hinge"] as const;
type StatisticName = (typeof statisticNames)[number];

/** Statistics of one image, one element per token. */
export interface TokenStatistics {
  /** Log-probability of the token, in nats. */
  readonly logProbs: Float32Array;
  /** Mean log-probability over the codes, the negative entropy of the row. */
  readonly means: Float32Array;
  /** Variance of the log-probability over the codes. */
  readonly variances: Float32Array;
  /** The token's logit minus the largest other one. */
  readonly hinges: Float32Array;
}

/** Subtracted from a logit to exclude it from a maximum. It is finite, because 0 times it must be 0. */
const far = 1e30;

/**
 * logits[..., codes] (finite, f32) and tokens[...] (i32, below `codes`) -> [..., 4], columns as in `statisticNames`.
 * For the kind `cfg`, pass conditional minus unconditional logits. It needs four times the memory of the logits while
 * it runs. Throws on shapes that do not fit.
 *
 * The variance is summed around the mean. The reference's sum p l^2 - mean^2 is equal in exact arithmetic, but cancels
 * in float32 for flat rows and may become negative.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia.py (get_mu, get_sigma, get_hinge).
 */
export function tokenStatistics(logits: Tensor, tokens: Tensor): Tensor {
  const codes = logits.shape[logits.rank - 1];
  if (logits.rank < 1 || !sameShape(tokens.shape, logits.shape.slice(0, -1)) || tokens.dtype !== "i32") {
    throw new TypeError(
      `tokenStatistics: logits [${logits.shape}] expect i32 tokens [${logits.shape.slice(0, -1)}], ` +
        `got ${tokens.dtype} [${tokens.shape}]`,
    );
  }
  if (codes < 2) throw new TypeError(`tokenStatistics: logits expect at least 2 codes, got ${codes}`);
  return scope(() => {
    const rows = tokens.size;
    const columns = rowStatistics(logits.reshape(rows, codes), tokens.reshape(rows));
    const parts = statisticNames.map((name) => columns[name].reshape(rows, 1));
    return concat(parts, 1).reshape(...tokens.shape, statisticNames.length);
  });
}

/** The statistics of logits[rows, codes] and tokens[rows] by name, [rows] each. */
function rowStatistics(logits: Tensor, tokens: Tensor): Record<StatisticName, Tensor> {
  return scope(() => {
    const rows = tokens.size;
    const hinge = scope(() => {
      const isToken = oneHot(tokens, logits.shape[1]);
      const chosen = scope(() => sum(mul(logits, isToken), 1));
      return sub(chosen, scope(() => max(sub(logits, affine(isToken, far)), 1)));
    });
    const [mean, variance] = scope(() => {
      const logProbs = logSoftmax(logits), probs = exp(logProbs);
      const mean = scope(() => sum(mul(probs, logProbs), 1, true));
      const variance = scope(() => sum(mul(probs, scope(() => square(sub(logProbs, mean)))), 1));
      return [mean.reshape(rows), variance];
    });
    return { logProb: logSoftmaxGather(logits, tokens), mean, variance, hinge };
  });
}

/** Rows of logits of one variant with their tokens; a `RowBlock` has them. */
export interface LogitRows {
  /** [rows, codes], f32. */
  readonly conditional: Tensor;
  /** [rows, codes], f32. */
  readonly unconditional: Tensor;
  /** [rows], i32. */
  readonly tokens: Tensor;
}

/** The kinds of logits: `plain` are the conditional ones, `cfg` the conditional minus the unconditional ones. */
export const logitKinds: readonly ("plain" | "cfg")[] = ["plain", "cfg"];

/**
 * Statistics of both kinds for a block of rows, named `<kind>.<statistic>`, [rows] each. As a scorer's `rowStatistics`
 * it makes membership features available without a further pass; `statisticsOf` reads its columns.
 */
export function membershipRows({ conditional, unconditional, tokens }: LogitRows): Record<string, Tensor> {
  return scope(() => {
    const plain = rowStatistics(conditional, tokens);
    const cfg = scope(() => rowStatistics(sub(conditional, unconditional), tokens));
    const columns = (kind: string, of: Record<StatisticName, Tensor>) =>
      statisticNames.map((name) => [`${kind}.${name}`, of[name]] as const);
    return Object.fromEntries([...columns("plain", plain), ...columns("cfg", cfg)]);
  });
}

/** The statistics of one kind from the columns of `membershipRows`. Throws if a column is missing. */
export function statisticsOf(
  kind: "plain" | "cfg",
  columns: Readonly<Record<string, Float32Array>>,
): TokenStatistics {
  const column = (name: StatisticName) => {
    const values = columns[`${kind}.${name}`];
    if (values === undefined) throw new RangeError(`statisticsOf: expected a column ${kind}.${name}, got none`);
    return values;
  };
  return {
    logProbs: column("logProb"),
    means: column("mean"),
    variances: column("variance"),
    hinges: column("hinge"),
  };
}

/**
 * Splits the values of `tokenStatistics`, [batch, tokens, 4] row-major, into one array per statistic, for one image of
 * the batch. Throws if the length does not fit.
 */
export function unpackStatistics(values: Float32Array, tokenCount: number, image = 0): TokenStatistics {
  const width = statisticNames.length, start = image * tokenCount * width;
  if (values.length % (tokenCount * width) !== 0 || start + tokenCount * width > values.length) {
    throw new RangeError(
      `unpackStatistics: expected image ${image} of ${tokenCount} tokens x ${width}, got ${values.length} values`,
    );
  }
  const column = (c: number) => Float32Array.from({ length: tokenCount }, (_, t) => values[start + t * width + c]);
  return { logProbs: column(0), means: column(1), variances: column(2), hinges: column(3) };
}
