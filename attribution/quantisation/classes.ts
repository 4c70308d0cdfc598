/** Which tokens of a scale can be chosen at the same time: those whose parts of fHat do not overlap. */

/** Positions of one scale that do not overlap: all combinations of some rows and columns. */
export interface PositionClass {
  /** Rows, from 0. */
  readonly rows: readonly number[];
  /** Columns, from 0. */
  readonly columns: readonly number[];
  /** Row-major indices of the positions, rows x columns. */
  readonly positions: readonly number[];
}

/**
 * The least period P such that tokens P or more apart on an axis share no pixel of fHat. `enlargement`[side, pn] is the
 * interpolation of one axis. Phi, a 3x3 convolution, spreads every pixel to its neighbours.
 */
export function interactionPeriod(enlargement: Float32Array, side: number, pn: number): number {
  const reach = Array.from({ length: pn }, (_, i) => {
    let first = side, last = -1;
    for (let y = 0; y < side; y++) {
      if (enlargement[y * pn + i] === 0) continue;
      first = Math.min(first, y);
      last = y;
    }
    return [Math.max(first - 1, 0), Math.min(last + 1, side - 1)];
  });
  for (let period = 1; period < pn; period++) {
    let apart = true;
    for (let i = 0; i + period < pn && apart; i++) apart = reach[i][1] < reach[i + period][0];
    if (apart) return period;
  }
  return pn;
}

/** The classes of a pn x pn grid with a period. Every position is in one of them. */
export function positionClasses(pn: number, period: number): PositionClass[] {
  const classes: PositionClass[] = [];
  const every = (start: number) =>
    Array.from({ length: Math.ceil((pn - start) / period) }, (_, i) => start + i * period);
  for (let a = 0; a < Math.min(period, pn); a++) {
    for (let b = 0; b < Math.min(period, pn); b++) {
      const rows = every(a), columns = every(b);
      classes.push({ rows, columns, positions: rows.flatMap((i) => columns.map((j) => i * pn + j)) });
    }
  }
  return classes;
}
