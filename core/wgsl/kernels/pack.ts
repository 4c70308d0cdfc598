/**
 * Re-lays weights once, at load, into the order in which the matrix kernels read them.
 * For hardware adapters a linear weight x[n, k] becomes [k, n padded to 4], a convolution weight x[cOut, cIn, kh, kw]
 * becomes [kh, kw, cIn, cOut padded to 4], padded with zeros; for software adapters both become textures.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { packColumns, packedRows } from "./software_pack.ts";
import { columnTileFor, packedWidth } from "./software_tile.ts";

/** Columns of a packed weight. */
export function paddedColumns(n: number): number {
  return Math.ceil(n / 4) * 4;
}

export function packedBytes(
  tiles: Context["tiles"],
  role: "linear" | "conv",
  shape: readonly number[],
  dtype: "f32" | "f16",
): number {
  const [n, ...rest] = shape;
  const expected = role === "linear" ? 2 : 4;
  if (shape.length !== expected) {
    throw new Error(`packedBytes: a ${role} weight has ${expected} dimensions, got [${shape.join(", ")}]`);
  }
  if (tiles === "software") {
    const taps = role === "conv" ? shape[2] * shape[3] : 1;
    const tile = columnTileFor(n);
    return packedRows(n, shape[1], taps, tile) * packedWidth(tile) * (dtype === "f16" ? 8 : 16);
  }
  return paddedColumns(n) * rest.reduce((a, b) => a * b, 1) * (dtype === "f16" ? 2 : 4);
}

/** Row `t` of the packed weight reads x at `column * columnStride + offset(t)`; each thread writes 4 columns. */
function program(xType: "f32" | "f16", outType: "f32" | "f16"): Program {
  return {
    kernel: "pack",
    variant: `${xType},${outType}`,
    build: () => ({
      params: { count: "u32", quads: "u32", n: "u32", columnStride: "u32", taps: "u32" },
      buffers: {
        x: { type: xType === "f16" ? "array<u32>" : "array<f32>", access: "read" },
        out: { type: outType === "f16" ? "array<vec2u>" : "array<vec4f>", access: "write" },
      },
      code: `
fn element(at: u32) -> f32 { return ${xType === "f16" ? "unpack2x16float(x[at / 2u])[at % 2u]" : "x[at]"}; }
${
        perItem(
          64,
          "p.count",
          `let column = (i % p.quads) * 4u;
  let row = i / p.quads;
  let channels = p.columnStride / p.taps;
  let offset = (row % channels) * p.taps + row / channels;
  var v = vec4f(0.0);
  for (var j = 0u; j < 4u; j++) {
    if (column + j < p.n) { v[j] = element((column + j) * p.columnStride + offset); }
  }
  out[i] = ${outType === "f16" ? "vec2u(pack2x16float(v.xy), pack2x16float(v.zw))" : "v"};`,
        )
      }`,
    }),
  };
}

/** `taps`: positions of a convolution kernel, 1 for a linear weight; channels are `rowsK / taps`. */
function pack(
  gpu: Context,
  args: Pick<Kernels["packLinear"], "x" | "out" | "xType" | "outType">,
  n: number,
  rowsK: number,
  taps: number,
): void {
  const quads = paddedColumns(n) / 4;
  const count = quads * rowsK;
  if (count === 0) return;
  gpu.dispatch(
    program(args.xType, args.outType),
    { x: args.x, out: args.out },
    { count, quads, n, columnStride: rowsK, taps },
    linearGroups(Math.ceil(count / 64)),
  );
}

/** Packs into the storage's buffer, and moves that into a texture. */
function packTexture(
  gpu: Context,
  { x, out, xType, outType }: Pick<Kernels["packLinear"], "x" | "out" | "xType" | "outType">,
  n: number,
  channels: number,
  taps: number,
): void {
  if (n * channels * taps === 0) return;
  const tile = columnTileFor(n);
  const rows = packedRows(n, channels, taps, tile);
  if (rows > gpu.maxTextureSide) throw new Error(`pack: a weight of [${n}, ${channels}, ${taps}] is too large`);
  packColumns(
    gpu,
    x,
    out,
    tile,
    {
      n,
      channels,
      taps,
      batch: 1,
      batchStride: 0,
      columnStride: channels * taps,
      channelStride: taps,
      tapStride: 1,
    },
    xType,
    outType,
  );
  gpu.moveToTexture(out, packedWidth(tile), rows, outType === "f16" ? "rgba16float" : "rgba32float");
}

export function packLinear(gpu: Context, args: Kernels["packLinear"]): void {
  if (gpu.tiles === "software") packTexture(gpu, args, args.n, args.k, 1);
  else pack(gpu, args, args.n, args.k, 1);
}

export function packConv(gpu: Context, args: Kernels["packConv"]): void {
  const { cOut, cIn, kh, kw } = args;
  if (gpu.tiles === "software") packTexture(gpu, args, cOut, cIn, kh * kw);
  else pack(gpu, args, cOut, cIn * kh * kw, kh * kw);
}
