/**
 * Orders in which a search goes through the tokens of all scales: depth first, so that what a coarse token says of a part of
 * the image is followed by the finer tokens of that part, which show at once whether it was right.
 */

/** Directions of rows and columns, and which of both comes first, by the number of an order. */
const ways = [
  { down: true, right: true, columnsFirst: false },
  { down: false, right: false, columnsFirst: false },
  { down: true, right: false, columnsFirst: true },
  { down: false, right: true, columnsFirst: true },
  { down: true, right: false, columnsFirst: false },
  { down: false, right: true, columnsFirst: false },
  { down: true, right: true, columnsFirst: true },
  { down: false, right: false, columnsFirst: true },
] as const;

/** Number of different orders: the symmetries of a square. */
export const orderCount = ways.length;

/**
 * Token numbers in the order of a search. The parent of a token of the second and any finer scale is the token of the scale
 * before that its centre lies in. `way`, 0 to orderCount - 1, says from which corner children are visited.
 */
export function tokenOrder(patchNums: readonly number[], way: number): Int32Array<ArrayBuffer> {
  const { down, right, columnsFirst } = ways[way];
  const along = (forward: boolean, place: number) => forward ? place : -place;
  const key = (y: number, x: number) => {
    const both = [along(down, y), along(right, x)];
    return columnsFirst ? both.reverse() : both;
  };
  const order: number[] = [];
  const starts = patchNums.map((_, s) => patchNums.slice(0, s).reduce((sum, pn) => sum + pn * pn, 0));
  const childrenOf = (scale: number, inside: (y: number, x: number) => boolean) => {
    const pn = patchNums[scale];
    return Array.from({ length: pn * pn }, (_, i) => ({ y: Math.floor(i / pn), x: i % pn }))
      .filter(({ y, x }) => inside(y, x))
      .sort((a, b) => {
        const [a0, a1] = key(a.y, a.x), [b0, b1] = key(b.y, b.x);
        return a0 - b0 || a1 - b1;
      });
  };
  const visit = (scale: number, y: number, x: number) => {
    const pn = patchNums[scale];
    order.push(starts[scale] + y * pn + x);
    if (scale + 1 === patchNums.length) return;
    const parent = (place: number) => Math.floor((place + 0.5) * pn / patchNums[scale + 1]);
    for (const child of childrenOf(scale + 1, (cy, cx) => parent(cy) === y && parent(cx) === x)) {
      visit(scale + 1, child.y, child.x);
    }
  };
  for (const { y, x } of childrenOf(0, () => true)) visit(0, y, x);
  return Int32Array.from(order);
}
