/**
 * Modulation of activations by rows of an adaLN table: how kernels read the table in place, and its gradient.
 * linear.ts gates with it, norm.ts scales and shifts.
 */
import type { RowTable } from "../kernels.ts";
import { expectType } from "../op.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./broadcast.ts";
import { pad, slice } from "./shape.ts";

/**
 * One chunk of an adaLN table [batch or 1, rows or 1, chunks, n], which scales, shifts or gates activations
 * [batch, rows, n]. The table is read in place. It may have more rows than the activations.
 */
export interface Modulation {
  /** [batch or 1, rows or 1, chunks, n], f32. */
  readonly table: Tensor;
  /** Which chunk, from 0. */
  readonly chunk: number;
  /** The table's row for the first row of activations (default 0). */
  readonly row?: number;
}

/** The numbers of a modulation, as op parameters; the table itself is an input of the op. */
export interface ModulationPosition {
  readonly chunk: number;
  readonly row: number;
}

/** The numbers of a modulation; zeros where there is none. */
export function modulationPosition(modulation: Modulation | undefined): ModulationPosition {
  return { chunk: modulation?.chunk ?? 0, row: modulation?.row ?? 0 };
}

/**
 * How kernels read a modulation of x[batch, rows, ...] with n columns. Throws TypeError when the table does not fit.
 */
export function rowTable(
  op: string,
  name: string,
  { table, chunk, row }: { readonly table: Tensor } & ModulationPosition,
  x: Tensor,
  n: number,
): RowTable {
  expectType(op, name, table, "f32");
  if (x.rank !== 3) throw new TypeError(`${op}: ${name} needs x of rank 3, got ${formatShape(x.shape)}`);
  const [batch, rows] = x.shape;
  const [tableBatch, tableRows, chunks, tableN] = table.shape;
  const fits = table.rank === 4 && (tableBatch === 1 || tableBatch === batch) &&
    (tableRows === 1 || row + rows <= tableRows) && tableN === n && chunk >= 0 && chunk < chunks;
  if (!fits) {
    throw new TypeError(
      `${op}: ${name} expects a table [1 or ${batch}, 1 or >= ${row + rows}, > ${chunk}, ${n}], got ${
        formatShape(table.shape)
      }`,
    );
  }
  return {
    data: table.storage,
    seq: rows,
    batchStride: tableBatch === 1 ? 0 : tableRows * chunks * n,
    rowStride: tableRows === 1 ? 0 : chunks * n,
    offset: ((tableRows === 1 ? 0 : row) * chunks + chunk) * n,
  };
}

/** The part of a table that modulates `rows` rows of activations, as a tensor [1 or batch, 1 or rows, n]. */
export function modulationRows(table: Tensor, { chunk, row }: ModulationPosition, rows: number): Tensor {
  const [batch, tableRows, , n] = table.shape;
  const part = tableRows === 1 ? table : slice(table, 1, row, row + rows);
  return slice(part, 2, chunk, chunk + 1).reshape(batch, part.shape[1], n);
}

/** The gradient of a whole table, given that of its factor or summand in each activation: g[batch, rows, n]. */
export function modulationGradient(table: Tensor, { chunk, row }: ModulationPosition, g: Tensor): Tensor {
  const [batch, tableRows, chunks, n] = table.shape;
  const used = tableRows === 1 ? 1 : g.shape[1];
  const part = sumTo(g, [batch, used, n]).reshape(batch, used, 1, n);
  const start = tableRows === 1 ? 0 : row;
  return pad(part, [[0, 0], [start, tableRows - start - used], [chunk, chunks - chunk - 1], [0, 0]]);
}
