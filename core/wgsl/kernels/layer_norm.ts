/**
 * Layer norm of rows, with weights, with the per-row scale and shift of adaLN, or plain; and scaling to unit length.
 * Variance is the mean of squared deviations, in a second pass over the row.
 */
import type { Kernels, RowTable } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program, ScalarType } from "../program.ts";
import { rowGroups, rowKernel, rowTableFunction, type RowTiles, rowTilesFor } from "./row_kernel.ts";

type Width = 1 | 4;
const sumOf = (width: Width, v: string) => width === 4 ? `((${v}.x + ${v}.y) + (${v}.z + ${v}.w))` : v;
const arrayOf = (width: Width) => width === 4 ? "array<vec4f>" : "array<f32>";
const typeOf = (width: Width) => width === 4 ? "vec4f" : "f32";

interface Parts {
  readonly affine: boolean;
  readonly scale: boolean;
  readonly shift: boolean;
}

function program(tiles: RowTiles, width: Width, parts: Parts): Program {
  const used = Object.entries(parts).filter(([, on]) => on).map(([name]) => name);
  return {
    kernel: "layerNorm",
    variant: [tiles, width, ...used].join(),
    build: () => {
      const tables = used.filter((name) => name !== "affine");
      const params: Record<string, ScalarType> = { rows: "u32", n: "u32", eps: "f32", gammaOn: "u32", betaOn: "u32" };
      for (const name of tables) {
        for (const field of ["Seq", "Batch", "Row", "Offset"]) params[name + field] = "u32";
      }
      const read = { type: arrayOf(width), access: "read" } as const;
      return {
        params,
        buffers: {
          x: read,
          ...(parts.affine ? { gamma: read, beta: read } : {}),
          ...(parts.scale ? { scale: read } : {}),
          ...(parts.shift ? { shift: read } : {}),
          out: { type: arrayOf(width), access: "write" },
        },
        code: tables.map(rowTableFunction).join("") + rowKernel(
          tiles,
          `
  let n = p.n / ${width}u;
  let base = r * n;
  var sums = ${typeOf(width)}(0.0);
  for (var i = first; i < n; i += step) { sums += x[base + i]; }
  let mean = rowSum(${sumOf(width, "sums")}) / f32(p.n);
  var squares = ${typeOf(width)}(0.0);
  for (var i = first; i < n; i += step) { let d = x[base + i] - mean; squares += d * d; }
  let rstd = 1.0 / sqrt(rowSum(${sumOf(width, "squares")}) / f32(p.n) + p.eps);
  ${parts.scale ? `let scaleAt = atScale(r) / ${width}u;` : ""}
  ${parts.shift ? `let shiftAt = atShift(r) / ${width}u;` : ""}
  for (var i = first; i < n; i += step) {
    var y = (x[base + i] - mean) * rstd;
    ${parts.affine ? "if (p.gammaOn != 0u) { y *= gamma[i]; }\n    if (p.betaOn != 0u) { y += beta[i]; }" : ""}
    ${parts.scale ? "y *= 1.0 + scale[scaleAt + i];" : ""}
    ${parts.shift ? "y += shift[shiftAt + i];" : ""}
    out[base + i] = y;
  }`,
        ),
      };
    },
  };
}

/** Parameters of a RowTable as rowTableFunction reads them. */
export function tableParams(name: string, table: RowTable | undefined): Record<string, number> {
  return {
    [`${name}Seq`]: table ? Math.max(1, table.seq) : 1,
    [`${name}Batch`]: table?.batchStride ?? 0,
    [`${name}Row`]: table?.rowStride ?? 0,
    [`${name}Offset`]: table?.offset ?? 0,
  };
}

/** True when every row of the table starts at a multiple of 4 elements. */
export function tableIsAligned(table: RowTable | undefined): boolean {
  return !table || (table.batchStride % 4 === 0 && table.rowStride % 4 === 0 && table.offset % 4 === 0);
}

export function layerNorm(gpu: Context, args: Kernels["layerNorm"]): void {
  const { x, out, rows, n, eps, gamma, beta, scale, shift } = args;
  if (rows * n === 0) return;
  const width = n % 4 === 0 && tableIsAligned(scale) && tableIsAligned(shift) ? 4 : 1;
  const tiles = rowTilesFor(gpu, n);
  const affine = gamma !== undefined || beta !== undefined;
  gpu.dispatch(
    program(tiles, width, { affine, scale: !!scale, shift: !!shift }),
    {
      x,
      out,
      ...(affine ? { gamma: gamma ?? gpu.empty, beta: beta ?? gpu.empty } : {}),
      ...(scale ? { scale: scale.data } : {}),
      ...(shift ? { shift: shift.data } : {}),
    },
    {
      rows,
      n,
      eps,
      gammaOn: gamma ? 1 : 0,
      betaOn: beta ? 1 : 0,
      ...tableParams("scale", scale),
      ...tableParams("shift", shift),
    },
    rowGroups(tiles, rows),
  );
}

function normalizeProgram(tiles: RowTiles, width: Width): Program {
  return {
    kernel: "l2Normalize",
    variant: `${tiles},${width}`,
    build: () => ({
      params: { rows: "u32", n: "u32", eps: "f32" },
      buffers: { x: { type: arrayOf(width), access: "read" }, out: { type: arrayOf(width), access: "write" } },
      code: rowKernel(
        tiles,
        `
  let n = p.n / ${width}u;
  let base = r * n;
  var squares = ${typeOf(width)}(0.0);
  for (var i = first; i < n; i += step) { let v = x[base + i]; squares += v * v; }
  let norm = max(sqrt(rowSum(${sumOf(width, "squares")})), p.eps);
  for (var i = first; i < n; i += step) { out[base + i] = x[base + i] / norm; }`,
      ),
    }),
  };
}

export function l2Normalize(gpu: Context, { x, out, rows, n, eps }: Kernels["l2Normalize"]): void {
  if (rows * n === 0) return;
  const tiles = rowTilesFor(gpu, n);
  gpu.dispatch(
    normalizeProgram(tiles, n % 4 === 0 ? 4 : 1),
    { x, out },
    { rows, n, eps },
    rowGroups(tiles, rows),
  );
}
