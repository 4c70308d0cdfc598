/**
 * Attention on hardware adapters: a workgroup takes 64 query rows of one head, one per thread, and reads blocks of keys
 * and values into workgroup memory, with a running softmax. Keys that none of its rows sees are not read.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";

const rowsPerGroup = 64;
/** Larger heads need more registers and workgroup memory than every card has. */
const maxHeadDim = 128;

function program(headDim: number): Program {
  const steps = headDim / 4;
  // Two blocks of keyBlock * headDim floats, in 12 of the 16 KiB that every adapter has.
  const keyBlock = Math.min(32, Math.floor(12288 / (8 * headDim)));
  const perStep = (body: (d: number) => string) => Array.from({ length: steps }, (_, d) => body(d)).join("\n        ");
  return {
    kernel: "attention",
    variant: `block,${headDim}`,
    build: () => ({
      params: { heads: "u32", lq: "u32", lk: "u32", kvCapacity: "u32", visibleOn: "u32", scale: "f32" },
      buffers: {
        q: { type: "array<vec4f>", access: "read" },
        k: { type: "array<vec4f>", access: "read" },
        v: { type: "array<vec4f>", access: "read" },
        visible: { type: "array<i32>", access: "read" },
        out: { type: "array<vec4f>", access: "write" },
      },
      code: `
var<workgroup> keys: array<vec4f, ${keyBlock * steps}>;
var<workgroup> values: array<vec4f, ${keyBlock * steps}>;
var<workgroup> lastKey: atomic<u32>;
@compute @workgroup_size(${rowsPerGroup})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let row = wid.x * ${rowsPerGroup}u + lid;
  let head = wid.y * ${steps}u;
  let pitch = p.heads * ${steps}u;
  let at = (wid.z * p.lq + min(row, p.lq - 1u)) * pitch + head;
  let keyBase = wid.z * p.kvCapacity * pitch + head;
  var end = p.lk;
  if (p.visibleOn != 0u) { end = min(p.lk, u32(visible[min(row, p.lq - 1u)])); }
  atomicMax(&lastKey, end);
  let groupEnd = workgroupUniformLoad(&lastKey);
  ${perStep((d) => `let q${d} = q[at + ${d}u] * p.scale; var o${d} = vec4f(0.0);`)}
  var top = -1e30;
  var total = 0.0;
  for (var first = 0u; first < groupEnd; first += ${keyBlock}u) {
    for (var i = lid; i < ${keyBlock * steps}u; i += ${rowsPerGroup}u) {
      let key = min(first + i / ${steps}u, p.lk - 1u);
      keys[i] = k[keyBase + key * pitch + i % ${steps}u];
      values[i] = v[keyBase + key * pitch + i % ${steps}u];
    }
    workgroupBarrier();
    let count = min(${keyBlock}u, end - min(end, first));
    for (var j = 0u; j < count; j++) {
      let base = j * ${steps}u;
      var s = 0.0;
        ${perStep((d) => `s += dot(q${d}, keys[base + ${d}u]);`)}
      if (s > top) {
        let keep = m_expNegative(top - s);
        top = s;
        total *= keep;
        ${perStep((d) => `o${d} *= keep;`)}
      }
      let weight = m_expNegative(s - top);
      total += weight;
        ${perStep((d) => `o${d} += weight * values[base + ${d}u];`)}
    }
    workgroupBarrier();
  }
  if (row < p.lq) {
        ${perStep((d) => `out[at + ${d}u] = o${d} / total;`)}
  }
}`,
    }),
  };
}

/** Returns false for sizes that another path must take. */
export function attentionHardware(gpu: Context, args: Kernels["attention"]): boolean {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  if (headDim % 4 !== 0 || headDim > maxHeadDim || heads > 65535 || batch > 65535) return false;
  gpu.dispatch(
    program(headDim),
    { q, k, v, visible: visible ?? gpu.empty, out },
    { heads, lq, lk, kvCapacity, visibleOn: visible ? 1 : 0, scale },
    [Math.ceil(lq / rowsPerGroup), heads, batch],
  );
  return true;
}
