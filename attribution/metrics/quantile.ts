/** Quantiles, mean and standard deviation of a list of numbers. */

/**
 * The q-quantile, interpolated linearly between the two nearest ranks (the default of numpy.quantile). Throws a
 * RangeError without numbers, and on a q outside 0 to 1.
 */
export function quantile(values: ArrayLike<number>, q: number): number {
  if (values.length === 0) throw new RangeError("quantile: expected at least one number, got none");
  if (!(q >= 0 && q <= 1)) throw new RangeError(`quantile: expected a q of 0 to 1, got ${q}`);
  const sorted = Float64Array.from(values).sort();
  const rank = q * (sorted.length - 1), low = Math.floor(rank);
  const above = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (above - sorted[low]) * (rank - low);
}

/** Mean and standard deviation (n - 1 in the denominator). Throws a RangeError on fewer than two numbers. */
export function meanAndDeviation(values: readonly number[]): { mean: number; deviation: number } {
  if (values.length < 2) throw new RangeError(`meanAndDeviation: expected at least two numbers, got ${values.length}`);
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
