/**
 * Attention: chooses among the paths by adapter and head size. The plain path, for small heads that are no multiples of
 * 4, is here: a thread per query row with a running (online) softmax (Milakov and Gimelshein 2018).
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, loopThreads, perItem, type Program } from "../program.ts";
import { attentionHardware } from "./hardware_attention.ts";
import { attentionByProducts } from "./product_attention.ts";
import { attentionSoftware } from "./software_attention.ts";
import { attentionStep } from "./step_attention.ts";

/** Dimensions are handled `width` at a time, in loops unrolled by `unroll`. */
function program(tiles: Context["tiles"], headDim: number): Program {
  const width = headDim % 4 === 0 ? 4 : 1;
  const steps = headDim / width;
  const unroll = [8, 4, 2, 1].find((u) => steps % u === 0)!;
  const type = width === 4 ? "vec4f" : "f32";
  const loop = (body: (d: string) => string) =>
    `for (var d = 0u; d < ${steps}u; d += ${unroll}u) {
      ${Array.from({ length: unroll }, (_, u) => body(`d + ${u}u`)).join("\n      ")}
    }`;
  const product = width === 4 ? "dot(q[qAt + D], k[kAt + D])" : "q[qAt + D] * k[kAt + D]";
  return {
    kernel: "attention",
    variant: `rows,${tiles},${headDim}`,
    build: () => ({
      params: {
        count: "u32",
        heads: "u32",
        lq: "u32",
        lk: "u32",
        kvCapacity: "u32",
        visibleOn: "u32",
        scale: "f32",
      },
      buffers: {
        q: { type: `array<${type}>`, access: "read" },
        k: { type: `array<${type}>`, access: "read" },
        v: { type: `array<${type}>`, access: "read" },
        visible: { type: "array<i32>", access: "read" },
        out: { type: `array<${type}>`, access: "write" },
      },
      code: perItem(
        loopThreads[tiles],
        "p.count",
        `let row = i % p.lq;
  let h = (i / p.lq) % p.heads;
  let b = i / (p.lq * p.heads);
  let qAt = ((b * p.lq + row) * p.heads + h) * ${steps}u;
  var end = p.lk;
  if (p.visibleOn != 0u) { end = min(end, u32(visible[row])); }
  var acc: array<${type}, ${steps}>;
  var top = 0.0;
  var total = 0.0;
  for (var j = 0u; j < end; j++) {
    let kAt = ((b * p.kvCapacity + j) * p.heads + h) * ${steps}u;
    var s = 0.0;
    ${loop((d) => `s += ${product.replaceAll("D", d)};`)}
    s *= p.scale;
    var keep = 1.0;
    if (j == 0u || s > top) {
      keep = select(m_exp(top - s), 0.0, j == 0u);
      top = s;
    }
    let weight = m_exp(s - top);
    total = total * keep + weight;
    ${loop((d) => `acc[${d}] = acc[${d}] * keep + weight * v[kAt + ${d}];`)}
  }
  ${loop((d) => `out[qAt + ${d}] = acc[${d}] / total;`)}`,
      ),
    }),
  };
}

export function attention(gpu: Context, args: Kernels["attention"]): void {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const count = batch * heads * lq;
  if (count * headDim === 0) return;
  if (
    gpu.tiles === "software" ? attentionSoftware(gpu, args) : attentionStep(gpu, args) || attentionHardware(gpu, args)
  ) {
    return;
  }
  if (headDim > 128) return attentionByProducts(gpu, args);
  gpu.dispatch(
    program(gpu.tiles, headDim),
    { q, k, v, visible: visible ?? gpu.empty, out },
    { count, heads, lq, lk, kvCapacity, visibleOn: visible ? 1 : 0, scale },
    linearGroups(Math.ceil(count / loopThreads[gpu.tiles])),
  );
}
