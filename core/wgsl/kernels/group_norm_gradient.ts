/**
 * Gradients of group norm: recomputes the statistics, sums the gradient per channel over blocks of pixels, adds them
 * per group, and computes dx. Of x's size it stores dx only.
 *
 * With y = (x - mean) / deviation, z = gamma y + beta and dz = upstream * act'(z):
 * dx = (gamma dz - m1 - y m2) / deviation, where m1 and m2 are the group's means of gamma dz and gamma dz y.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program } from "../program.ts";
import { arrayOf, groupMoments, pixelsPerBlock, typeOf, type Width, widthOf } from "./group_norm.ts";
import { reduce } from "./reduce.ts";
import { rowGroups, rowKernel, type RowTiles, rowTilesFor } from "./row_kernel.ts";

const lanes = ["x", "y", "z", "w"];

/** `sums` and `slopes` [batch, blocks, c]: of dz and of dz y. With `keep`, dz is stored too. */
function sumsProgram(tiles: Context["tiles"], width: Width, silu: boolean, keep: boolean): Program {
  const derivative = width === 4 ? `vec4f(${lanes.map((l) => `derivative(z.${l})`).join(", ")})` : "derivative(z)";
  return {
    kernel: "groupNormGradient",
    variant: `sums,${tiles},${width}${silu ? ",silu" : ""}${keep ? ",keep" : ""}`,
    build: () => ({
      params: { count: "u32", hw: "u32", c: "u32", blocks: "u32", length: "u32", factors: "u32" },
      buffers: {
        x: { type: arrayOf(width), access: "read" },
        upstream: { type: arrayOf(width), access: "read" },
        moments: { type: arrayOf(width), access: "read" },
        ...(silu
          ? { gamma: { type: arrayOf(width), access: "read" }, beta: { type: arrayOf(width), access: "read" } } as const
          : {}),
        sums: { type: arrayOf(width), access: "write" },
        slopes: { type: arrayOf(width), access: "write" },
        ...(keep ? { dz: { type: arrayOf(width), access: "write" } } as const : {}),
      },
      code: `
fn derivative(z: f32) -> f32 {
  let e = m_expNegative(-abs(z));
  let r = 1.0 / (1.0 + e);
  return select(r, e * r, z < 0.0) + z * e * r * r;
}
${
        perItem(
          loopThreads[tiles],
          "p.count",
          `let channel = i % p.c;
  let block = (i / p.c) % p.blocks;
  let image = i / (p.c * p.blocks);
  let firstPixel = block * p.length;
  let pixels = min(p.length, p.hw - firstPixel);
  var at = (image * p.hw + firstPixel) * p.c + channel;
  let m = moments[image * p.c + channel];
  let f = moments[p.factors + image * p.c + channel];
  ${silu ? "let scale = gamma[channel];\n  let shift = beta[channel];" : ""}
  var sum = ${typeOf(width)}(0.0);
  var slope = ${typeOf(width)}(0.0);
  for (var k = 0u; k < pixels; k++) {
    let y = (x[at] - m) * f;
    var u = upstream[at];
    ${silu ? `let z = y * scale + shift;\n    u *= ${derivative};` : ""}
    ${keep ? "dz[at] = u;" : ""}
    sum += u;
    slope += u * y;
    at += p.c;
  }
  sums[i] = sum;
  slopes[i] = slope;`,
        )
      }`,
    }),
  };
}

/** One row per image and group: per channel the terms of dx = factor dz - shift - slope (x - mean). */
function joinProgram(tiles: RowTiles): Program {
  return {
    kernel: "groupNormGradient",
    variant: `join,${tiles}`,
    build: () => ({
      params: { rows: "u32", hw: "u32", c: "u32", blocks: "u32", groups: "u32", factors: "u32" },
      buffers: {
        sums: { type: "array<f32>", access: "read" },
        slopes: { type: "array<f32>", access: "read" },
        gamma: { type: "array<f32>", access: "read" },
        moments: { type: "array<f32>", access: "read" },
        factor: { type: "array<f32>", access: "write" },
        shift: { type: "array<f32>", access: "write" },
        slope: { type: "array<f32>", access: "write" },
      },
      code: rowKernel(
        tiles,
        `
  let size = p.c / p.groups;
  let image = r / p.groups;
  let channel = (r % p.groups) * size;
  let items = p.blocks * size;
  var sum = 0.0;
  var product = 0.0;
  for (var i = first; i < items; i += step) {
    let ch = channel + i % size;
    let at = (image * p.blocks + i / size) * p.c + ch;
    sum += gamma[ch] * sums[at];
    product += gamma[ch] * slopes[at];
  }
  let n = f32(p.hw * size);
  let m1 = rowSum(sum) / n;
  let m2 = rowSum(product) / n;
  for (var i = first; i < size; i += step) {
    let at = image * p.c + channel + i;
    let rstd = moments[p.factors + at];
    factor[at] = gamma[channel + i] * rstd;
    shift[at] = m1 * rstd;
    slope[at] = m2 * rstd * rstd;
  }`,
      ),
    }),
  };
}

/** With `inPlace`, dz was stored in dx. */
function applyProgram(width: Width, inPlace: boolean): Program {
  return {
    kernel: "groupNormGradient",
    variant: `apply,${width}${inPlace ? ",inPlace" : ""}`,
    build: () => ({
      params: { count: "u32", c: "u32", perImage: "u32" },
      buffers: {
        x: { type: arrayOf(width), access: "read" },
        moments: { type: arrayOf(width), access: "read" },
        factor: { type: arrayOf(width), access: "read" },
        shift: { type: arrayOf(width), access: "read" },
        slope: { type: arrayOf(width), access: "read" },
        ...(inPlace ? {} : { dz: { type: arrayOf(width), access: "read" } } as const),
        dx: { type: arrayOf(width), access: "write" },
      },
      code: perItem(
        64,
        "p.count",
        `let t = (i / p.perImage) * p.c + i % p.c;
  dx[i] = ${inPlace ? "dx" : "dz"}[i] * factor[t] - shift[t] - (x[i] - moments[t]) * slope[t];`,
      ),
    }),
  };
}

export function groupNormGradient(gpu: Context, args: Kernels["groupNormGradient"]): void {
  const { x, gamma, beta, upstream, dx, dGamma, dBeta, batch, hw, c, groups, activation } = args;
  if (c === 0) return;
  const width = widthOf(c);
  const silu = activation === "silu";
  const keep = silu && dx !== undefined;
  const moments = groupMoments(gpu, x, undefined, args);
  const length = pixelsPerBlock(gpu, hw, batch * c / width);
  const blocks = Math.ceil(hw / length);
  const parts = batch * blocks * c;
  const sums = gpu.scratch(parts * 4), slopes = gpu.scratch(parts * 4);
  gpu.dispatch(
    sumsProgram(gpu.tiles, width, silu, keep),
    { x, upstream, moments, ...(silu ? { gamma, beta } : {}), sums, slopes, ...(keep ? { dz: dx } : {}) },
    { count: parts / width, hw, c: c / width, blocks, length, factors: batch * c / width },
    linearGroups(Math.ceil(parts / width / loopThreads[gpu.tiles])),
  );
  const overBlocks = { op: "sum", outer: 1, n: batch * blocks, inner: c } as const;
  if (dBeta) reduce(gpu, { ...overBlocks, x: sums, out: dBeta });
  if (dGamma) reduce(gpu, { ...overBlocks, x: slopes, out: dGamma });
  if (dx) {
    const rows = batch * groups;
    const tiles = rowTilesFor(gpu, blocks * c / groups);
    const [factor, shift, slope] = [0, 1, 2].map(() => gpu.scratch(batch * c * 4));
    gpu.dispatch(
      joinProgram(tiles),
      { sums, slopes, gamma, moments, factor, shift, slope },
      { rows, hw, c, blocks, groups, factors: batch * c },
      rowGroups(tiles, rows),
    );
    const count = batch * hw * c / width;
    gpu.dispatch(
      applyProgram(width, keep),
      { x, moments, factor, shift, slope, ...(keep ? {} : { dz: upstream }), dx },
      { count, c: c / width, perImage: hw * c / width },
      linearGroups(Math.ceil(count / 64)),
    );
    for (const storage of [factor, shift, slope]) gpu.free(storage);
  }
  for (const storage of [moments, sums, slopes]) gpu.free(storage);
}
