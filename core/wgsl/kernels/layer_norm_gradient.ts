/**
 * Gradients of layer norm: a pass along rows for dx, and one down blocks of rows for gamma and beta. The statistics are
 * recomputed as in layer_norm.ts.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program, type ScalarType } from "../program.ts";
import { arrayOf, typeOf, type Width } from "./group_norm.ts";
import { tableIsAligned, tableParams } from "./layer_norm.ts";
import { reduce } from "./reduce.ts";
import { rowGroups, rowKernel, rowTableFunction, type RowTiles, rowTilesFor } from "./row_kernel.ts";

/** Rows that one thread sums for gamma and beta. */
const blockRows = 64;

const sumOf = (width: Width, v: string) => width === 4 ? `((${v}.x + ${v}.y) + (${v}.z + ${v}.w))` : v;

interface Parts {
  readonly gamma: boolean;
  readonly beta: boolean;
  readonly scale: boolean;
  readonly dx: boolean;
  readonly dScale: boolean;
  /** Mean and 1 / deviation of every row are kept for the sums. */
  readonly moments: boolean;
}

const namesOf = (parts: object) => Object.entries(parts).filter(([, on]) => on).map(([name]) => name);

function scaleParams(scale: boolean): Record<string, ScalarType> {
  return scale ? { scaleSeq: "u32", scaleBatch: "u32", scaleRow: "u32", scaleOffset: "u32" } : {};
}

function rowsProgram(tiles: RowTiles, width: Width, parts: Parts): Program {
  const { gamma, beta, scale, dx, dScale, moments } = parts;
  return {
    kernel: "layerNormGradient",
    variant: ["rows", tiles, width, ...namesOf(parts)].join(),
    build: () => {
      const read = { type: arrayOf(width), access: "read" } as const;
      const write = { type: arrayOf(width), access: "write" } as const;
      const u = `upstream[base + i]${scale ? " * (1.0 + scale[scaleAt + i])" : ""}${gamma ? " * gamma[i]" : ""}`;
      return {
        params: { rows: "u32", n: "u32", eps: "f32", ...scaleParams(scale) },
        buffers: {
          x: read,
          upstream: read,
          ...(gamma ? { gamma: read } : {}),
          ...(beta ? { beta: read } : {}),
          ...(scale ? { scale: read } : {}),
          ...(dx ? { dx: write } : {}),
          ...(dScale ? { dScale: write } : {}),
          ...(moments ? { moments: { type: "array<vec2f>", access: "write" } } as const : {}),
        },
        code: (scale ? rowTableFunction("scale") : "") + rowKernel(
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
  ${moments ? "if (lead) { moments[r] = vec2f(mean, rstd); }" : ""}
  ${scale && dx ? `let scaleAt = atScale(r) / ${width}u;` : ""}
  ${
            dScale
              ? `for (var i = first; i < n; i += step) {
    let y = (x[base + i] - mean) * rstd;
    dScale[base + i] = upstream[base + i] * (y${gamma ? " * gamma[i]" : ""}${beta ? " + beta[i]" : ""});
  }`
              : ""
          }
  ${
            dx
              ? `var total = ${typeOf(width)}(0.0);
  var product = ${typeOf(width)}(0.0);
  for (var i = first; i < n; i += step) {
    let u = ${u};
    total += u;
    product += u * ((x[base + i] - mean) * rstd);
  }
  let m1 = rowSum(${sumOf(width, "total")}) / f32(p.n);
  let m2 = rowSum(${sumOf(width, "product")}) / f32(p.n);
  for (var i = first; i < n; i += step) {
    dx[base + i] = (${u} - m1 - ((x[base + i] - mean) * rstd) * m2) * rstd;
  }`
              : ""
          }`,
        ),
      };
    },
  };
}

/** `slopes` and `sums` [blocks, n]: of upstream * (1 + scale) * y and upstream * (1 + scale) over blocks of rows. */
function sumsProgram(tiles: Context["tiles"], width: Width, scale: boolean): Program {
  const read = { type: arrayOf(width), access: "read" } as const;
  const write = { type: arrayOf(width), access: "write" } as const;
  return {
    kernel: "layerNormGradient",
    variant: `sums,${tiles},${width}${scale ? ",scale" : ""}`,
    build: () => ({
      params: { count: "u32", rows: "u32", n: "u32", ...scaleParams(scale) },
      buffers: {
        x: read,
        upstream: read,
        moments: { type: "array<vec2f>", access: "read" },
        ...(scale ? { scale: read } : {}),
        slopes: write,
        sums: write,
      },
      code: (scale ? rowTableFunction("scale") : "") + perItem(
        loopThreads[tiles],
        "p.count",
        `let n = p.n / ${width}u;
  let column = i % n;
  let firstRow = i / n * ${blockRows}u;
  let end = min(firstRow + ${blockRows}u, p.rows);
  var slope = ${typeOf(width)}(0.0);
  var sum = ${typeOf(width)}(0.0);
  for (var r = firstRow; r < end; r++) {
    let at = r * n + column;
    let u = upstream[at]${scale ? ` * (1.0 + scale[atScale(r) / ${width}u + column])` : ""};
    sum += u;
    slope += u * ((x[at] - moments[r].x) * moments[r].y);
  }
  slopes[i] = slope;
  sums[i] = sum;`,
      ),
    }),
  };
}

export function layerNormGradient(gpu: Context, args: Kernels["layerNormGradient"]): void {
  const { x, upstream, dx, dGamma, dBeta, dScale, rows, n, eps, gamma, beta, scale } = args;
  if (n === 0) return;
  const width = n % 4 === 0 && tableIsAligned(scale) ? 4 : 1;
  const summed = dGamma !== undefined || dBeta !== undefined;
  const moments = summed ? gpu.scratch(rows * 8) : undefined;
  const table = scale ? tableParams("scale", scale) : {};
  const tiles = rowTilesFor(gpu, n);
  // A thread per row reads one row of gamma; buffers that are not read must not be bound.
  const withGamma = gamma !== undefined && (dx !== undefined || dScale !== undefined);
  const withBeta = beta !== undefined && dScale !== undefined;
  const withScale = scale !== undefined && dx !== undefined;
  gpu.dispatch(
    rowsProgram(tiles, width, {
      ...{ gamma: withGamma, beta: withBeta, scale: withScale },
      ...{ dx: dx !== undefined, dScale: dScale !== undefined, moments: summed },
    }),
    {
      ...{ x, upstream },
      ...(withGamma ? { gamma } : {}),
      ...(withBeta ? { beta } : {}),
      ...(withScale ? { scale: scale.data } : {}),
      ...(dx ? { dx } : {}),
      ...(dScale ? { dScale } : {}),
      ...(moments ? { moments } : {}),
    },
    { rows, n, eps, ...(withScale ? table : {}) },
    rowGroups(tiles, rows),
  );
  if (!moments) return;
  const blocks = Math.ceil(rows / blockRows);
  const slopes = gpu.scratch(blocks * n * 4), sums = gpu.scratch(blocks * n * 4);
  const count = blocks * n / width;
  gpu.dispatch(
    sumsProgram(gpu.tiles, width, scale !== undefined),
    { x, upstream, moments, ...(scale ? { scale: scale.data } : {}), slopes, sums },
    { count, rows, n, ...table },
    linearGroups(Math.ceil(count / loopThreads[gpu.tiles])),
  );
  if (dGamma) reduce(gpu, { op: "sum", x: slopes, out: dGamma, outer: 1, n: blocks, inner: n });
  if (dBeta) reduce(gpu, { op: "sum", x: sums, out: dBeta, outer: 1, n: blocks, inner: n });
  for (const storage of [moments, slopes, sums]) gpu.free(storage);
}
