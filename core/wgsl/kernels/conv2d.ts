/**
 * NHWC convolution with a packed weight, one thread per pixel and four output channels.
 * Upsampling and padding are index arithmetic; nothing is copied or padded beforehand.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { activationCodes, activationFunction } from "../math.ts";
import { linearGroups, perItem, type Program } from "../program.ts";
import { convHardware } from "./hardware_tile.ts";
import { paddedColumns } from "./pack.ts";
import { convSoftware } from "./software_matmul.ts";

function program(wType: "f32" | "f16"): Program {
  return {
    kernel: "conv2d",
    variant: `simple,${wType}`,
    build: () => ({
      params: {
        count: "u32",
        h: "u32",
        w: "u32",
        cIn: "u32",
        cOut: "u32",
        quads: "u32",
        kh: "u32",
        kw: "u32",
        stride: "u32",
        upsample: "u32",
        padTop: "i32",
        padLeft: "i32",
        outH: "u32",
        outW: "u32",
        activation: "u32",
        biasOn: "u32",
        residualOn: "u32",
      },
      buffers: {
        x: { type: "array<f32>", access: "read" },
        weight: { type: wType === "f32" ? "array<vec4f>" : "array<vec2u>", access: "read" },
        bias: { type: "array<f32>", access: "read" },
        residual: { type: "array<f32>", access: "read" },
        out: { type: "array<f32>", access: "write" },
      },
      code: `
${activationFunction}
${
        perItem(
          64,
          "p.count",
          `let quad = i % p.quads;
  let pixel = i / p.quads;
  let ox = i32(pixel % p.outW);
  let oy = i32((pixel / p.outW) % p.outH);
  let image = pixel / (p.outW * p.outH);
  let limitY = i32(p.h * p.upsample);
  let limitX = i32(p.w * p.upsample);
  var acc = vec4f(0.0);
  for (var ky = 0u; ky < p.kh; ky++) {
    let y = oy * i32(p.stride) + i32(ky) - p.padTop;
    if (y < 0 || y >= limitY) { continue; }
    for (var kx = 0u; kx < p.kw; kx++) {
      let x0 = ox * i32(p.stride) + i32(kx) - p.padLeft;
      if (x0 < 0 || x0 >= limitX) { continue; }
      let at = ((image * p.h + u32(y) / p.upsample) * p.w + u32(x0) / p.upsample) * p.cIn;
      let wAt = (ky * p.kw + kx) * p.cIn * p.quads + quad;
      for (var c = 0u; c < p.cIn; c++) {
        let wv = weight[wAt + c * p.quads];
        acc += x[at + c] * ${wType === "f32" ? "wv" : "vec4f(unpack2x16float(wv.x), unpack2x16float(wv.y))"};
      }
    }
  }
  for (var j = 0u; j < 4u; j++) {
    let column = quad * 4u + j;
    if (column < p.cOut) {
      var v = acc[j];
      if (p.biasOn != 0u) { v += bias[column]; }
      v = act(p.activation, v);
      if (p.residualOn != 0u) { v += residual[pixel * p.cOut + column]; }
      out[pixel * p.cOut + column] = v;
    }
  }`,
        )
      }`,
    }),
  };
}

export function conv2d(gpu: Context, args: Kernels["conv2d"]): void {
  const { x, weight, out, bias, residual, activation, batch, h, w, cIn, cOut, kh, kw } = args;
  const quads = paddedColumns(cOut) / 4;
  const count = batch * args.outH * args.outW * quads;
  if (count === 0) return;
  if (gpu.tiles === "software") return convSoftware(gpu, args);
  if (convHardware(gpu, args)) return;
  gpu.dispatch(
    program(args.wType),
    { x, weight, out, bias: bias ?? gpu.empty, residual: residual ?? gpu.empty },
    {
      count,
      h,
      w,
      cIn,
      cOut,
      quads,
      kh,
      kw,
      stride: args.stride,
      upsample: args.upsample,
      padTop: args.padTop,
      padLeft: args.padLeft,
      outH: args.outH,
      outW: args.outW,
      activation: activationCodes[activation],
      biasOn: bias ? 1 : 0,
      residualOn: residual ? 1 : 0,
    },
    linearGroups(Math.ceil(count / 64)),
  );
}
