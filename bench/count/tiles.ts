/** Tiles of the hardware kernels: what a dispatch computes, padding included, by its program's name and parameters. */
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
  const groups = Math.ceil(params.n / 16), flop = 2 * Number(rows[1]) * 16 * groups * params.k;
  return { flop, runs: [{ groups, flop }], rate: 1 };
}
