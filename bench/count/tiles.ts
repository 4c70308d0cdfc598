/** Tiles of the hardware kernels: what a dispatch computes, padding included, by its program's name and parameters. */
import type { Kernels } from "../../core/tensor/kernels.ts";
import { attentionKeys, attentionRows } from "../../core/wgsl/kernels/hardware_attention.ts";
import type { Program } from "../../core/wgsl/program.ts";
import { columnsOf, rowsOf, type TileName, tiles } from "../../core/wgsl/tiles.ts";
import { tileRate } from "./model.ts";

/** What the tiles of a dispatch come to. */
export interface Tile {
  /** Operations, padding included. */
  readonly flop: number;
  /** Workgroups of equal work, one after another: whole blocks, then parts of blocks. */
  readonly runs: readonly { readonly groups: number; readonly flop: number }[];
  /** See `Launch`. */
  readonly rate: number;
}

/** The tile of a product, a convolution or the gradient of its weight; undefined for other programs. */
export function tileOf({ variant }: Program, params: Readonly<Record<string, number>>): Tile | undefined {
  const name = variant.split(",")[0];
  if (Object.hasOwn(tiles, name)) {
    const tile = tiles[name as TileName];
    const { k, whole, groups, partK } = params;
    const perStep = 2 * rowsOf(tile) * columnsOf(tile);
    const runs = [
      { groups: whole, flop: whole * perStep * Math.ceil(k / tile.depth) * tile.depth },
      { groups: groups - whole, flop: (groups - whole) * perStep * partK },
    ].filter(({ groups }) => groups > 0);
    return {
      ...{ runs, flop: runs.reduce((sum, { flop }) => sum + flop, 0) },
      rate: tileRate(tile.threadRows, tile.width * tile.vectors),
    };
  }
  const rows = /^rows(\d+)$/.exec(name);
  if (!rows) return undefined;
  const groups = Math.ceil(params.n / 8), flop = 2 * Number(rows[1]) * 8 * groups * params.k;
  return { flop, runs: [{ groups, flop }], rate: 1 };
}

/**
 * The tile of attention in blocks of rows and keys: rows and keys are padded to blocks, and a block of rows goes on to the last key
 * that one of them sees. `visible` keys of each query; all without it. Undefined for other paths.
 */
export function attentionTileOf(
  { kernel, variant }: Program,
  { batch, heads, headDim, lq, lk }: Kernels["attention"],
  visible: ArrayLike<number> | undefined,
): Tile | undefined {
  if (kernel !== "attention" || !variant.startsWith("block,")) return undefined;
  const keys = attentionKeys(headDim), columns = 4 * Math.ceil(headDim / 16);
  let pairs = 0;
  for (let first = 0; first < lq; first += attentionRows) {
    let end = visible ? 0 : lk;
    for (let row = first; visible && row < Math.min(lq, first + attentionRows); row++) {
      end = Math.max(end, visible[row]);
    }
    pairs += attentionRows * Math.ceil(Math.min(end, lk) / keys) * keys;
  }
  // Scores are 4 x keys / 4 results per thread, sums 4 x columns.
  const scores = 2 * pairs * headDim, sums = 2 * pairs * 4 * columns;
  const slow = scores / tileRate(4, keys / 4) + sums / tileRate(4, columns);
  const flop = batch * heads * (scores + sums), groups = batch * heads * Math.ceil(lq / attentionRows);
  return { flop, runs: [{ groups, flop }], rate: (scores + sums) / slow };
}
