/**
 * Group norm of NHWC activations in three passes: statistics of blocks of pixels per channel, their merge per group
 * into a mean and a factor per channel, and the normalisation itself, with SiLU if wanted.
 *
 * Block statistics are relative to the block's first value, and merged by mean and squared deviation (Chan, Golub and
 * LeVeque 1983). So a mean far from zero costs no accuracy.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program } from "../program.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";

/** Most pixels per thread, and least. */
const blockPixels = { most: 128, least: 16 };
/** Threads that keep a card busy. */
const enoughThreads = 65536;

/** Pixels per thread, for `parallel` threads per block of pixels: fewer on a card where there would be too few threads. */
export function pixelsPerBlock({ tiles }: Context, hw: number, parallel: number): number {
  const { most, least } = blockPixels;
  if (tiles === "software") return most;
  return Math.max(least, Math.min(most, Math.floor(hw * parallel / enoughThreads)));
}

/** Channels per vector. */
export type Width = 1 | 4;
export const widthOf = (c: number): Width => c % 4 === 0 ? 4 : 1;
export const typeOf = (width: Width) => width === 4 ? "vec4f" : "f32";
export const arrayOf = (width: Width) => `array<${typeOf(width)}>`;

/** means, deviations: [batch, blocks, c]; deviations are sums of squared differences from the block's mean. */
function blockProgram(tiles: Context["tiles"], width: Width): Program {
  return {
    kernel: "groupNorm",
    variant: `blocks,${tiles},${width}`,
    build: () => ({
      params: { count: "u32", hw: "u32", c: "u32", blocks: "u32", length: "u32" },
      buffers: {
        x: { type: arrayOf(width), access: "read" },
        means: { type: arrayOf(width), access: "write" },
        deviations: { type: arrayOf(width), access: "write" },
      },
      code: perItem(
        loopThreads[tiles],
        "p.count",
        `let channel = i % p.c;
  let block = (i / p.c) % p.blocks;
  let image = i / (p.c * p.blocks);
  let firstPixel = block * p.length;
  let pixels = min(p.length, p.hw - firstPixel);
  var at = (image * p.hw + firstPixel) * p.c + channel;
  let start = x[at];
  var sum = ${typeOf(width)}(0.0);
  var squares = ${typeOf(width)}(0.0);
  for (var k = 0u; k < pixels; k++) {
    let d = x[at] - start;
    sum += d;
    squares += d * d;
    at += p.c;
  }
  let shift = sum / f32(pixels);
  means[i] = start + shift;
  deviations[i] = max(squares - sum * shift, ${typeOf(width)}(0.0));`,
      ),
    }),
  };
}

/** One row per image and group: merges its blocks and channels, and writes `moments` [2, batch, c]: mean, factor. */
function mergeProgram(tiles: RowTiles): Program {
  const loop = (body: string) => `
  for (var i = first; i < items; i += step) {
    let block = i / size;
    let at = (image * p.blocks + block) * p.c + channel + i % size;
    let pixels = f32(min(p.length, p.hw - block * p.length));
    ${body}
  }`;
  return {
    kernel: "groupNorm",
    variant: `merge,${tiles}`,
    build: () => ({
      params: {
        ...{ rows: "u32", hw: "u32", c: "u32", blocks: "u32", length: "u32", groups: "u32" },
        ...{ eps: "f32", gammaOn: "u32", factors: "u32" },
      },
      buffers: {
        means: { type: "array<f32>", access: "read" },
        deviations: { type: "array<f32>", access: "read" },
        gamma: { type: "array<f32>", access: "read" },
        moments: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        `
  let size = p.c / p.groups;
  let image = r / p.groups;
  let channel = (r % p.groups) * size;
  let items = p.blocks * size;
  let start = means[image * p.blocks * p.c + channel];
  var sum = 0.0;
  ${loop("sum += pixels * (means[at] - start);")}
  let n = f32(p.hw * size);
  let m = start + rowSum(sum) / n;
  var squares = 0.0;
  ${loop("let d = means[at] - m; squares += deviations[at] + pixels * d * d;")}
  let rstd = 1.0 / sqrt(rowSum(squares) / n + p.eps);
  for (var i = first; i < size; i += step) {
    let at = image * p.c + channel + i;
    var f = rstd;
    if (p.gammaOn != 0u) { f *= gamma[channel + i]; }
    moments[at] = m;
    moments[p.factors + at] = f;
  }`,
      ),
    }),
  };
}

function applyProgram(width: Width, silu: boolean): Program {
  const lanes = width === 4 ? ["x", "y", "z", "w"] : [];
  return {
    kernel: "groupNorm",
    variant: `apply,${width}${silu ? ",silu" : ""}`,
    build: () => ({
      params: { count: "u32", c: "u32", perImage: "u32", factors: "u32" },
      buffers: {
        x: { type: arrayOf(width), access: "read" },
        moments: { type: arrayOf(width), access: "read" },
        beta: { type: arrayOf(width), access: "read" },
        out: { type: arrayOf(width), access: "write" },
      },
      code: `
fn silu(x: f32) -> f32 { return x / (1.0 + m_exp(-x)); }
${
        perItem(
          64,
          "p.count",
          `let c = i % p.c;
  let t = (i / p.perImage) * p.c + c;
  let y = (x[i] - moments[t]) * moments[p.factors + t] + beta[c];
  out[i] = ${!silu ? "y" : width === 4 ? `vec4f(${lanes.map((l) => `silu(y.${l})`).join(", ")})` : "silu(y)"};`,
        )
      }`,
    }),
  };
}

interface Sizes {
  readonly batch: number;
  readonly hw: number;
  readonly c: number;
  readonly groups: number;
  readonly eps: number;
}

/**
 * [2, batch, c]: mean of every channel's group, then gamma / deviation, or 1 / deviation when gamma is not given. One
 * buffer, because kernels of the gradient would bind more than the eight that WebGPU guarantees. Free it.
 */
export function groupMoments(
  gpu: Context,
  x: Storage,
  gamma: Storage | undefined,
  { batch, hw, c, groups, eps }: Sizes,
): Storage {
  const width = widthOf(c);
  const length = pixelsPerBlock(gpu, hw, batch * c / width);
  const blocks = Math.ceil(hw / length);
  const means = gpu.scratch(batch * blocks * c * 4);
  const deviations = gpu.scratch(batch * blocks * c * 4);
  const moments = gpu.scratch(2 * batch * c * 4);
  const parts = batch * blocks * c / width;
  gpu.dispatch(
    blockProgram(gpu.tiles, width),
    { x, means, deviations },
    { count: parts, hw, c: c / width, blocks, length },
    linearGroups(Math.ceil(parts / loopThreads[gpu.tiles])),
  );
  const rows = batch * groups;
  const tiles = rowTilesFor(gpu, blocks * c / groups);
  gpu.dispatch(
    mergeProgram(tiles),
    { means, deviations, gamma: gamma ?? gpu.empty, moments },
    { rows, hw, c, blocks, length, groups, eps, gammaOn: gamma ? 1 : 0, factors: batch * c },
    rowGroups(tiles, rows),
  );
  for (const storage of [means, deviations]) gpu.free(storage);
  return moments;
}

export function groupNorm(gpu: Context, args: Kernels["groupNorm"]): void {
  const { x, gamma, beta, out, batch, hw, c, activation } = args;
  if (batch * hw * c === 0) return;
  const width = widthOf(c);
  const moments = groupMoments(gpu, x, gamma, args);
  const count = batch * hw * c / width;
  gpu.dispatch(
    applyProgram(width, activation === "silu"),
    { x, moments, beta, out },
    { count, c: c / width, perImage: hw * c / width, factors: batch * c / width },
    linearGroups(Math.ceil(count / 64)),
  );
  gpu.free(moments);
}
