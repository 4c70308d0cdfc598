/**
 * The gradient of a convolution's weight: block sizes and arguments of the WebAssembly kernels, and which of them to take.
 * The arithmetic is in core/cpu/assembly/weight_gradient.ts.
 */
import type { KernelImplementations, Kernels } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context, evenBlock, FLOPS_PER_NS, withTemporary } from "./context.ts";

/** Most rows of the result (output channels) per block: a multiple of the rows of a tile and of four. */
const ROWS = 132;
/** Units worth having, so that threads finish together. */
const UNITS = 24;
/** Largest memory for partial sums, in bytes, where more than one part is wanted. */
const PARTS_BYTES = 24 * 1024 * 1024;

/** Tiles of 2x2 pixels whose transforms are kept at a time, and the fewest of a part. */
const TILES = 64;
const PART_TILES = 256;
/** Fewest channels on either side for which the transforms cost less than they save. */
const CHANNELS = 16;

/** Pixels that convWeight re-lays at a time and the bytes between rows then, as in assembly; the fewest of a part. */
const OUTER_BLOCK = 512;
const OUTER_STRIDE = OUTER_BLOCK * 4 + 64;
const PART_PIXELS = 1024;

/** Whether Winograd's algorithm can take this gradient, and faster than the sum over taps. */
export function suitsWinogradWeight({ kh, kw, stride, cIn, cOut }: Kernels["conv2dWeightGradient"]): boolean {
  return kh === 3 && kw === 3 && stride === 1 && cIn % 4 === 0 && cOut % 4 === 0 && cIn >= CHANNELS && cOut >= CHANNELS;
}

/**
 * How many steps of the sum (tiles, pixels) a part takes and how many rows a block: parts are as many as their memory and
 * a useful size allow, rows fewer where parts alone are too few units. Fixed by sizes, as the order of summation is.
 */
function split(steps: number, leastSteps: number, stepsAtATime: number, rows: number, partBytes: number) {
  const most = Math.max(1, Math.min(Math.ceil(steps / leastSteps), Math.floor(PARTS_BYTES / partBytes)));
  const partSteps = evenBlock(steps, Math.ceil(steps / most), stepsAtATime);
  const parts = Math.ceil(steps / partSteps);
  const blockRows = evenBlock(rows, Math.max(24, Math.min(ROWS, rows * parts / UNITS)), 12);
  return { parts, partSteps, blockRows, blocks: Math.ceil(rows / blockRows) };
}

export function weightGradientKernels(
  context: Context,
  byWinograd: (args: Kernels["conv2dWeightGradient"]) => boolean = suitsWinogradWeight,
): Pick<KernelImplementations, "conv2dWeightGradient"> {
  const { buffers, heap, pool } = context;
  return {
    conv2dWeightGradient(args) {
      const kernel = "conv2dWeightGradient";
      const { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
      const taps = kh * kw;
      const pixels = batch * outH * outW;
      const x = buffers.at(kernel, "x", args.x, batch * h * w * cIn * 4);
      const upstream = buffers.at(kernel, "upstream", args.upstream, pixels * cOut * 4);
      const out = buffers.at(kernel, "out", args.out, cOut * cIn * taps * 4);
      if (cOut * cIn * taps === 0) return;
      if (pixels === 0) {
        heap.f32.fill(0, out / 4, out / 4 + cOut * cIn * taps);
        return;
      }
      if (byWinograd(args)) {
        const tiles = batch * Math.ceil(outH / 2) * Math.ceil(outW / 2);
        const partBytes = 16 * cOut * cIn * 4;
        const { parts, partSteps, blockRows, blocks } = split(tiles, PART_TILES, TILES, cOut, partBytes);
        const gaps = 2 * 16 * 64;
        withTemporary(context, parts * partBytes, (sums) => {
          pool.run("winogradWeight", {
            units: parts * blocks,
            unitCost: partSteps * blockRows * cIn * 32 / FLOPS_PER_NS,
            ints: [
              ...[x, upstream, sums, h, w, cIn, cOut, upsample, padTop, padLeft, outH, outW],
              ...[tiles, partSteps, blockRows, blocks, TILES],
            ],
            scratch: TILES * 80 + blockRows * 4 + Math.max(cIn, cOut) * 4 + 1024 + 128 + gaps +
              16 * TILES * (Math.ceil(cIn / 8) * 32 + blockRows * 4) + 16 * blockRows * 32,
          });
          pool.run("winogradWeightOut", {
            units: cOut,
            unitCost: cIn * (parts * 64 / BYTES_PER_NS + 20),
            ints: [sums, out, cOut, cIn, parts],
            scratch: 192,
          });
        });
        return;
      }
      const partBytes = cOut * taps * cIn * 4;
      const { parts, partSteps, blockRows, blocks } = split(pixels, PART_PIXELS, OUTER_BLOCK, cOut, partBytes);
      withTemporary(context, parts * partBytes, (sums) => {
        pool.run("convWeight", {
          units: parts * blocks,
          unitCost: Math.min(partSteps, pixels) * blockRows * taps * cIn * 2 / FLOPS_PER_NS,
          ints: [
            ...[x, upstream, sums, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW],
            ...[pixels, partSteps, blockRows, blocks],
          ],
          scratch: (blockRows + 16) * 4 + (blockRows + 1) * 32 + OUTER_BLOCK * 32 + blockRows * OUTER_STRIDE,
        });
        pool.run("convWeightOut", {
          units: cOut,
          unitCost: cIn * taps * (parts + 2),
          ints: [sums, out, cOut, cIn, taps, parts],
        });
      });
    },
  };
}
