/** The median: the middle value, or the mean of the two middle ones. NaN without values. */
export function median(values: Iterable<number>): number {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
