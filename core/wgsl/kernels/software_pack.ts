/**
 * Packs operands into the textures that software_tile.ts reads: weights once, at load, activations on every call.
 * Rows of activations of whole multiples of 256 bytes are copied directly, others through a padded copy.
 */
import type { Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Texture } from "../pool.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { blockColumns, type ColumnTile, type ImageLayout, packedWidth } from "./software_tile.ts";

/** Where element (column, tap, channel) of a right operand is stored. Offsets count elements. */
interface Columns {
  readonly n: number;
  readonly channels: number;
  readonly taps: number;
  readonly batch: number;
  readonly batchStride: number;
  readonly columnStride: number;
  readonly channelStride: number;
  /** May be negative, with a matching offset. */
  readonly tapStride: number;
  /** Of the first element (default 0). */
  readonly offset?: number;
}

/** Rows of the texture that holds `batch` packed right operands. */
export function packedRows(n: number, channels: number, taps: number, tile: ColumnTile, batch = 1): number {
  const blocks = Math.ceil(n / blockColumns(tile));
  return Math.ceil(batch * blocks * taps * Math.ceil(channels / 4) * blockColumns(tile) / packedWidth(tile));
}

/**
 * Each thread writes one texel: see the layout at `tileCode` in software_tile.ts. `four`: the four channels of a texel
 * are neighbours in x, and one load.
 */
function packProgram(tile: ColumnTile, xType: "f32" | "f16", outType: "f32" | "f16", four: boolean): Program {
  const { columns, across } = tile;
  const f16 = xType === "f16";
  const type = four ? (f16 ? "array<vec2u>" : "array<vec4f>") : f16 ? "array<u32>" : "array<f32>";
  const load = f16 ? "vec4f(unpack2x16float(x[at / 4u].x), unpack2x16float(x[at / 4u].y))" : "x[at / 4u]";
  return {
    kernel: "pack",
    variant: `texels,${columns}x${across},${xType},${outType}${four ? ",4" : ""}`,
    build: () => ({
      params: {
        perBlock: "u32",
        n: "u32",
        c4: "u32",
        channels: "u32",
        blocks: "u32",
        batchStride: "u32",
        columnStride: "u32",
        channelStride: "u32",
        tapStride: "u32",
        offset: "u32",
      },
      buffers: {
        x: { type, access: "read" },
        out: { type: outType === "f16" ? "array<vec2u>" : "array<vec4f>", access: "write" },
      },
      code: `
${
        four
          ? `fn fourOf(at: u32, channel: u32) -> vec4f { return ${load}; }`
          : `fn element(at: u32) -> f32 { return ${f16 ? "unpack2x16float(x[at / 2u])[at % 2u]" : "x[at]"}; }
fn fourOf(at: u32, channel: u32) -> vec4f {
  var v = vec4f(0.0);
  for (var e = 0u; e < 4u; e++) {
    if (channel + e < p.channels) { v[e] = element(at + e * p.channelStride); }
  }
  return v;
}`
      }
// Grid: x = texels of a block, y = block, z = batch. Integer divisions are slow on processors, and this needs only one.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let i = wid.x * 64u + lid;
  if (i >= p.perBlock) { return; }
  let j = (i / ${across}u) % ${columns}u;
  let q = i / ${across * columns}u;
  let column = wid.y * ${across * columns}u + (j / 4u) * ${across * 4}u + (i % ${across}u) * 4u + j % 4u;
  var tap = 0u;
  if (p.c4 * ${across * columns}u < p.perBlock) { tap = q / p.c4; }
  let channel = (q - tap * p.c4) * 4u;
  // Arithmetic wraps around, so a negative stride counts down.
  let start = p.offset + wid.z * p.batchStride + column * p.columnStride + tap * p.tapStride;
  var v = vec4f(0.0);
  if (column < p.n) { v = fourOf(start + channel * p.channelStride, channel); }
  out[(wid.z * p.blocks + wid.y) * p.perBlock + i] = ${
        outType === "f16" ? "vec2u(pack2x16float(v.xy), pack2x16float(v.zw))" : "v"
      };
}`,
    }),
  };
}

/** Writes the texels of a right operand into a buffer of packedRows rows of packedWidth texels. */
export function packColumns(
  gpu: Context,
  x: Storage,
  out: Storage,
  tile: ColumnTile,
  columns: Columns,
  xType: "f32" | "f16",
  outType: "f32" | "f16",
): void {
  const { n, channels, taps, batch } = columns;
  const c4 = Math.ceil(channels / 4);
  const blocks = Math.ceil(n / blockColumns(tile));
  const perBlock = taps * c4 * blockColumns(tile);
  const { batchStride, columnStride, channelStride, tapStride, offset = 0 } = columns;
  const four = channelStride === 1 &&
    [channels, batchStride, columnStride, tapStride, offset].every((v) => v % 4 === 0);
  gpu.dispatch(
    packProgram(tile, xType, outType, four),
    { x, out },
    { perBlock, n, c4, channels, blocks, batchStride, columnStride, channelStride, tapStride: tapStride >>> 0, offset },
    [Math.ceil(perBlock / 64), blocks, batch],
  );
}

/** out[z, row, 0..pitch) = a[z, row, :] followed by zeros, a with any strides, in units of four. */
const padProgram: Program = {
  kernel: "pack",
  variant: "rows",
  build: () => ({
    params: {
      count: "u32",
      rows: "u32",
      n: "u32",
      pitch4: "u32",
      batchStride: "u32",
      rowStride: "u32",
      columnStride: "u32",
    },
    buffers: { x: { type: "array<f32>", access: "read" }, out: { type: "array<vec4f>", access: "write" } },
    code: perItem(
      64,
      "p.count",
      `let column = (i % p.pitch4) * 4u;
  let line = i / p.pitch4;
  var at = (line / p.rows) * p.batchStride + (line % p.rows) * p.rowStride + column * p.columnStride;
  var v = vec4f(0.0);
  for (var e = 0u; e < 4u; e++) {
    if (column + e < p.n) { v[e] = x[at]; }
    at += p.columnStride;
  }
  out[i] = v;`,
    ),
  }),
};

interface Rows {
  readonly rows: number;
  readonly n: number;
  readonly batch: number;
  readonly batchStride: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A copy of rows with strides as contiguous rows of `pitch` elements (a multiple of 4), padded with zeros. */
export function padRows(gpu: Context, x: Storage, from: Rows, pitch: number): Storage {
  const { rows, n, batch, batchStride, rowStride, columnStride } = from;
  const out = gpu.scratch(batch * rows * pitch * 4);
  const count = batch * rows * pitch / 4;
  gpu.dispatch(
    padProgram,
    { x, out },
    { count, rows, n, pitch4: pitch / 4, batchStride, rowStride, columnStride },
    linearGroups(Math.ceil(count / 64)),
  );
  return out;
}

interface Images {
  readonly batch: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  /** Pixels of zeros on every side. */
  readonly border: number;
}

/** Layout of images in a texture, `perTexture` of them; undefined when not even one fits. */
export function planImages(
  maxSide: number,
  { h, w, c, border }: Images,
): { layout: ImageLayout; perTexture: number } | undefined {
  const c4 = Math.ceil(c / 4);
  const lineWidth = w + 2 * border;
  const segment = Math.min(lineWidth, Math.floor(maxSide / c4));
  if (segment === 0) return undefined;
  const rowsPerLine = Math.ceil(lineWidth / segment);
  const imageRows = (h + 2 * border) * rowsPerLine;
  const perTexture = Math.floor(maxSide / imageRows);
  if (perTexture === 0) return undefined;
  return { layout: { c4, border, segment, rowsPerLine, imageRows }, perTexture };
}

/**
 * Copies `count` NHWC images from image `from` on into a texture with zeros around them. Free it with `freeTexture`.
 */
export function imagesToTexture(
  gpu: Context,
  x: Storage,
  images: Images,
  layout: ImageLayout,
  from: number,
  count: number,
): Texture {
  const { h, w, c } = images;
  const { c4, border, segment, rowsPerLine, imageRows } = layout;
  const texture = gpu.allocTexture(
    segment * c4,
    count * imageRows,
    "rgba32float",
    `images ${h}x${w}x${c} border ${border}`,
  );
  let source = x;
  let firstImage = from;
  let lineBytes = w * c * 4;
  if (c % 4 !== 0) {
    source = padRows(gpu, x, rowsOf(images.batch * h * w, c), c4 * 4);
    lineBytes = w * c4 * 16;
  }
  if (h > 1 && lineBytes % 256 !== 0) {
    const unpadded = source;
    const pitch = Math.ceil(lineBytes / 256) * 64;
    source = padRows(gpu, unpadded, rowsOf(images.batch * h, lineBytes / 4), pitch);
    if (unpadded !== x) gpu.free(unpadded);
    lineBytes = pitch * 4;
  }
  // A line of pixels is cut where a texture row ends; the part of it in row s starts at pixel s * segment - border.
  for (let image = 0; image < count; image++, firstImage++) {
    for (let s = 0; s < rowsPerLine; s++) {
      const begin = Math.max(0, s * segment - border);
      const end = Math.min(w, (s + 1) * segment - border);
      if (end <= begin) continue;
      for (let line = 0; line < (rowsPerLine === 1 ? 1 : h); line++) {
        gpu.copyToTexture(source, (firstImage * h + line) * lineBytes + begin * c4 * 16, lineBytes, texture, {
          x: (begin + border - s * segment) * c4,
          y: image * imageRows + (line + border) * rowsPerLine + s,
          texels: (end - begin) * c4,
          rows: rowsPerLine === 1 ? h : 1,
        });
      }
    }
  }
  if (source !== x) gpu.free(source);
  return texture;
}

function rowsOf(rows: number, n: number): Rows {
  return { rows, n, batch: 1, batchStride: 0, rowStride: n, columnStride: 1 };
}
