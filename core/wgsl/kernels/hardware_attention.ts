/**
 * Attention on hardware adapters: a workgroup of 32 threads takes 32 query rows of one head, and goes through blocks of keys and
 * values in workgroup memory with a running softmax. A thread computes 4 rows by 8 keys of the scores, and 4 rows by a quarter of
 * the columns of the result, so that what it reads serves several products. Keys that none of the rows sees are not read.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Program } from "../program.ts";

/** Query rows of a workgroup, and its threads: in scores and sums 8 below each other and 4 side by side. */
export const attentionRows = 32;
const threadRows = 4;
const across = 4;
/** Larger heads need more registers and workgroup memory than every card has. */
const maxHeadDim = 128;

/** Four-vectors from one key of a block to the next: not a multiple of 4, so that threads side by side read different banks. */
const keyPitch = (steps: number) => steps % 4 === 0 ? steps + 1 : steps;

/** Keys of a block, a multiple of 16: as many as leave it and their weights within the 16 KiB that every adapter has. */
export function attentionKeys(headDim: number): number {
  const bytes = (keys: number) => 16 * (keys * keyPitch(headDim / 4) + attentionRows * (keys / 4 + 1));
  return bytes(32) <= 16000 ? 32 : 16;
}

function program(headDim: number): Program {
  const steps = headDim / 4;
  const keys = attentionKeys(headDim), quads = keys / 4;
  const pitch = keyPitch(steps), weightPitch = quads + 1;
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const lines = (parts: readonly string[]) => parts.join("\n    ");
  const rows = range(threadRows), own = range(keys / across), columns = range(Math.ceil(steps / across));
  const unroll = steps % 2 === 0 ? 2 : 1;
  const isRagged = steps % across !== 0;
  /** Key of component `c` of a quad of scores: a thread's own keys are `across` apart. */
  const keyOf = (quad: string, c: number) => `(${quad} % 4u + ${quad} / 4u * 16u + ${4 * c}u)`;
  const column = (i: number) => isRagged && i === columns.length - 1 ? "lastColumn" : `(tx + ${across * i}u)`;
  const load = (from: string) => `
    for (var i = lid; i < ${keys * steps}u; i += ${attentionRows}u) {
      let key = min(first + i / ${steps}u, p.lk - 1u);
      block[i / ${steps}u * ${pitch}u + i % ${steps}u] = ${from}[keyBase + key * pitch + i % ${steps}u];
    }`;
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
var<workgroup> block: array<vec4f, ${keys * pitch}>;
// Scores, then weights, of a row: a thread's own keys are neighbours.
var<workgroup> weights: array<vec4f, ${attentionRows * weightPitch}>;
var<workgroup> factors: array<f32, ${attentionRows}>;
var<workgroup> lastKey: atomic<u32>;
@compute @workgroup_size(${attentionRows})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let tx = lid % ${across}u;
  let firstRow = lid / ${across}u * ${threadRows}u;
  let pitch = p.heads * ${steps}u;
  let head = wid.y * ${steps}u;
  let keyBase = wid.z * p.kvCapacity * pitch + head;
  let keyAt = tx * ${pitch}u;
  let lastColumn = min(tx + ${across * (columns.length - 1)}u, ${steps - 1}u);
  let weightAt = firstRow * ${weightPitch}u;
  ${
        rows.map((r) =>
          `let row${r} = wid.x * ${attentionRows}u + firstRow + ${r}u;
  let at${r} = (wid.z * p.lq + min(row${r}, p.lq - 1u)) * pitch + head;`
        ).join("\n  ")
      }
  // Each thread keeps the softmax of one row.
  var end = p.lk;
  if (p.visibleOn != 0u) { end = min(p.lk, u32(visible[min(wid.x * ${attentionRows}u + lid, p.lq - 1u)])); }
  atomicMax(&lastKey, end);
  let groupEnd = workgroupUniformLoad(&lastKey);
  var top = -1e30;
  var total = 0.0;
  ${rows.map((r) => columns.map((i) => `var o${r}_${i} = vec4f(0.0);`).join(" ")).join("\n  ")}
  for (var first = 0u; first < groupEnd; first += ${keys}u) {${load("k")}
    workgroupBarrier();
    ${lines(rows.map((r) => own.map((j) => `var s${r}_${j} = 0.0;`).join(" ")))}
    for (var d = 0u; d < ${steps}u; d += ${unroll}u) {
      ${
        range(unroll).map((u) =>
          `{ ${rows.map((r) => `let q${r} = q[at${r} + d + ${u}u];`).join(" ")}
      ` +
          own.map((j) =>
            `let k${j} = block[keyAt + d + ${across * j * pitch + u}u]; ` +
            rows.map((r) => `s${r}_${j} += dot(q${r}, k${j});`).join(" ")
          ).join("\n      ") + " }"
        ).join("\n      ")
      }
    }
    ${
        lines(rows.flatMap((r) =>
          range(own.length / 4).map((g) => {
            const values = range(4).map((c) => `s${r}_${4 * g + c}`).join(", ");
            return `weights[weightAt + tx + ${r * weightPitch + 4 * g}u] = vec4f(${values}) * p.scale;`;
          })
        ))
      }
    workgroupBarrier();${load("v")}
    var most = top;
    for (var j = 0u; j < ${quads}u; j++) {
      let key = first + vec4u(${range(4).map((c) => keyOf("j", c)).join(", ")});
      let s = select(vec4f(-1e30), weights[lid * ${weightPitch}u + j], key < vec4u(end));
      most = max(most, max(max(s.x, s.y), max(s.z, s.w)));
    }
    let keep = m_expNegative(top - most);
    top = most;
    var sum = vec4f(0.0);
    for (var j = 0u; j < ${quads}u; j++) {
      let key = first + vec4u(${range(4).map((c) => keyOf("j", c)).join(", ")});
      let s = min(weights[lid * ${weightPitch}u + j] - top, vec4f(0.0));
      let e = vec4f(m_expNegative(s.x), m_expNegative(s.y), m_expNegative(s.z), m_expNegative(s.w));
      let w = select(vec4f(0.0), e, key < vec4u(end));
      weights[lid * ${weightPitch}u + j] = w;
      sum += w;
    }
    total = total * keep + ((sum.x + sum.y) + (sum.z + sum.w));
    factors[lid] = keep;
    workgroupBarrier();
    ${
        lines(rows.map((r) =>
          `let f${r} = factors[firstRow + ${r}u]; ${columns.map((i) => `o${r}_${i} *= f${r};`).join(" ")}`
        ))
      }
    for (var j = 0u; j < ${quads}u; j++) {
      let valueAt = ${keyOf("j", 0)} * ${pitch}u;
      ${rows.map((r) => `let w${r} = weights[weightAt + j + ${r * weightPitch}u];`).join(" ")}
      ${
        range(4).flatMap((c) =>
          columns.map((i) => {
            const value = `v${c}_${i}`;
            return `let ${value} = block[valueAt + ${4 * c * pitch}u + ${column(i)}]; ` +
              rows.map((r) => `o${r}_${i} += w${r}.${"xyzw"[c]} * ${value};`).join(" ");
          })
        ).join("\n      ")
      }
    }
    workgroupBarrier();
  }
  factors[lid] = total;
  workgroupBarrier();
  ${
        rows.map((r) =>
          `if (row${r} < p.lq) {
    let t${r} = factors[firstRow + ${r}u];
    ${
            columns.map((i) => {
              const store = `out[at${r} + tx + ${across * i}u] = o${r}_${i} / t${r};`;
              return isRagged && i === columns.length - 1 ? `if (tx + ${across * i}u < ${steps}u) { ${store} }` : store;
            }).join("\n    ")
          }
  }`
        ).join("\n  ")
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
    [Math.ceil(lq / attentionRows), heads, batch],
  );
  return true;
}
