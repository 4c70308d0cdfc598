/**
 * Matrix products: block sizes and arguments of the WebAssembly kernels.
 * The arithmetic is in core/cpu/assembly/matmul.ts.
 */
import type { Epilogue, KernelImplementations, Kernels } from "../../tensor/kernels.ts";
import {
  BYTES_PER_NS,
  type Context,
  epilogueInts,
  evenBlock,
  FLOPS_PER_NS,
  panelsAtOnce,
  UNIT_FLOPS,
  withTemporary,
} from "./context.ts";
import { packedElements, packPlain } from "./pack.ts";

/** Rows of A per block: with runs of 1024 columns they take 480 KiB, which stays in the second-level cache. */
export const BLOCK_ROWS = 120;
/** Size of an expanded panel of one run of K, as in assembly/matmul.ts. */
const PANEL_BYTES = 1024 * 32;
/**
 * Rows of A and B that matmulOuter re-lays at a time, and the bytes between rows of A then, as in assembly/matmul.ts.
 */
const OUTER_BLOCK = 512;
const OUTER_STRIDE = OUTER_BLOCK * 4 + 64;
/** Rows of A and B per partial sum; fixed, because the order of summation depends on it. */
const OUTER_PART = 1024;
/** Most rows of the result per block: their re-laid part of A stays in the second-level cache. */
const OUTER_ROWS = 256;
/** Units worth having, so that threads finish together. */
const OUTER_UNITS = 24;

/** Panels of a block, about `wanted` and an even number, which the wide kernels can pair. */
function pairsOfPanels(panels: number, wanted: number): number {
  return Math.min(panels, 2 * Math.max(1, Math.round(wanted / 2)));
}

function hasEpilogue({ bias, activation, gate, residual }: Epilogue): boolean {
  return bias !== undefined || activation !== "none" || gate !== undefined || residual !== undefined;
}

/** Addresses and sizes of a batch of products A[m, k] B[k, n] with B in panels. Batch strides count bytes. */
interface Product {
  readonly a: number;
  readonly b: number;
  readonly out: number;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly aBatch: number;
  readonly bBatch: number;
  /** Whether B is f16. */
  readonly halves: boolean;
  /** What `epilogueInts` returned. */
  readonly epilogue: readonly number[];
}

/** out[z] = epilogue(A_z B_z). Also runs convolutions of one tap. */
export function runProduct(context: Context, product: Product): void {
  const { a, b, out, batch, m, n, k, aBatch, bBatch, halves, epilogue } = product;
  const rows = evenBlock(m, BLOCK_ROWS, 6);
  const mBlocks = Math.ceil(m / rows);
  const panels = Math.ceil(n / 8);
  const panelFlops = rows * k * 16;
  const blockPanels = pairsOfPanels(panels, UNIT_FLOPS / panelFlops);
  const nBlocks = Math.ceil(panels / blockPanels);
  context.pool.run("matmul", {
    units: batch * mBlocks * nBlocks,
    unitCost: blockPanels * panelFlops / FLOPS_PER_NS,
    ints: [
      ...[a, b, out, m, n, k, aBatch, bBatch, rows, mBlocks, blockPanels, nBlocks, halves ? 1 : 0, k * 4],
      ...epilogue,
    ],
    scratch: (rows + 16) * 4 + (rows + 1) * 32 + panelsAtOnce(context) * PANEL_BYTES,
  });
}

/** out[m, n] = A^T B for A[k, m] and B[k, n], both plain: a sum of outer products of rows, in parts of K. */
function runOuterProducts(
  context: Context,
  { a, b, out, m, n, k }: Pick<Product, "a" | "b" | "out" | "m" | "n" | "k">,
): void {
  const parts = Math.ceil(k / OUTER_PART);
  // Where there are few parts, rows are cut into blocks, too, while that is worth re-laying the columns of B again.
  const worthwhile = UNIT_FLOPS / (n * Math.min(k, OUTER_PART) * 2);
  const most = Math.max(6, Math.min(OUTER_ROWS, Math.max(worthwhile, m * parts / OUTER_UNITS)));
  const rows = evenBlock(m, most, 6);
  const mBlocks = Math.ceil(m / rows);
  const sumParts = (to: number) =>
    context.pool.run("matmulOuter", {
      units: parts * mBlocks,
      unitCost: rows * n * Math.min(k, OUTER_PART) * 2 / FLOPS_PER_NS,
      ints: [a, b, to, m, n, k, OUTER_PART, rows, mBlocks],
      scratch: (rows + 16) * 4 + (rows + 1) * 32 + OUTER_BLOCK * 32 + rows * OUTER_STRIDE,
    });
  if (parts === 1) {
    sumParts(out);
    return;
  }
  const strips = Math.ceil(m * n / 16);
  withTemporary(context, parts * m * n * 4, (partial) => {
    sumParts(partial);
    const unitCost = parts * 64 / BYTES_PER_NS;
    context.pool.run("reduceColumns", { units: strips, unitCost, ints: [partial, out, parts, 0, m * n, strips] });
  });
}

/** Calls `use` with address and batch stride of B in panels: the packed weight, or a plain B packed for this call. */
function withPanels(
  context: Context,
  args: Kernels["matmul"],
  use: (b: number, bBatch: number) => void,
): void {
  const { batch, n, k, transB, packed, bType } = args;
  const { buffers } = context;
  if (packed) {
    use(buffers.at("matmul", "b", args.b, packedElements(n, k) * (bType === "f16" ? 2 : 4)), 0);
    return;
  }
  const plainBatch = args.bBatchStride * 4;
  const from = buffers.at("matmul", "b", args.b, (batch - 1) * plainBatch + n * k * 4);
  const entries = plainBatch === 0 ? 1 : batch;
  const bytes = packedElements(n, k) * 4;
  withTemporary(context, entries * bytes, (to) => {
    const rowBytes = (transB ? k : n) * 4;
    packPlain(context, { from, to, n, k, transposed: transB, rowBytes, inner: entries, innerBytes: plainBatch });
    use(to, entries === 1 ? 0 : bytes);
  });
}

/** Calls `use` with address and batch stride of A in rows: A as it is, or transposed for this call. */
function withRows(
  context: Context,
  { batch, m, k, transA }: Kernels["matmul"],
  a: number,
  aBatch: number,
  use: (a: number, aBatch: number) => void,
): void {
  if (!transA) {
    use(a, aBatch);
    return;
  }
  const entries = aBatch === 0 ? 1 : batch;
  withTemporary(context, entries * m * k * 4, (to) => {
    context.pool.run("transpose", {
      units: entries * Math.ceil(m / 16),
      unitCost: k * 128 / BYTES_PER_NS,
      ints: [a, to, k, m, aBatch],
    });
    use(to, entries === 1 ? 0 : m * k * 4);
  });
}

export function matmulKernels(context: Context): Pick<KernelImplementations, "matmul"> {
  const { buffers } = context;
  return {
    matmul(args) {
      const { batch, m, n, k, transA, transB, packed } = args;
      if (batch * m * n === 0) return;
      if (k < 1) throw new Error("matmul: k must be at least 1, got 0");
      const plainBatch = args.aBatchStride * 4;
      const plain = buffers.at("matmul", "a", args.a, (batch - 1) * plainBatch + m * k * 4);
      const out = buffers.at("matmul", "out", args.out, batch * m * n * 4);
      const epilogue = epilogueInts(context, "matmul", args.epilogue, batch * m, n);
      if (transA && !packed && !transB && batch === 1 && !hasEpilogue(args.epilogue)) {
        const b = buffers.at("matmul", "b", args.b, n * k * 4);
        runOuterProducts(context, { a: plain, b, out, m, n, k });
        return;
      }
      const halves = packed && args.bType === "f16";
      withRows(context, args, plain, plainBatch, (a, aBatch) => {
        withPanels(context, args, (b, bBatch) => {
          runProduct(context, { a, b, out, batch, m, n, k, aBatch, bBatch, halves, epilogue });
        });
      });
    },
  };
}
