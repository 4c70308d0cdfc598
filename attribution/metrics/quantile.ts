/**
 * Order statistics and moments of a list of numbers.
 * Definitions are numpy's defaults, but for the standard deviation's denominator.
 */

/**
 * The q-quantile (0 to 1), linear between the two nearest ranks: numpy.quantile's default. Throws without numbers, and on a
 * q out of range.
 */
export function quantile(values: ArrayLike<number>, q: number): number {
  if (values.length === 0) throw new RangeError("quantile: expected at least one number, got none");
  if (!(q >= 0 && q <= 1)) throw new RangeError(`quantile: expected a q of 0 to 1, got ${q}`);
  const sorted = Float64Array.from(values).sort();
  const place = q * (sorted.length - 1), low = Math.floor(place);
  const above = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (above - sorted[low]) * (place - low);
}

/** Mean and standard deviation with n - 1 in the denominator. Throws with fewer than two numbers. */
export function meanAndDeviation(values: readonly number[]): { mean: number; deviation: number } {
  if (values.length < 2) throw new RangeError(`meanAndDeviation: expected at least two numbers, got ${values.length}`);
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
