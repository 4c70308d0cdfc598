/**
 * Sizes of the blocks in which hardware adapters compute products (kernels/hardware_tile.ts): a workgroup's block of
 * the result, and what each of its threads computes of it.
 */

/** A block of threadRows * rowThreads rows and width * vectors * columnThreads columns. */
export interface Tile {
  readonly name: TileName;
  /** Neighbouring rows of a thread. */
  readonly threadRows: number;
  /** Threads below each other. */
  readonly rowThreads: number;
  /** Groups of `width` neighbouring columns of a thread, columnThreads * width apart. */
  readonly vectors: number;
  readonly width: 2 | 4;
  /** Threads side by side. */
  readonly columnThreads: number;
  /** Steps along k between two barriers, a multiple of 4. */
  readonly depth: number;
  /**
   * Groups of threads that compute the same results, each with its own four of a block's steps along k; or 1. Their
   * sums are added in workgroup memory at the end: more threads for products with few results.
   */
  readonly slices: number;
}

/** Rows x columns of a block, and x slices where there are several. */
export type TileName =
  | "128x128"
  | "128x64"
  | "80x160"
  | "160x64"
  | "64x64"
  | "128x64x2"
  | "64x64x4"
  | "128x16"
  | "32x64"
  | "16x64";

const tile = (
  name: TileName,
  [threadRows, rowThreads]: readonly [number, number],
  [vectors, width, columnThreads]: readonly [number, 2 | 4, number],
  depth: number,
  slices = 1,
): Tile => ({ name, threadRows, rowThreads, vectors, width, columnThreads, depth, slices });

/**
 * 8 x 8 results per thread wherever there are enough rows. 80 x 160 and 160 x 64 are for sizes that are multiples of
 * 160 and not of 64, as in VAR's tokenizer; 128 x 16 is for few columns; the lowest ones are for few rows, as in steps
 * of generation.
 */
export const tiles: Readonly<Record<TileName, Tile>> = {
  "128x128": tile("128x128", [8, 16], [2, 4, 16], 8),
  "128x64": tile("128x64", [8, 16], [2, 4, 8], 8),
  "80x160": tile("80x160", [8, 10], [5, 2, 16], 8),
  "160x64": tile("160x64", [8, 20], [2, 4, 8], 8),
  "64x64": tile("64x64", [8, 8], [2, 4, 8], 8),
  "128x64x2": tile("128x64x2", [8, 16], [2, 4, 8], 8, 2),
  "64x64x4": tile("64x64x4", [8, 8], [2, 4, 8], 16, 4),
  "128x16": tile("128x16", [8, 16], [1, 4, 4], 8),
  "32x64": tile("32x64", [4, 8], [2, 4, 8], 8),
  "16x64": tile("16x64", [4, 4], [1, 4, 16], 16),
};

export function rowsOf({ threadRows, rowThreads }: Tile): number {
  return threadRows * rowThreads;
}

export function columnsOf({ vectors, width, columnThreads }: Tile): number {
  return vectors * width * columnThreads;
}

export function threadsOf({ rowThreads, columnThreads, slices }: Tile): number {
  return rowThreads * columnThreads * slices;
}

/** Four-vectors of a row of the right block: one more than it has where columns are stored, so that banks differ. */
export function rightPitch(tile: Tile, columnsStored = false): number {
  return columnsOf(tile) / 4 + (columnsStored ? 1 : 0);
}

/** Workgroup memory: two blocks of either operand, one to compute with while the other is filled. */
export function sharedBytes(tile: Tile, columnsStored = false): number {
  return 2 * tile.depth * 4 * (rowsOf(tile) + 4 * rightPitch(tile, columnsStored));
}

/** Four-vectors of either block that a thread loads at once. */
export function slotsOf(tile: Tile): readonly [left: number, right: number] {
  const threads = threadsOf(tile), { depth } = tile;
  return [Math.ceil(rowsOf(tile) * depth / 4 / threads), Math.ceil(columnsOf(tile) * depth / 4 / threads)];
}
