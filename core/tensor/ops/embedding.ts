/**
 * Table look-ups: rows of a table by index, and its inverse, the index of the nearest row.
 */
import { apply, defineOp, expectShape, expectType, type Op, type TensorSpec } from "../op.ts";
import { arange } from "../create.ts";
import { scope } from "../scope.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { cast, equal } from "./elementwise.ts";
import { matmul } from "./matmul.ts";

export const embeddingOp: Op<{ table: Tensor; index: Tensor }, null> = defineOp({
  name: "embedding",
  infer({ table, index }: { table: Tensor; index: Tensor }): TensorSpec[] {
    expectType("embedding", "table", table, "f32", "f16", "i32");
    expectType("embedding", "index", index, "i32");
    if (table.rank !== 2) throw new TypeError(`embedding: table expects [rows, n], got ${formatShape(table.shape)}`);
    return [{ shape: [...index.shape, table.shape[1]], dtype: table.dtype === "i32" ? "i32" : "f32" }];
  },
  forward(device, { table, index }, [out]) {
    device.run("gatherRows", {
      x: table.storage,
      index: index.storage,
      out: out.storage,
      rows: index.size,
      rowsX: table.shape[0],
      n: table.shape[1],
      xType: table.dtype as "f32" | "f16" | "i32",
    });
  },
  gradient: ({ inputs: { table, index }, upstream: [g] }) => {
    const [rows, n] = table.shape;
    const chosen = oneHot(index, rows).reshape(index.size, rows);
    return { table: matmul(chosen, g.reshape(index.size, n), { transA: true }) };
  },
  saves: ["index"],
});

/**
 * Rows of table[rows, n] (f32, f16 or i32) by index[...] (i32, clamped to the table): [..., n], i32 for an i32 table,
 * else f32. Throws TypeError when types or shapes do not fit.
 */
export const embedding = (table: Tensor, index: Tensor): Tensor => apply(embeddingOp, { table, index }, null);

export const nearestCodeOp: Op<{ x: Tensor; codebook: Tensor }, null> = defineOp({
  name: "nearestCode",
  infer({ x, codebook }: { x: Tensor; codebook: Tensor }): TensorSpec[] {
    expectType("nearestCode", "x", x, "f32");
    expectType("nearestCode", "codebook", codebook, "f32");
    expectShape("nearestCode", "codebook", codebook, [-1, x.shape[x.rank - 1]]);
    return [{ shape: x.shape.slice(0, -1), dtype: "i32" }];
  },
  forward(device, { x, codebook }, [out]) {
    device.run("nearestCode", {
      x: x.storage,
      codebook: codebook.storage,
      out: out.storage,
      rows: out.size,
      codes: codebook.shape[0],
      c: codebook.shape[1],
    });
  },
  gradient: "the result is an index",
});

/** 1 where a class is the indexed one, 0 elsewhere: index[...] (i32) -> [..., classes] f32. */
export function oneHot(index: Tensor, classes: number): Tensor {
  return scope(() => equal(cast(index, "f32").reshape(...index.shape, 1), cast(arange(index.device, classes), "f32")));
}

/**
 * Index (i32) of the code of codebook[codes, c] nearest to each x[..., c] by squared distance, the first one on ties.
 * Throws TypeError when shapes do not fit.
 */
export const nearestCode = (x: Tensor, codebook: Tensor): Tensor => apply(nearestCodeOp, { x, codebook }, null);
