/**
 * matmul, conv2d and the packing of their weights: block sizes and arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly.
 */
import type { Epilogue, KernelImplementations, Kernels } from "../../tensor/kernels.ts";
import {
  BYTES_PER_NS,
  type Context,
  epilogueInts,
  evenBlock,
  FLOPS_PER_NS,
  panelsAtOnce,
  withTemporary,
} from "./context.ts";
import { suitsWinograd, winogradConv } from "./winograd.ts";

/** Rows of A per block: with runs of 1024 columns they take 480 KiB, which stays in the second-level cache. */
const BLOCK_ROWS = 120;
/** An expanded panel of one run of K, as in assembly/matmul.ts and assembly/conv.ts. */
const PANEL_BYTES = 1024 * 32;
const CONV_PANEL_BYTES = 1152 * 32;
/** Rows of A and B that matmulOuter re-lays at a time, and the bytes between rows of A then, as in assembly/matmul.ts. */
const OUTER_BLOCK = 512;
const OUTER_STRIDE = OUTER_BLOCK * 4 + 64;
/** Rows of A and B per partial sum; fixed, because the order of summation depends on it. */
const OUTER_PART = 1024;
/** Most rows of the result per block: their re-laid part of A stays in the second-level cache. */
const OUTER_ROWS = 256;
/** Units worth having, so that threads finish together. */
const OUTER_UNITS = 24;
/** Smallest piece of work worth a unit, in floating-point operations. */
const UNIT_FLOPS = 8e6;
/** Largest padded band of a convolution's input, for the same cache. */
const BAND_BYTES = 512 * 1024;

/** Packs a plain matrix [k, n], or [n, k] when `transposed`, of every batch entry into panels at `to`. */
export function packPlain(
  { pool }: Context,
  options: {
    from: number;
    to: number;
    n: number;
    k: number;
    transposed: boolean;
    rowBytes: number;
    outer: number;
    outerBytes: number;
    inner: number;
    innerBytes: number;
  },
): void {
  const { from, to, n, k, transposed, rowBytes, outer, outerBytes, inner, innerBytes } = options;
  const panels = Math.ceil(n / 8);
  pool.run(transposed ? "packRows" : "packColumns", {
    units: outer * inner * panels,
    unitCost: k * 64 / BYTES_PER_NS,
    ints: [from, to, n, k, rowBytes, panels, inner, innerBytes, outerBytes],
  });
}

/** Panels of a block, about `wanted` and an even number, which the wide kernels can pair. */
function pairsOfPanels(panels: number, wanted: number): number {
  return Math.min(panels, 2 * Math.max(1, Math.round(wanted / 2)));
}

export function packedElements(n: number, k: number): number {
  return Math.ceil(n / 8) * 8 * k;
}

function hasEpilogue({ bias, activation, gate, residual }: Epilogue): boolean {
  return bias !== undefined || activation !== "none" || gate !== undefined || residual !== undefined;
}

/** `byWinograd` says which convolutions are not done as a sum over taps; tests replace it. */
export function matmulKernels(
  context: Context,
  byWinograd: (args: Kernels["conv2d"]) => boolean = suitsWinograd,
): Pick<KernelImplementations, "matmul" | "packLinear" | "packConv" | "conv2d"> {
  const { buffers, pool } = context;

  const pack = (kernel: string, args: {
    x: Parameters<KernelImplementations["packLinear"]>[0]["x"];
    out: Parameters<KernelImplementations["packLinear"]>[0]["out"];
    n: number;
    cIn: number;
    taps: number;
    xType: "f32" | "f16";
    outType: "f32" | "f16";
    turned?: boolean;
  }) => {
    const { n, cIn, taps, xType, outType, turned = false } = args;
    const k = cIn * taps;
    const x = buffers.at(kernel, "x", args.x, n * k * (xType === "f16" ? 2 : 4));
    const out = buffers.at(kernel, "out", args.out, packedElements(n, k) * (outType === "f16" ? 2 : 4));
    if (taps === 1 && xType === "f32" && outType === "f32" && !turned) {
      const one = { outer: 1, outerBytes: 0, inner: 1, innerBytes: 0 };
      packPlain(context, { from: x, to: out, n, k, transposed: true, rowBytes: k * 4, ...one });
      return;
    }
    pool.run("packWeight", {
      units: Math.ceil(n / 8),
      unitCost: k * 16,
      ints: [x, out, n, cIn, taps, xType === "f16" ? 1 : 0, outType === "f16" ? 1 : 0, turned ? 1 : 0],
    });
  };

  return {
    packLinear: ({ k, ...args }) => pack("packLinear", { ...args, cIn: k, taps: 1 }),
    packConv: ({ cOut, kh, kw, ...args }) => pack("packConv", { ...args, n: cOut, taps: kh * kw }),

    matmul(args) {
      const { batch, m, n, k, transA, transB, packed } = args;
      if (batch * m * n === 0) return;
      if (k < 1) throw new Error("matmul: k must be at least 1, got 0");
      const aBatch = args.aBatchStride * 4;
      const a = buffers.at("matmul", "a", args.a, (batch - 1) * aBatch + m * k * 4);
      const out = buffers.at("matmul", "out", args.out, batch * m * n * 4);
      const epilogue = epilogueInts(context, "matmul", args.epilogue, batch * m, n);
      const halves = packed && args.bType === "f16";

      if (transA && !packed && !args.transB && batch === 1 && !hasEpilogue(args.epilogue)) {
        const b = buffers.at("matmul", "b", args.b, n * k * 4);
        const parts = Math.ceil(k / OUTER_PART);
        // Few parts are cut into blocks of rows too, as long as these are worth laying the columns of B again.
        const worthwhile = UNIT_FLOPS / (n * Math.min(k, OUTER_PART) * 2);
        const most = Math.max(6, Math.min(OUTER_ROWS, Math.max(worthwhile, m * parts / OUTER_UNITS)));
        const rows = evenBlock(m, most, 6);
        const mBlocks = Math.ceil(m / rows);
        const sums = (to: number) =>
          pool.run("matmulOuter", {
            units: parts * mBlocks,
            unitCost: rows * n * Math.min(k, OUTER_PART) * 2 / FLOPS_PER_NS,
            ints: [a, b, to, m, n, k, OUTER_PART, rows, mBlocks],
            scratch: (rows + 16) * 4 + (rows + 1) * 32 + OUTER_BLOCK * 32 + rows * OUTER_STRIDE,
          });
        if (parts === 1) {
          sums(out);
          return;
        }
        const strips = Math.ceil(m * n / 16);
        withTemporary(context, parts * m * n * 4, (partial) => {
          sums(partial);
          const unitCost = parts * 64 / BYTES_PER_NS;
          pool.run("reduceColumns", { units: strips, unitCost, ints: [partial, out, parts, 0, m * n, strips] });
        });
        return;
      }

      const product = (a: number, aBatch: number, b: number, bBatch: number) => {
        const rows = evenBlock(m, BLOCK_ROWS, 6);
        const mBlocks = Math.ceil(m / rows);
        const panels = Math.ceil(n / 8);
        const panelFlops = rows * k * 16;
        const blockPanels = pairsOfPanels(panels, UNIT_FLOPS / panelFlops);
        const nBlocks = Math.ceil(panels / blockPanels);
        pool.run("matmul", {
          units: batch * mBlocks * nBlocks,
          unitCost: blockPanels * panelFlops / FLOPS_PER_NS,
          ints: [
            ...[a, b, out, m, n, k, aBatch, bBatch, rows, mBlocks, blockPanels, nBlocks, halves ? 1 : 0, k * 4],
            ...epilogue,
          ],
          scratch: (rows + 16) * 4 + (rows + 1) * 32 + panelsAtOnce(context) * PANEL_BYTES,
        });
      };
      const withB = (a: number, aBatch: number) => {
        if (packed) {
          product(a, aBatch, buffers.at("matmul", "b", args.b, packedElements(n, k) * (halves ? 2 : 4)), 0);
          return;
        }
        const bBatch = args.bBatchStride * 4;
        const b = buffers.at("matmul", "b", args.b, (batch - 1) * bBatch + n * k * 4);
        const entries = bBatch === 0 ? 1 : batch;
        const bytes = packedElements(n, k) * 4;
        withTemporary(context, entries * bytes, (to) => {
          packPlain(context, {
            ...{ from: b, to, n, k, transposed: transB, rowBytes: (transB ? k : n) * 4 },
            ...{ outer: 1, outerBytes: 0, inner: entries, innerBytes: bBatch },
          });
          product(a, aBatch, to, entries === 1 ? 0 : bytes);
        });
      };
      if (!transA) {
        withB(a, aBatch);
        return;
      }
      const entries = aBatch === 0 ? 1 : batch;
      withTemporary(context, entries * m * k * 4, (to) => {
        pool.run("transpose", {
          units: entries * Math.ceil(m / 16),
          unitCost: k * 128 / BYTES_PER_NS,
          ints: [a, to, k, m, aBatch],
        });
        withB(to, entries === 1 ? 0 : m * k * 4);
      });
    },

    conv2d(args) {
      const { batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
      const pixels = batch * outH * outW;
      if (pixels * cOut === 0) return;
      const K = kh * kw * cIn;
      if (K < 1) throw new Error(`conv2d: the kernel is empty: ${kh}x${kw}, ${cIn} channels`);
      const halves = args.wType === "f16";
      const x = buffers.at("conv2d", "x", args.x, batch * h * w * cIn * 4);
      const weight = buffers.at("conv2d", "weight", args.weight, packedElements(cOut, K) * (halves ? 2 : 4));
      const out = buffers.at("conv2d", "out", args.out, pixels * cOut * 4);
      const epilogue = epilogueInts(context, "conv2d", args, pixels, cOut);

      if (byWinograd(args)) {
        winogradConv(context, args, { x, weight, out });
        return;
      }
      const unpadded = kh === 1 && kw === 1 && stride === 1 && upsample === 1 && padTop === 0 && padLeft === 0 &&
        outH === h && outW === w;
      const panels = Math.ceil(cOut / 8);
      if (unpadded) {
        const rows = evenBlock(pixels, BLOCK_ROWS, 6);
        const mBlocks = Math.ceil(pixels / rows);
        const blockPanels = pairsOfPanels(panels, UNIT_FLOPS / (rows * K * 16));
        pool.run("matmul", {
          units: mBlocks * Math.ceil(panels / blockPanels),
          unitCost: blockPanels * rows * K * 16 / FLOPS_PER_NS,
          ints: [
            ...[x, weight, out, pixels, cOut, K, 0, 0, rows, mBlocks, blockPanels, Math.ceil(panels / blockPanels)],
            ...[halves ? 1 : 0, K * 4, ...epilogue],
          ],
          scratch: (rows + 16) * 4 + (rows + 1) * 32 + panelsAtOnce(context) * PANEL_BYTES,
        });
        return;
      }

      const rowBytes = ((outW - 1) * stride + kw) * cIn * 4;
      const most = Math.max(1, Math.floor((BAND_BYTES / rowBytes - kh) / stride) + 1);
      const wanted = Math.max(1, Math.ceil(BLOCK_ROWS / outW));
      const rows = evenBlock(outH, Math.min(most, wanted), 1);
      const bands = Math.ceil(outH / rows);
      const panelFlops = rows * outW * K * 16;
      // A unit that fills the band again has to be worth it: at least 64 output channels unless there are fewer.
      const blockPanels = Math.min(panels, Math.max(8, Math.round(UNIT_FLOPS / panelFlops)));
      const nBlocks = Math.ceil(panels / blockPanels);
      const bandBytes = ((rows - 1) * stride + kh) * rowBytes;
      pool.run("conv", {
        units: batch * bands * nBlocks,
        unitCost: blockPanels * panelFlops / FLOPS_PER_NS + bandBytes / BYTES_PER_NS,
        ints: [
          ...[x, weight, out, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW],
          ...[rows, bands, blockPanels, nBlocks, halves ? 1 : 0, ...epilogue],
        ],
        scratch: (rows * outW + 16) * 4 + (rows * outW + 1) * 32 + panelsAtOnce(context) * CONV_PANEL_BYTES + bandBytes,
      });
    },
  };
}
