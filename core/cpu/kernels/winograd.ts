/**
 * conv2d by Winograd's F(2x2, 3x3): which convolutions take it, block sizes and arguments of the WebAssembly kernel.
 * The arithmetic is in core/cpu/assembly/winograd.ts.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import { type Context, evenBlock, FLOPS_PER_NS, panelsAtOnce } from "./context.ts";

/**
 * Tiles (of 2x2 pixels) of a region: as many rows share a transformed panel of weights. From 48 to 128 the speed is the
 * same; more would need more private memory.
 */
const REGION_TILES = 64;
/** Columns of tiles of a region: regions that are about square see the fewest pixels around them. */
const REGION_COLUMNS = 16;
/** Panels of a unit: enough for the transformed input, few enough to share a small image among threads. */
const BLOCK_PANELS = 8;
/** Panels whose products are transformed back at once. */
const GROUP_PANELS = 4;

/** Fewest channels on either side, and fewest tiles of an image, for which the transforms cost less than they save. */
const CHANNELS = 16;
const TILES = 16;
/** Most channels in: the products take all of them as one run of K. */
const MAX_CHANNELS = 1024;

/** Whether Winograd's algorithm can do this convolution, and faster than the sum over taps. */
export function suitsWinograd(args: Kernels["conv2d"]): boolean {
  const { kh, kw, stride, cIn, cOut, outH, outW } = args;
  return kh === 3 && kw === 3 && stride === 1 && cIn % 4 === 0 && cIn >= CHANNELS && cIn <= MAX_CHANNELS &&
    cOut >= CHANNELS && Math.ceil(outH / 2) * Math.ceil(outW / 2) >= TILES;
}

/**
 * Runs conv2d (3x3, stride 1, cIn a multiple of 4) on checked addresses. `weight` is packed as for the sum over taps,
 * `epilogue` is what `epilogueInts` returned.
 */
export function winogradConv(
  context: Context,
  args: Kernels["conv2d"],
  addresses: Readonly<Record<"x" | "weight" | "out", number>> & { readonly epilogue: readonly number[] },
): void {
  const { x, weight, out, epilogue } = addresses;
  const { batch, h, w, cIn, cOut, upsample, padTop, padLeft, outH, outW } = args;
  const halves = args.wType === "f16";
  const tilesY = Math.ceil(outH / 2);
  const tilesX = Math.ceil(outW / 2);
  const columns = evenBlock(tilesX, REGION_COLUMNS, 1);
  const rows = evenBlock(tilesY, Math.floor(REGION_TILES / columns), 1);
  const regions = [Math.ceil(tilesY / rows), Math.ceil(tilesX / columns)];
  const panels = Math.ceil(cOut / 8);
  const blockPanels = evenBlock(panels, BLOCK_PANELS, 1);
  const blocks = Math.ceil(panels / blockPanels);
  const group = Math.min(GROUP_PANELS, blockPanels);
  const tiles = rows * columns;
  const gaps = 16 * 64;
  context.pool.run("winograd", {
    units: batch * regions[0] * regions[1] * blocks,
    unitCost: tiles * cIn * blockPanels * 256 / FLOPS_PER_NS,
    ints: [
      ...[x, weight, out, h, w, cIn, cOut, upsample, padTop, padLeft, outH, outW],
      ...[rows, columns, ...regions, blockPanels, blocks, halves ? 1 : 0, group],
      ...epilogue,
    ],
    scratch: (2 * rows + 2) * (2 * columns + 2) * 4 + tiles * 4 + cIn * 4 + 128 + // addresses and a pixel of zeros
      (64 * tiles * cIn + gaps) + (512 * cIn * panelsAtOnce(context) + gaps) + (512 * tiles * group + gaps) + // V, U, M
      (halves ? 288 * cIn : 0),
  });
}
