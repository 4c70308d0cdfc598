/**
 * Packs weights, once at load, into the order in which matrix kernels read them. For hardware adapters a linear weight
 * x[n, k] becomes [k, n padded to 4], a convolution weight x[cOut, cIn, kh, kw] becomes [kh, kw, cIn, cOut padded to
 * 4], padded with zeros; for software adapters both become textures.
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

/** Each thread writes 4 columns of a row (tap, channel) of the packed weight. */
function program(xType: "f32" | "f16", outType: "f32" | "f16"): Program {
  return {
    kernel: "pack",
    variant: `${xType},${outType}`,
    build: () => ({
      params: {
        ...{ count: "u32", quads: "u32", n: "u32", channels: "u32", offset: "u32" },
        ...{ columnStride: "u32", channelStride: "u32", tapStride: "u32" },
      } as const,
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
  // Arithmetic wraps around, so a negative stride counts down.
  let offset = p.offset + row % p.channels * p.channelStride + row / p.channels * p.tapStride;
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

type PackArgs = Pick<Kernels["packLinear"], "x" | "out" | "xType" | "outType">;

/**
 * Where element (column, tap, channel) of a weight x[n, channels, taps] is, or of a turned one, x[channels, n, taps].
 */
function stridesOf(n: number, channels: number, taps: number, turned: boolean) {
  return turned
    ? { columnStride: taps, channelStride: n * taps, tapStride: -1, offset: taps - 1 }
    : { columnStride: channels * taps, channelStride: taps, tapStride: 1, offset: 0 };
}

/** `taps`: positions of a convolution kernel; 1 for a linear weight. */
function pack(gpu: Context, args: PackArgs, n: number, channels: number, taps: number, turned: boolean): void {
  const quads = paddedColumns(n) / 4;
  const count = quads * channels * taps;
  if (count === 0) return;
  const { tapStride, ...strides } = stridesOf(n, channels, taps, turned);
  gpu.dispatch(
    program(args.xType, args.outType),
    { x: args.x, out: args.out },
    { count, quads, n, channels, ...strides, tapStride: tapStride >>> 0 },
    linearGroups(Math.ceil(count / 64)),
  );
}

/** Packs into the storage's buffer, and moves that into a texture. */
function packTexture(
  gpu: Context,
  { x, out, xType, outType }: PackArgs,
  n: number,
  channels: number,
  taps: number,
  turned: boolean,
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
    { n, channels, taps, batch: 1, batchStride: 0, ...stridesOf(n, channels, taps, turned) },
    xType,
    outType,
  );
  gpu.moveToTexture(out, packedWidth(tile), rows, outType === "f16" ? "rgba16float" : "rgba32float");
}

export function packLinear(gpu: Context, args: Kernels["packLinear"]): void {
  const packed = gpu.tiles === "software" ? packTexture : pack;
  packed(gpu, args, args.n, args.k, 1, false);
}

export function packConv(gpu: Context, args: Kernels["packConv"]): void {
  const { cOut, cIn, kh, kw, turned = false } = args;
  const packed = gpu.tiles === "software" ? packTexture : pack;
  packed(gpu, args, cOut, cIn, kh * kw, turned);
}
