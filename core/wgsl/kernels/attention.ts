/**
 * Attention with a running (online) softmax (Milakov and Gimelshein 2018), one thread per query row.
 * No score is stored; masked keys are never read.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

function program(headDim: number): Program {
  return {
    kernel: "attention",
    variant: `simple,${headDim}`,
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
        q: { type: "array<f32>", access: "read" },
        k: { type: "array<f32>", access: "read" },
        v: { type: "array<f32>", access: "read" },
        visible: { type: "array<i32>", access: "read" },
        out: { type: "array<f32>", access: "write" },
      },
      code: perItem(
        8,
        "p.count",
        `let row = i % p.lq;
  let h = (i / p.lq) % p.heads;
  let b = i / (p.lq * p.heads);
  let qAt = ((b * p.lq + row) * p.heads + h) * ${headDim}u;
  var end = p.lk;
  if (p.visibleOn != 0u) { end = min(end, u32(visible[row])); }
  var acc: array<f32, ${headDim}>;
  var top = 0.0;
  var total = 0.0;
  for (var j = 0u; j < end; j++) {
    let kAt = ((b * p.kvCapacity + j) * p.heads + h) * ${headDim}u;
    var s = 0.0;
    for (var d = 0u; d < ${headDim}u; d++) { s += q[qAt + d] * k[kAt + d]; }
    s *= p.scale;
    var keep = 1.0;
    if (j == 0u || s > top) {
      keep = select(m_exp(top - s), 0.0, j == 0u);
      top = s;
    }
    let weight = m_exp(s - top);
    total = total * keep + weight;
    for (var d = 0u; d < ${headDim}u; d++) { acc[d] = acc[d] * keep + weight * v[kAt + d]; }
  }
  for (var d = 0u; d < ${headDim}u; d++) { out[qAt + d] = acc[d] / total; }`,
      ),
    }),
  };
}

export function attention(gpu: Context, args: Kernels["attention"]): void {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const count = batch * heads * lq;
  if (count * headDim === 0) return;
  gpu.dispatch(
    program(headDim),
    { q, k, v, visible: visible ?? gpu.empty, out },
    { count, heads, lq, lk, kvCapacity, visibleOn: visible ? 1 : 0, scale },
    linearGroups(Math.ceil(count / 8)),
  );
}
