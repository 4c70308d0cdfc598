/**
 * Packing: matrices re-laid into panels of eight columns, which products read in order. Weights are packed once
 * (packLinear, packConv), other operands for one kernel (packPlain).
 * The arithmetic is in core/cpu/assembly/pack.ts.
 */
import type { KernelImplementations, Storage } from "../../tensor/kernels.ts";
import { BYTES_PER_NS, type Context } from "./context.ts";

/** Elements of a packed [k, n] matrix: n is filled up to whole panels. */
export function packedElements(n: number, k: number): number {
  return Math.ceil(n / 8) * 8 * k;
}

/** A batch of plain f32 matrices in memory: entry (i, j) begins at from + i * outerBytes + j * innerBytes. */
interface PlainMatrices {
  readonly from: number;
  /** Where the panels go, one entry after the other. */
  readonly to: number;
  readonly n: number;
  readonly k: number;
  /** Stored as [n, k] and not as [k, n]. */
  readonly transposed: boolean;
  readonly rowBytes: number;
  readonly outer?: number;
  readonly outerBytes?: number;
  readonly inner?: number;
  readonly innerBytes?: number;
}

/** Packs every matrix of a batch; without outer and inner there is one. */
export function packPlain({ pool }: Context, matrices: PlainMatrices): void {
  const { from, to, n, k, transposed, rowBytes, outer = 1, outerBytes = 0, inner = 1, innerBytes = 0 } = matrices;
  const panels = Math.ceil(n / 8);
  pool.run(transposed ? "packRows" : "packColumns", {
    units: outer * inner * panels,
    unitCost: k * 64 / BYTES_PER_NS,
    ints: [from, to, n, k, rowBytes, panels, inner, innerBytes, outerBytes],
  });
}

/** A weight x[n, cIn, taps] to pack. */
interface PackedWeight {
  readonly x: Storage;
  readonly out: Storage;
  readonly n: number;
  readonly cIn: number;
  readonly taps: number;
  readonly xType: "f32" | "f16";
  readonly outType: "f32" | "f16";
  readonly turned?: boolean;
}

function packWeight(context: Context, kernel: string, weight: PackedWeight): void {
  const { n, cIn, taps, xType, outType, turned = false } = weight;
  const { buffers, pool } = context;
  const k = cIn * taps;
  const x = buffers.at(kernel, "x", weight.x, n * k * (xType === "f16" ? 2 : 4));
  const out = buffers.at(kernel, "out", weight.out, packedElements(n, k) * (outType === "f16" ? 2 : 4));
  if (taps === 1 && xType === "f32" && outType === "f32" && !turned) {
    packPlain(context, { from: x, to: out, n, k, transposed: true, rowBytes: k * 4 });
    return;
  }
  pool.run("packWeight", {
    units: Math.ceil(n / 8),
    unitCost: k * 16,
    ints: [x, out, n, cIn, taps, xType === "f16" ? 1 : 0, outType === "f16" ? 1 : 0, turned ? 1 : 0],
  });
}

export function packKernels(context: Context): Pick<KernelImplementations, "packLinear" | "packConv"> {
  return {
    packLinear: ({ k, ...args }) => packWeight(context, "packLinear", { ...args, cIn: k, taps: 1 }),
    packConv: ({ cOut, kh, kw, ...args }) => packWeight(context, "packConv", { ...args, n: cOut, taps: kh * kw }),
  };
}
