/**
 * The gradient of a convolution's weight: which algorithm takes which, block sizes, arguments of the WebAssembly
 * kernels. The arithmetic is in core/cpu/assembly/weight_gradient.ts.
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

/** Pixels that convWeight re-lays at a time and the bytes between rows then, as in the assembly; fewest of a part. */
const OUTER_BLOCK = 512;
const OUTER_STRIDE = OUTER_BLOCK * 4 + 64;
const PART_PIXELS = 1024;

/** Whether Winograd's algorithm can take this gradient, and faster than the sum over taps. */
function suitsWinogradWeight({ kh, kw, stride, cIn, cOut }: Kernels["conv2dWeightGradient"]): boolean {
  return kh === 3 && kw === 3 && stride === 1 && cIn % 4 === 0 && cOut % 4 === 0 && cIn >= CHANNELS && cOut >= CHANNELS;
}

/**
 * Cuts a sum over `steps` (tiles or pixels) into parts, and the rows of the result into blocks. There are as many parts
 * as their memory and a useful size allow; rows are cut where parts alone are too few units. Both depend on sizes only,
 * because the order of summation depends on them.
 */
function split(
  steps: { readonly total: number; readonly fewest: number; readonly atATime: number },
  rows: number,
  partBytes: number,
) {
  const { total, fewest, atATime } = steps;
  const most = Math.max(1, Math.min(Math.ceil(total / fewest), Math.floor(PARTS_BYTES / partBytes)));
  const partSteps = evenBlock(total, Math.ceil(total / most), atATime);
  const parts = Math.ceil(total / partSteps);
  const blockRows = evenBlock(rows, Math.max(24, Math.min(ROWS, rows * parts / UNITS)), 12);
  return { parts, partSteps, blockRows, blocks: Math.ceil(rows / blockRows) };
}

type Args = Kernels["conv2dWeightGradient"];

/** Checked addresses of one gradient. */
type Addresses = Readonly<Record<"x" | "upstream" | "out", number>>;

/** By Winograd's algorithm: sums of transformed tiles, transformed back at the end. */
function runWinograd(context: Context, args: Args, { x, upstream, out }: Addresses): void {
  const { batch, h, w, cIn, cOut, upsample, padTop, padLeft, outH, outW } = args;
  const tiles = batch * Math.ceil(outH / 2) * Math.ceil(outW / 2);
  const partBytes = 16 * cOut * cIn * 4;
  const steps = { total: tiles, fewest: PART_TILES, atATime: TILES };
  const { parts, partSteps, blockRows, blocks } = split(steps, cOut, partBytes);
  const gaps = 2 * 16 * 64;
  withTemporary(context, parts * partBytes, (sums) => {
    context.pool.run("winogradWeight", {
      units: parts * blocks,
      unitCost: partSteps * blockRows * cIn * 32 / FLOPS_PER_NS,
      ints: [
        ...[x, upstream, sums, h, w, cIn, cOut, upsample, padTop, padLeft, outH, outW],
        ...[tiles, partSteps, blockRows, blocks, TILES],
      ],
      scratch: TILES * 80 + blockRows * 4 + Math.max(cIn, cOut) * 4 + 1024 + 128 + gaps +
        16 * TILES * (Math.ceil(cIn / 8) * 32 + blockRows * 4) + 16 * blockRows * 32,
    });
    context.pool.run("winogradWeightOut", {
      units: cOut,
      unitCost: cIn * (parts * 64 / BYTES_PER_NS + 20),
      ints: [sums, out, cOut, cIn, parts],
      scratch: 192,
    });
  });
}

/** As a sum over pixels for every tap. */
function runTaps(context: Context, args: Args, { x, upstream, out }: Addresses): void {
  const { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
  const taps = kh * kw;
  const pixels = batch * outH * outW;
  const partBytes = cOut * taps * cIn * 4;
  const steps = { total: pixels, fewest: PART_PIXELS, atATime: OUTER_BLOCK };
  const { parts, partSteps, blockRows, blocks } = split(steps, cOut, partBytes);
  withTemporary(context, parts * partBytes, (sums) => {
    context.pool.run("convWeight", {
      units: parts * blocks,
      unitCost: Math.min(partSteps, pixels) * blockRows * taps * cIn * 2 / FLOPS_PER_NS,
      ints: [
        ...[x, upstream, sums, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW],
        ...[pixels, partSteps, blockRows, blocks],
      ],
      scratch: (blockRows + 16) * 4 + (blockRows + 1) * 32 + OUTER_BLOCK * 32 + blockRows * OUTER_STRIDE,
    });
    context.pool.run("convWeightOut", {
      units: cOut,
      unitCost: cIn * taps * (parts + 2),
      ints: [sums, out, cOut, cIn, taps, parts],
    });
  });
}

/** `byWinograd` says which gradients are not a sum over taps; tests replace it. */
export function weightGradientKernels(
  context: Context,
  byWinograd: (args: Args) => boolean = suitsWinogradWeight,
): Pick<KernelImplementations, "conv2dWeightGradient"> {
  const { buffers, heap } = context;
  return {
    conv2dWeightGradient(args) {
      const kernel = "conv2dWeightGradient";
      const { batch, h, w, cIn, cOut, kh, kw, outH, outW } = args;
      const pixels = batch * outH * outW;
      const size = cOut * cIn * kh * kw;
      const addresses = {
        x: buffers.at(kernel, "x", args.x, batch * h * w * cIn * 4),
        upstream: buffers.at(kernel, "upstream", args.upstream, pixels * cOut * 4),
        out: buffers.at(kernel, "out", args.out, size * 4),
      };
      if (size === 0) return;
      if (pixels === 0) heap.f32.fill(0, addresses.out / 4, addresses.out / 4 + size);
      else if (byWinograd(args)) runWinograd(context, args, addresses);
      else runTaps(context, args, addresses);
    },
  };
}
