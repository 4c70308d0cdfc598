/**
 * Scores from the difference of conditional and unconditional log-probabilities: the mean difference, and ICAS, a fixed
 * nonlinear function of it. PRADA (../prada/) fits such a function.
 */

/** Parameters of ICAS. The defaults are the paper's. */
export interface IcasOptions {
  /** Added to the denominator. Default 1.75. */
  readonly a?: number;
  /** Factor in the exponent. Default 1.3. */
  readonly b?: number;
}

/**
 * d / (a + exp(b d)) per token, where d is the conditional minus the unconditional log-probability in nats. Larger
 * means that the variant more likely generated the image. Throws if the lengths differ, and without tokens.
 *
 * Sources: Yu et al. 2025 (ICAS), as in jonasricker/prada, src/prada/metrics.py.
 */
export function icas(
  conditional: ArrayLike<number>,
  unconditional: ArrayLike<number>,
  { a = 1.75, b = 1.3 }: IcasOptions = {},
): Float64Array {
  return differences("icas", conditional, unconditional).map((d) => d / (a + Math.exp(b * d)));
}

/** Mean of `icas` over the tokens of an image. */
export function meanIcas(
  conditional: ArrayLike<number>,
  unconditional: ArrayLike<number>,
  options: IcasOptions = {},
): number {
  const values = icas(conditional, unconditional, options);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean over the tokens of the conditional minus the unconditional log-probability, in nats. */
export function meanDifference(conditional: ArrayLike<number>, unconditional: ArrayLike<number>): number {
  const values = differences("meanDifference", conditional, unconditional);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function differences(op: string, conditional: ArrayLike<number>, unconditional: ArrayLike<number>): Float64Array {
  if (conditional.length !== unconditional.length || conditional.length === 0) {
    throw new RangeError(
      `${op}: expected as many unconditional as conditional values, at least one, got ${conditional.length} and ` +
        `${unconditional.length}`,
    );
  }
  return Float64Array.from(conditional, (value, t) => value - unconditional[t]);
}
