/**
 * Mean over k x k blocks of an NHWC image, stride k; incomplete blocks are dropped.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

/** `width` channels per thread. */
function program(width: 1 | 4): Program {
  const type = width === 4 ? "vec4f" : "f32";
  return {
    kernel: "avgPool2d",
    variant: `${width}`,
    build: () => ({
      params: { count: "u32", h: "u32", w: "u32", c: "u32", k: "u32", outH: "u32", outW: "u32" },
      buffers: { x: { type: `array<${type}>`, access: "read" }, out: { type: `array<${type}>`, access: "write" } },
      code: perItem(
        64,
        "p.count",
        `let c = i % p.c;
  let pixel = i / p.c;
  let ox = pixel % p.outW;
  let oy = (pixel / p.outW) % p.outH;
  let b = pixel / (p.outW * p.outH);
  var sum = ${type}(0.0);
  for (var y = 0u; y < p.k; y++) {
    for (var dx = 0u; dx < p.k; dx++) {
      sum += x[((b * p.h + oy * p.k + y) * p.w + ox * p.k + dx) * p.c + c];
    }
  }
  out[i] = sum / f32(p.k * p.k);`,
      ),
    }),
  };
}

export function avgPool2d(gpu: Context, { x, out, batch, h, w, c, k }: Kernels["avgPool2d"]): void {
  const outH = Math.floor(h / k);
  const outW = Math.floor(w / k);
  const width = c % 4 === 0 ? 4 : 1;
  const count = batch * outH * outW * c / width;
  if (count === 0) return;
  gpu.dispatch(
    program(width),
    { x, out },
    { count, h, w, c: c / width, k, outH, outW },
    linearGroups(Math.ceil(count / 64)),
  );
}
