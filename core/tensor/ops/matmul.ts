/**
 * Matrix products of activations. Products with a weight, which fuse what follows, are in linear.ts.
 */
import { apply, defineOp, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./broadcast.ts";

interface MatmulParams {
  readonly transA: boolean;
  readonly transB: boolean;
}

function matmulSizes(a: Tensor, b: Tensor, { transA, transB }: MatmulParams) {
  expectType("matmul", "a", a, "f32");
  expectType("matmul", "b", b, "f32");
  if (a.rank < 2 || b.rank < 2) {
    throw new TypeError(`matmul: expects ranks >= 2, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`);
  }
  const [m, ka] = transA ? [a.shape[a.rank - 1], a.shape[a.rank - 2]] : [a.shape[a.rank - 2], a.shape[a.rank - 1]];
  const [kb, n] = transB ? [b.shape[b.rank - 1], b.shape[b.rank - 2]] : [b.shape[b.rank - 2], b.shape[b.rank - 1]];
  if (ka !== kb) {
    throw new TypeError(
      `matmul: inner sizes differ: ${formatShape(a.shape)}${transA ? "^T" : ""} x ${formatShape(b.shape)}${
        transB ? "^T" : ""
      } has ${ka} and ${kb}`,
    );
  }
  const aLead = a.shape.slice(0, -2), bLead = b.shape.slice(0, -2);
  const aBatch = sizeOf(aLead), bBatch = sizeOf(bLead);
  const sameLead = aLead.length === bLead.length && aLead.every((d, i) => d === bLead[i]);
  if (!sameLead && aBatch !== 1 && bBatch !== 1) {
    throw new TypeError(
      `matmul: batch dimensions must agree or be 1 on one side, got ${formatShape(a.shape)} and ${
        formatShape(b.shape)
      }`,
    );
  }
  const lead = bBatch === 1 && aLead.length >= bLead.length ? aLead : aBatch === 1 ? bLead : aLead;
  return { m, n, k: ka, lead, batch: Math.max(aBatch, bBatch), aBatch, bBatch };
}

export const matmulOp: Op<{ a: Tensor; b: Tensor }, MatmulParams> = defineOp({
  name: "matmul",
  infer({ a, b }: { a: Tensor; b: Tensor }, params: MatmulParams): TensorSpec[] {
    const { m, n, lead } = matmulSizes(a, b, params);
    return [{ shape: [...lead, m, n], dtype: "f32" }];
  },
  forward(device, { a, b }, [out], params) {
    const { m, n, k, batch, aBatch, bBatch } = matmulSizes(a, b, params);
    device.run("matmul", {
      a: a.storage,
      b: b.storage,
      out: out.storage,
      batch,
      m,
      n,
      k,
      aBatchStride: aBatch === 1 ? 0 : m * k,
      bBatchStride: bBatch === 1 ? 0 : k * n,
      ...params,
      packed: false,
      bType: "f32",
      epilogue: { activation: "none" },
    });
  },
  gradient: ({ inputs: { a, b }, upstream: [g], params: { transA, transB }, needs }) => ({
    a: needs.a
      ? sumTo(transA ? matmul(b, g, { transA: transB, transB: true }) : matmul(g, b, { transB: !transB }), a.shape)
      : undefined,
    b: needs.b
      ? sumTo(transB ? matmul(g, a, { transA: true, transB: transA }) : matmul(a, g, { transA: !transA }), b.shape)
      : undefined,
  }),
  saves: (needs) => [...(needs.a ? ["b"] : []), ...(needs.b ? ["a"] : [])],
});

/** Options of `matmul`. */
export interface MatmulOptions {
  /** a is [..., k, m] (default false). */
  readonly transA?: boolean;
  /** b is [..., n, k] (default false). */
  readonly transB?: boolean;
}

/**
 * a[..., m, k] b[..., k, n] -> [..., m, n], f32. Leading dimensions must agree, or be 1 in all on one side.
 * Throws TypeError when shapes do not fit.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  return apply(matmulOp, { a, b }, { transA: options.transA ?? false, transB: options.transB ?? false });
}
