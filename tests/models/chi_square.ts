/** Pearson's test of observed counts against expected ones, for tests of random draws. */

/**
 * The statistic, its degrees of freedom, and the value that it exceeds with probability 1e-4 when the expected counts are
 * right (Wilson and Hilferty's cube-root approximation, good to a percent from 3 degrees on). Cells of which fewer than 5
 * are expected are joined, as the test demands. Impossible cells must not have been observed: throws.
 */
export function chiSquare(observed: ArrayLike<number>, expected: ArrayLike<number>) {
  let statistic = 0, cells = 0;
  let rareObserved = 0, rareExpected = 0;
  const add = (o: number, e: number) => {
    statistic += (o - e) ** 2 / e;
    cells++;
  };
  for (let i = 0; i < observed.length; i++) {
    if (expected[i] === 0 && observed[i] > 0) throw new Error(`cell ${i}: drawn ${observed[i]} times, but impossible`);
    if (expected[i] >= 5) add(observed[i], expected[i]);
    else {
      rareObserved += observed[i];
      rareExpected += expected[i];
    }
  }
  if (rareExpected >= 5) add(rareObserved, rareExpected);
  const degrees = cells - 1;
  const z = 3.719; // the standard normal distribution exceeds it with probability 1e-4
  const bound = degrees * (1 - 2 / (9 * degrees) + z * Math.sqrt(2 / (9 * degrees))) ** 3;
  return { statistic, degrees, bound };
}
