/**
 * Attention of few query rows on hardware adapters, as in a step with a key/value cache: a workgroup per row and head, whose
 * threads share the keys, first for the scores, then for the sum of the values.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";

const threads = 128;
/** With more rows, workgroups that share keys among rows read less. */
const maxRows = 8;
/** Scores in workgroup memory; with the threads' sums within the 16 KiB that every adapter has. */
const maxKeys = 3072;

function program(headDim: number): Program {
  const steps = headDim / 4;
  const slices = Math.floor(threads / steps);
  const perStep = (body: (d: number) => string) => Array.from({ length: steps }, (_, d) => body(d)).join("\n    ");
  const join = (name: string, combine: string) => `
fn ${name}(lid: u32, v: f32) -> f32 {
  joined[lid] = v;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half = half / 2u) {
    if (lid < half) {
      let a = joined[lid];
      let b = joined[lid + half];
      joined[lid] = ${combine};
    }
    workgroupBarrier();
  }
  let result = joined[0];
  workgroupBarrier();
  return result;
}`;
  return {
    kernel: "attention",
    variant: `step,${headDim}`,
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
var<workgroup> weights: array<f32, ${maxKeys}>;
var<workgroup> joined: array<f32, ${threads}>;
var<workgroup> sums: array<vec4f, ${threads}>;
${join("largest", "max(a, b)")}
${join("total", "a + b")}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let pitch = p.heads * ${steps}u;
  let at = (wid.z * p.lq + wid.x) * pitch + wid.y * ${steps}u;
  let keyBase = wid.z * p.kvCapacity * pitch + wid.y * ${steps}u;
  var end = p.lk;
  if (p.visibleOn != 0u) { end = min(p.lk, u32(visible[wid.x])); }
  ${perStep((d) => `let q${d} = q[at + ${d}u] * p.scale;`)}
  var most = -1e30;
  for (var j = lid; j < end; j += ${threads}u) {
    let base = keyBase + j * pitch;
    var s = 0.0;
    ${perStep((d) => `s += dot(q${d}, k[base + ${d}u]);`)}
    weights[j] = s;
    most = max(most, s);
  }
  let top = largest(lid, most);
  var part = 0.0;
  for (var j = lid; j < end; j += ${threads}u) {
    let weight = m_expNegative(weights[j] - top);
    weights[j] = weight;
    part += weight;
  }
  let whole = total(lid, part);
  // A thread takes four columns of every ${slices}th value, four values at once.
  var o = vec4f(0.0);
  let column = lid % ${steps}u;
  if (lid < ${slices * steps}u) {
    var j = lid / ${steps}u;
    for (; j + ${3 * slices}u < end; j += ${4 * slices}u) {
      let at = keyBase + j * pitch + column;
      ${[0, 1, 2, 3].map((u) => `let v${u} = v[at + ${u * slices}u * pitch];`).join(" ")}
      o += ${[0, 1, 2, 3].map((u) => `weights[j + ${u * slices}u] * v${u}`).join(" + ")};
    }
    for (; j < end; j += ${slices}u) { o += weights[j] * v[keyBase + j * pitch + column]; }
  }
  sums[lid] = o;
  workgroupBarrier();
  if (lid < ${steps}u) {
    for (var s = 1u; s < ${slices}u; s++) { o += sums[s * ${steps}u + lid]; }
    out[at + lid] = o / whole;
  }
}`,
    }),
  };
}

/** Returns false for sizes that another path must take. */
export function attentionStep(gpu: Context, args: Kernels["attention"]): boolean {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  if (headDim % 4 !== 0 || headDim > 128 || lq > maxRows || lk > maxKeys || heads > 65535 || batch > 65535) {
    return false;
  }
  gpu.dispatch(
    program(headDim),
    { q, k, v, visible: visible ?? gpu.empty, out },
    { heads, lq, lk, kvCapacity, visibleOn: visible ? 1 : 0, scale },
    [lq, heads, batch],
  );
  return true;
}
