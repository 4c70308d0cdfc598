/**
 * Where in an image the evidence lies: numbers on a grid of token positions, to be drawn over the image.
 * It arranges numbers that networks gave; colours and pixels are the page's.
 */

/** Values on a grid over the square that the networks see, row by row. */
export interface GridMap {
  readonly width: number;
  readonly height: number;
  readonly values: readonly number[];
}

/** Digits that are sent of a value: colours show far fewer. */
const digits = 5;

/**
 * Values of tokens on one or several scales, coarse to fine, scale k having patchNums[k]^2 tokens row by row -> a map of the
 * finest grid. A token's value is spread evenly over the cells that it covers, in shares where it covers parts of them, so
 * that the map has the sum of the tokens' values.
 */
export function tokenMap(values: ArrayLike<number>, patchNums: readonly number[]): GridMap {
  const side = patchNums[patchNums.length - 1];
  const count = patchNums.reduce((sum, n) => sum + n * n, 0);
  if (values.length !== count) throw new RangeError(`tokenMap: expected ${count} values, got ${values.length}`);
  const sum = new Float64Array(side * side);
  let start = 0;
  for (const n of patchNums) {
    const shares = overlaps(n, side);
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) {
        const value = values[start + y * n + x];
        for (const [row, down] of shares[y]) {
          for (const [column, across] of shares[x]) sum[row * side + column] += value * down * across;
        }
      }
    }
    start += n * n;
  }
  return { width: side, height: side, values: rounded(sum) };
}

/** For each of `n` equal intervals: the cells of `side` equal ones that it overlaps, and its share in each; shares add up to 1. */
function overlaps(n: number, side: number): [cell: number, share: number][][] {
  return Array.from({ length: n }, (_, i) => {
    const low = (i * side) / n, high = ((i + 1) * side) / n;
    const cells: [number, number][] = [];
    for (let cell = Math.floor(low); cell < high && cell < side; cell++) {
      const share = (Math.min(high, cell + 1) - Math.max(low, cell)) / (high - low);
      if (share > 1e-9) cells.push([cell, share]);
    }
    return cells;
  });
}

function rounded(values: ArrayLike<number>): number[] {
  return Array.from(values, (value) => Number(value.toPrecision(digits)));
}
