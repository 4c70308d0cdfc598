/**
 * Orders in which a search decides the tokens of all scales. They are depth first: after a coarse token come the finer
 * tokens of its part of the image, which show soon whether the coarse token was right.
 */

/** By order, the directions of rows and columns, and which of them is the outer loop. */
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

/** Number of orders, one per symmetry of the square. */
export const orderCount: number = ways.length;

/**
 * Token indices in the order of a search. The parent of a token is the token of the next coarser scale that contains
 * its centre. `way`, 0 to orderCount - 1, selects the corner from which children are visited.
 */
export function tokenOrder(patchNums: readonly number[], way: number): Int32Array<ArrayBuffer> {
  const { down, right, columnsFirst } = ways[way];
  const along = (forward: boolean, position: number) => forward ? position : -position;
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
    const parent = (position: number) => Math.floor((position + 0.5) * pn / patchNums[scale + 1]);
    for (const child of childrenOf(scale + 1, (cy, cx) => parent(cy) === y && parent(cx) === x)) {
      visit(scale + 1, child.y, child.x);
    }
  };
  for (const { y, x } of childrenOf(0, () => true)) visit(0, y, x);
  return Int32Array.from(order);
}
