/**
 * Convolutions: which algorithm takes which, block sizes and arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/conv2d.ts, matmul.ts (one tap) and winograd.ts.
 */
import type { KernelImplementations, Kernels } from "../../tensor/kernels.ts";
import {
  BYTES_PER_NS,
  type Context,
  epilogueInts,
  evenBlock,
  FLOPS_PER_NS,
  panelsAtOnce,
  UNIT_FLOPS,
} from "./context.ts";
import { BLOCK_ROWS, runProduct } from "./matmul.ts";
import { packedElements } from "./pack.ts";
import { suitsWinograd, winogradConv } from "./winograd.ts";

/** Size of an expanded panel of one run of K, as in assembly/conv2d.ts. */
const PANEL_BYTES = 1152 * 32;
/** Largest padded band of the input: it stays in the second-level cache. */
const BAND_BYTES = 512 * 1024;

/** Checked addresses of a convolution. */
interface Addresses {
  readonly x: number;
  readonly weight: number;
  readonly out: number;
  /** What `epilogueInts` returned. */
  readonly epilogue: readonly number[];
}

/** Whether a convolution is the product of its pixels with a [cIn, cOut] matrix. */
function isProduct({ h, w, kh, kw, stride, upsample, padTop, padLeft, outH, outW }: Kernels["conv2d"]): boolean {
  return kh === 1 && kw === 1 && stride === 1 && upsample === 1 && padTop === 0 && padLeft === 0 &&
    outH === h && outW === w;
}

/** Sums over taps, band by band of output rows. */
function runTaps(context: Context, args: Kernels["conv2d"], { x, weight, out, epilogue }: Addresses): void {
  const { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
  const k = kh * kw * cIn;
  const panels = Math.ceil(cOut / 8);
  const rowBytes = ((outW - 1) * stride + kw) * cIn * 4;
  const most = Math.max(1, Math.floor((BAND_BYTES / rowBytes - kh) / stride) + 1);
  const wanted = Math.max(1, Math.ceil(BLOCK_ROWS / outW));
  const rows = evenBlock(outH, Math.min(most, wanted), 1);
  const bands = Math.ceil(outH / rows);
  const panelFlops = rows * outW * k * 16;
  // A unit that fills the band again has to be worth it: at least 64 output channels unless there are fewer.
  const blockPanels = Math.min(panels, Math.max(8, Math.round(UNIT_FLOPS / panelFlops)));
  const nBlocks = Math.ceil(panels / blockPanels);
  const bandBytes = ((rows - 1) * stride + kh) * rowBytes;
  context.pool.run("conv", {
    units: batch * bands * nBlocks,
    unitCost: blockPanels * panelFlops / FLOPS_PER_NS + bandBytes / BYTES_PER_NS,
    ints: [
      ...[x, weight, out, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW],
      ...[rows, bands, blockPanels, nBlocks, args.wType === "f16" ? 1 : 0, ...epilogue],
    ],
    scratch: (rows * outW + 16) * 4 + (rows * outW + 1) * 32 + panelsAtOnce(context) * PANEL_BYTES + bandBytes,
  });
}

/** `byWinograd` says which convolutions are not a sum over taps; tests replace it. */
export function convKernels(
  context: Context,
  byWinograd: (args: Kernels["conv2d"]) => boolean = suitsWinograd,
): Pick<KernelImplementations, "conv2d"> {
  const { buffers } = context;
  return {
    conv2d(args) {
      const { batch, h, w, cIn, cOut, kh, kw, outH, outW } = args;
      const pixels = batch * outH * outW;
      if (pixels * cOut === 0) return;
      const k = kh * kw * cIn;
      if (k < 1) throw new Error(`conv2d: the kernel is empty: ${kh}x${kw}, ${cIn} channels`);
      const halves = args.wType === "f16";
      const addresses = {
        x: buffers.at("conv2d", "x", args.x, batch * h * w * cIn * 4),
        weight: buffers.at("conv2d", "weight", args.weight, packedElements(cOut, k) * (halves ? 2 : 4)),
        out: buffers.at("conv2d", "out", args.out, pixels * cOut * 4),
        epilogue: epilogueInts(context, "conv2d", args, pixels, cOut),
      };
      if (byWinograd(args)) winogradConv(context, args, addresses);
      else if (isProduct(args)) {
        const { x: a, weight: b, out, epilogue } = addresses;
        const sizes = { batch: 1, m: pixels, n: cOut, k, aBatch: 0, bBatch: 0 };
        runProduct(context, { a, b, out, ...sizes, halves, epilogue });
      } else runTaps(context, args, addresses);
    },
  };
}
