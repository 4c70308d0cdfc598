/** The tiles of the hardware kernels: what a dispatch computes, padding included, from its program's name and parameters. */
import type { Groups, Program } from "../../core/wgsl/program.ts";
import { tileRate } from "./model.ts";

/** What the tiles of a dispatch come to. */
export interface Tile {
  /** Operations, padding included. */
  readonly flop: number;
  /** See `Launch`. */
  readonly rate: number;
}

/** The tile of a product or convolution; undefined for other kernels. */
export function tileOf(
  { kernel, variant }: Program,
  params: Readonly<Record<string, number>>,
  groups: Groups,
): Tile | undefined {
  if (kernel !== "matmul" && kernel !== "conv2d") return undefined;
  const [x, y, z] = groups;
  const block = /^block(\d+),/.exec(variant);
  if (block) {
    const size = Number(block[1]);
    return { flop: 2 * x * y * z * size * size * params.k, rate: tileRate(size / 16, size / 16) };
  }
  if (variant.startsWith("rows,")) return { flop: 2 * x * 128 * 4 * params.k, rate: tileRate(4, 4) };
  return undefined;
}
