/**
 * The gradient of a convolution's weight. On hardware adapters it is one product (hardware_product.ts); here, for software
 * adapters: for every tap, the matrix of the pixels under it, and its product with the upstream. One such matrix is stored
 * at a time.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { weightGradientHardware } from "./hardware_product.ts";
import { arrayOf, typeOf, type Width, widthOf } from "./group_norm.ts";
import { matmul } from "./matmul.ts";
import { stridedCopy } from "./strided_copy.ts";

/**
 * seen[batch, outH, outW, c]: the padded, up-sampled input at (y * stride + dy, x * stride + dx), dy and dx from -pad
 * on.
 */
function seenProgram(width: Width): Program {
  return {
    kernel: "conv2dWeightGradient",
    variant: `seen,${width}`,
    build: () => ({
      params: {
        ...{ count: "u32", h: "u32", w: "u32", c: "u32", outH: "u32", outW: "u32" },
        ...{ stride: "u32", upsample: "u32", dy: "i32", dx: "i32" },
      } as const,
      buffers: { x: { type: arrayOf(width), access: "read" }, seen: { type: arrayOf(width), access: "write" } },
      code: perItem(
        64,
        "p.count",
        `let channel = i % p.c;
  let pixel = i / p.c;
  let image = pixel / (p.outW * p.outH);
  let y = i32(pixel / p.outW % p.outH * p.stride) + p.dy;
  let column = i32(pixel % p.outW * p.stride) + p.dx;
  var value = ${typeOf(width)}(0.0);
  if (y >= 0 && y < i32(p.h * p.upsample) && column >= 0 && column < i32(p.w * p.upsample)) {
    value = x[((image * p.h + u32(y) / p.upsample) * p.w + u32(column) / p.upsample) * p.c + channel];
  }
  seen[i] = value;`,
      ),
    }),
  };
}

export function conv2dWeightGradient(gpu: Context, args: Kernels["conv2dWeightGradient"]): void {
  const { x, upstream, out, batch, h, w, cIn, cOut, kh, kw, stride, upsample, padTop, padLeft, outH, outW } = args;
  const taps = kh * kw;
  if (taps * cIn * cOut === 0) return;
  if (gpu.tiles === "hardware") return weightGradientHardware(gpu, args);
  const pixels = batch * outH * outW;
  const product = (seen: Storage, to: Storage) =>
    matmul(gpu, {
      ...{ a: upstream, b: seen, out: to, batch: 1, m: cOut, n: cIn, k: pixels, aBatchStride: 0, bBatchStride: 0 },
      ...{ transA: true, transB: false, packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
  if (taps === 1 && stride === 1 && upsample === 1 && padTop === 0 && padLeft === 0 && outH === h && outW === w) {
    product(x, out);
    return;
  }
  const width = widthOf(cIn);
  const seen = gpu.scratch(pixels * cIn * 4);
  const tap = gpu.scratch(cOut * cIn * 4);
  const count = pixels * cIn / width;
  for (let t = 0; t < taps; t++) {
    const [dy, dx] = [Math.floor(t / kw) - padTop, t % kw - padLeft];
    gpu.dispatch(
      seenProgram(width),
      { x, seen },
      { count, h, w, c: cIn / width, outH, outW, stride, upsample, dy, dx },
      linearGroups(Math.ceil(count / 64)),
    );
    product(seen, tap);
    stridedCopy(gpu, {
      ...{ x: tap, out, shape: [cOut * cIn], xStrides: [1], xOffset: 0, outStrides: [taps], outOffset: t },
    });
  }
  gpu.free(seen);
  gpu.free(tap);
}
