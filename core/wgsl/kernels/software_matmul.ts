/**
 * Matrix products and convolutions on software adapters: operands in textures, register tiles, then the epilogue.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Texture } from "../pool.ts";
import { applyEpilogue } from "./epilogue.ts";
import { imagesToTexture, packColumns, packedRows, padRows, planImages } from "./software_pack.ts";
import { columnTileFor, type ImageLayout, packedWidth, runTiles } from "./software_tile.ts";

/** Products with fewer multiplications than this are not worth packing an operand. */
const packingPays = 2 ** 18;

/**
 * Layout of [rows, 4 * k4] in a texture: `fold` matrix rows side by side in a texture row of `width` texels. Rows of
 * the copy into it must be multiples of 256 bytes, 16 texels. Undefined when it does not fit.
 */
function foldOf(maxSide: number, rows: number, k4: number): { fold: number; width: number } | undefined {
  let fold = 1;
  while ((fold * k4) % 16 !== 0) fold *= 2;
  while (Math.ceil(rows / fold) > maxSide) fold *= 2;
  if (fold * k4 <= maxSide) return { fold, width: fold * k4 };
  const width = Math.ceil(k4 / 16) * 16;
  return width <= maxSide && rows <= maxSide ? { fold: 1, width } : undefined;
}

/** The left operand [batch, m, k] as a texture, or undefined when it does not fit. */
function leftOperand(gpu: Context, args: Kernels["matmul"], batch: number, m: number) {
  const { a, k, aBatchStride, transA } = args;
  const k4 = Math.ceil(k / 4);
  const plan = foldOf(gpu.maxTextureSide, batch * m, k4);
  if (!plan) return undefined;
  const { fold, width } = plan;
  const lines = Math.ceil(m / fold);
  if (lines * batch > gpu.maxTextureSide) return undefined;
  const rowTexels = width / fold;
  const asItIs = !transA && k === rowTexels * 4 && (batch === 1 || aBatchStride === m * k);
  const source = asItIs ? a : padRows(gpu, a, {
    rows: m,
    n: k,
    batch,
    batchStride: aBatchStride,
    rowStride: transA ? 1 : k,
    columnStride: transA ? m : 1,
  }, rowTexels * 4);
  const texture = gpu.allocTexture(width, lines * batch, "rgba32float", "matrix");
  const whole = Math.floor(m / fold);
  const bytesPerRow = width * 16;
  for (let z = 0; z < batch; z++) {
    const offset = z * m * rowTexels * 16;
    const y = z * lines;
    if (whole > 0) gpu.copyToTexture(source, offset, bytesPerRow, texture, { x: 0, y, texels: width, rows: whole });
    if (m % fold > 0) {
      gpu.copyToTexture(source, offset + whole * bytesPerRow, bytesPerRow, texture, {
        x: 0,
        y: y + whole,
        texels: (m % fold) * rowTexels,
        rows: 1,
      });
    }
  }
  if (source !== a) gpu.free(source);
  const layout: ImageLayout = { c4: k4, border: 0, segment: fold, rowsPerLine: 1, imageRows: lines };
  return { texture, layout, fold, lines };
}

/** A plain right operand, packed for this call. */
function rightOperand(gpu: Context, args: Kernels["matmul"], batch: number): Texture | undefined {
  const { b, n, k, bBatchStride, transB } = args;
  const tile = columnTileFor(n);
  const rows = packedRows(n, k, 1, tile, batch);
  const width = packedWidth(tile);
  const bytes = rows * width * 16;
  if (rows > gpu.maxTextureSide || bytes > 2 ** 27) return undefined;
  const packed = gpu.scratch(bytes);
  packColumns(
    gpu,
    b,
    packed,
    tile,
    {
      n,
      channels: k,
      taps: 1,
      batch,
      batchStride: bBatchStride,
      columnStride: transB ? k : 1,
      channelStride: transB ? 1 : n,
      tapStride: 0,
    },
    "f32",
    "f32",
  );
  const texture = gpu.allocTexture(width, rows, "rgba32float", "weight");
  gpu.copyToTexture(packed, 0, width * 16, texture, { x: 0, y: 0, texels: width, rows });
  gpu.free(packed);
  return texture;
}

/** Returns false for products that are faster by the plain kernel; never for a packed weight. */
export function matmulSoftware(gpu: Context, args: Kernels["matmul"]): boolean {
  const { b, out, packed, n, k, epilogue } = args;
  if (!packed && (args.batch * args.m * n * k < packingPays || args.m < 4) && k < 60000) return false;
  // Batches with a common right operand are one product with more rows.
  const joined = (packed || args.bBatchStride === 0) && !args.transA && args.aBatchStride === args.m * k;
  const batch = joined ? 1 : args.batch;
  const m = joined ? args.batch * args.m : args.m;
  const sharedB = packed || args.bBatchStride === 0;
  const left = leftOperand(gpu, args, batch, m);
  const right = left && (packed ? gpu.textureOf(b, "matmul") : rightOperand(gpu, args, sharedB ? 1 : batch));
  if (!left || !right) {
    if (left) gpu.freeTexture(left.texture);
    if (packed) throw new Error(`matmul: [${m}, ${k}] does not fit into a texture of this adapter`);
    return false;
  }
  runTiles(gpu, columnTileFor(n), {
    a: left.texture,
    layout: left.layout,
    b: right,
    out,
    rows: m,
    outRow: 0,
    n,
    batch,
    sharedB,
    outW: left.fold,
    outH: left.lines,
    kh: 1,
    kw: 1,
    stride: 1,
    upsample: 1,
    padTop: 0,
    padLeft: 0,
  });
  gpu.freeTexture(left.texture);
  if (!packed) gpu.freeTexture(right);
  applyEpilogue(gpu, out, batch * m, n, epilogue);
  return true;
}

export function convSoftware(gpu: Context, args: Kernels["conv2d"]): void {
  const { x, weight, out, bias, residual, activation, batch, h, w, cIn, cOut, kh, kw } = args;
  const { stride, upsample, padTop, padLeft, outH, outW } = args;
  // Pixels by which the outermost taps reach over the edges.
  const over = (outSize: number, taps: number, pad: number, size: number) =>
    Math.max(pad, (outSize - 1) * stride + taps - 1 - pad - (size * upsample - 1), 0);
  const border = Math.ceil(Math.max(over(outH, kh, padTop, h), over(outW, kw, padLeft, w)) / upsample);
  const images = { batch, h, w, c: cIn, border };
  const plan = planImages(gpu.maxTextureSide, images);
  if (!plan) throw new Error(`conv2d: images of [${h}, ${w}, ${cIn}] do not fit into a texture of this adapter`);
  const pixels = outH * outW;
  const perCall = Math.min(batch, plan.perTexture);
  for (let first = 0; first < batch; first += perCall) {
    const count = Math.min(perCall, batch - first);
    const texture = imagesToTexture(gpu, x, images, plan.layout, first, count);
    runTiles(gpu, columnTileFor(cOut), {
      a: texture,
      layout: plan.layout,
      b: gpu.textureOf(weight, "conv2d"),
      out,
      rows: count * pixels,
      outRow: first * pixels,
      n: cOut,
      batch: 1,
      sharedB: true,
      outW,
      outH,
      kh,
      kw,
      stride,
      upsample,
      padTop,
      padLeft,
    });
    gpu.freeTexture(texture);
  }
  applyEpilogue(gpu, out, batch * pixels, cOut, { bias, activation, residual });
}
