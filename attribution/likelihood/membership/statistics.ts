/**
 * What membership features need to know of one token: four numbers per row of logits, so that the logits of an image need
 * never be kept whole. Which features follow from them is in features.ts; nothing here knows what a variant is.
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
 * - `logProb`: l of the token, in nats;
 * - `mean`: sum p l, the negative entropy of the row (the reference's `mu`);
 * - `variance`: sum p (l - mean)^2 (the reference's `sigma`, which is no standard deviation);
 * - `hinge`: the token's logit minus the largest other logit.
 */
export const statisticNames = ["logProb", "mean", "variance", "hinge"] as const;
type StatisticName = (typeof statisticNames)[number];

/** Statistics of one image's tokens, one element per token. */
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

/** Further down than any logit, yet finite: 0 times it is 0. */
const far = 1e30;

/**
 * Statistics of a block of rows: logits[..., codes] (finite, f32) and tokens[...] (i32, below `codes`) -> [..., 4],
 * columns as in `statisticNames`. A block may be any part of a batch; besides the result it takes four times its own
 * memory while it runs. For the features of conditional minus unconditional logits pass their difference.
 *
 * The variance is summed around the mean: the reference's sum p l^2 - mean^2 is the same number, but cancels in float32
 * where a row is flat, and may come out negative.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia.py (get_mu, get_sigma, get_hinge).
 */
export function tokenStatistics(logits: Tensor, tokens: Tensor): Tensor {
  const codes = logits.shape[logits.rank - 1];
  if (logits.rank < 1 || !sameShape(tokens.shape, logits.shape.slice(0, -1)) || tokens.dtype !== "i32") {
    throw new Error(
      `tokenStatistics: logits [${logits.shape}] expect i32 tokens [${logits.shape.slice(0, -1)}], ` +
        `got ${tokens.dtype} [${tokens.shape}]`,
    );
  }
  if (codes < 2) throw new Error(`tokenStatistics: logits expect at least 2 codes, got ${codes}`);
  return scope(() => {
    const rows = tokens.size;
    const columns = rowStatistics(logits.reshape(rows, codes), tokens.reshape(rows));
    const parts = statisticNames.map((name) => columns[name].reshape(rows, 1));
    return concat(parts, 1).reshape(...tokens.shape, statisticNames.length);
  });
}

/** The same for logits[rows, codes] and tokens[rows], every statistic by itself, [rows]. */
function rowStatistics(logits: Tensor, tokens: Tensor): Record<StatisticName, Tensor> {
  return scope(() => {
    const rows = tokens.size;
    const hinge = scope(() => {
      const own = oneHot(tokens, logits.shape[1]);
      const chosen = scope(() => sum(mul(logits, own), 1));
      return sub(chosen, scope(() => max(sub(logits, affine(own, far)), 1)));
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

/** Rows of logits of one variant, as a scorer has them: conditional and unconditional [rows, codes], tokens[rows] (i32). */
export interface LogitRows {
  /** [rows, codes], f32. */
  readonly conditional: Tensor;
  /** [rows, codes], f32. */
  readonly unconditional: Tensor;
  /** [rows], i32. */
  readonly tokens: Tensor;
}

/** Of which logits statistics are: `plain` of the conditional, `cfg` of the conditional minus the unconditional ones. */
export const logitKinds: readonly ("plain" | "cfg")[] = ["plain", "cfg"];

/**
 * Statistics of both kinds of logits for a block of rows, as `<kind>.<statistic>`, [rows] each: what a scorer's
 * `rowStatistics` may be, so that membership features need no pass of their own. `statisticsOf` takes them up again.
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

/** One image's statistics out of the columns that `membershipRows` gave. Throws naming a column that is missing. */
export function statisticsOf(
  kind: "plain" | "cfg",
  columns: Readonly<Record<string, Float32Array>>,
): TokenStatistics {
  const column = (name: StatisticName) => {
    const values = columns[`${kind}.${name}`];
    if (values === undefined) throw new Error(`statisticsOf: expected a column ${kind}.${name}, got none`);
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
 * Splits values of `tokenStatistics`, [tokens, 4] row-major, into one array per statistic. `image` takes one image out of
 * a batch [batch, tokens, 4]. Throws where the length does not fit.
 */
export function unpackStatistics(values: Float32Array, tokenCount: number, image = 0): TokenStatistics {
  const width = statisticNames.length, start = image * tokenCount * width;
  if (values.length % (tokenCount * width) !== 0 || start + tokenCount * width > values.length) {
    throw new Error(
      `unpackStatistics: expected image ${image} of ${tokenCount} tokens x ${width}, got ${values.length} values`,
    );
  }
  const column = (c: number) => Float32Array.from({ length: tokenCount }, (_, t) => values[start + t * width + c]);
  return { logProbs: column(0), means: column(1), variances: column(2), hinges: column(3) };
}
