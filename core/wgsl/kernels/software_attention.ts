/**
 * Attention on software adapters: every thread takes a few query rows over all keys, with a running softmax, and keeps
 * queries and sums in registers. Keys and values are in textures; software_tile.ts says why.
 */
import type { Kernels, Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Texture } from "../pool.ts";
import type { Program } from "../program.ts";
import { padRows } from "./software_pack.ts";

/** Query rows per thread, keys per step of the running softmax, threads per workgroup. */
const rowTile = 4;
const keyTile = 4;
const lanes = 8;

/** Beyond this the unrolled program takes too long to compile. */
const maxUnrolledHeadDim = 128;

function program(headDim: number): Program {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const i = range(rowTile);
  const k = range(keyTile);
  const d = range(headDim / 4);
  const lines = (parts: string[]) => parts.join("\n    ");
  return {
    kernel: "attention",
    variant: `registers,${headDim}`,
    build: () => ({
      params: { heads: "u32", lq: "u32", lk: "u32", visibleOn: "u32", scale: "f32" },
      buffers: {
        q: { type: "array<vec4f>", access: "read" },
        k: { access: "texture" },
        v: { access: "texture" },
        visible: { type: "array<i32>", access: "read" },
        out: { type: "array<vec4f>", access: "write" },
      },
      code: `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let first = (wid.x * ${lanes}u + lid) * ${rowTile}u;
  let head = wid.y * ${d.length}u;
  let line = wid.z * p.lk;
  ${
        lines(i.map((r) => `
    let row${r} = min(first + ${r}u, p.lq - 1u);
    let at${r} = (wid.z * p.lq + row${r}) * p.heads * ${d.length}u + head;
    var end${r} = p.lk;
    if (p.visibleOn != 0u) { end${r} = min(p.lk, u32(visible[row${r}])); }
    var top${r} = -1e30;
    var total${r} = 0.0;
    ${d.map((n) => `let q${r}_${n} = q[at${r} + ${n}u] * p.scale; var o${r}_${n} = vec4f(0.0);`).join("\n    ")}`))
      }
  let end = ${i.slice(1).reduce((text, r) => `max(${text}, end${r})`, "end0")};
  for (var j = 0u; j < end; j += ${keyTile}u) {
    ${lines(k.map((n) => `let key${n} = line + min(j + ${n}u, p.lk - 1u);`))}
    ${lines(i.flatMap((r) => k.map((n) => `var s${r}_${n} = 0.0;`)))}
    ${
        lines(d.map((e) =>
          k.map((n) => `let k${n}_${e} = textureLoad(k, vec2u(head + ${e}u, key${n}), 0);`).join(" ") + "\n    " +
          i.flatMap((r) => k.map((n) => `s${r}_${n} += dot(q${r}_${e}, k${n}_${e});`)).join(" ")
        ))
      }
    ${
        lines(i.map((r) => `
    ${k.map((n) => `s${r}_${n} = select(-1e30, s${r}_${n}, j + ${n}u < end${r});`).join(" ")}
    let m${r} = max(top${r}, ${k.slice(1).reduce((text, n) => `max(${text}, s${r}_${n})`, `s${r}_0`)});
    let keep${r} = m_expNegative(top${r} - m${r});
    ${k.map((n) => `let p${r}_${n} = m_expNegative(s${r}_${n} - m${r});`).join(" ")}
    total${r} = total${r} * keep${r} + ${k.map((n) => `p${r}_${n}`).join(" + ")};
    top${r} = m${r};`))
      }
    ${
        lines(d.map((e) =>
          k.map((n) => `let v${n}_${e} = textureLoad(v, vec2u(head + ${e}u, key${n}), 0);`).join(" ") + "\n    " +
          i.map((r) => `o${r}_${e} = o${r}_${e} * keep${r} + ${k.map((n) => `p${r}_${n} * v${n}_${e}`).join(" + ")};`)
            .join(" ")
        ))
      }
  }
  ${
        lines(i.map((r) => `
    if (first + ${r}u < p.lq) {
      let scale${r} = 1.0 / total${r};
      ${d.map((e) => `out[at${r} + ${e}u] = o${r}_${e} * scale${r};`).join("\n      ")}
    }`))
      }
}`,
    }),
  };
}

/** The first lk rows of every batch of [batch, kvCapacity, width] as a texture of width / 4 texels per row. */
function rowsToTexture(gpu: Context, x: Storage, batch: number, lk: number, capacity: number, width: number): Texture {
  const texture = gpu.allocTexture(width / 4, batch * lk, "rgba32float", "keys");
  let source = x;
  let pitch = width;
  let rowsApart = capacity;
  if (width % 64 !== 0 && lk > 1) {
    pitch = Math.ceil(width / 64) * 64;
    rowsApart = lk;
    source = padRows(gpu, x, {
      rows: lk,
      n: width,
      batch,
      batchStride: capacity * width,
      rowStride: width,
      columnStride: 1,
    }, pitch);
  }
  for (let z = 0; z < batch; z++) {
    gpu.copyToTexture(source, z * rowsApart * pitch * 4, pitch * 4, texture, {
      x: 0,
      y: z * lk,
      texels: width / 4,
      rows: lk,
    });
  }
  if (source !== x) gpu.free(source);
  return texture;
}

/** Returns false for sizes that another path must take: large or odd heads, or more rows than a texture has. */
export function attentionSoftware(gpu: Context, args: Kernels["attention"]): boolean {
  const { q, k, v, out, visible, batch, heads, headDim, lq, lk, kvCapacity, scale } = args;
  const width = heads * headDim;
  if (headDim % 4 !== 0 || headDim > maxUnrolledHeadDim) return false;
  if (width / 4 > gpu.maxTextureSide || batch * lk > gpu.maxTextureSide) return false;
  const keys = rowsToTexture(gpu, k, batch, lk, kvCapacity, width);
  const values = rowsToTexture(gpu, v, batch, lk, kvCapacity, width);
  gpu.dispatch(
    program(headDim),
    { q, k: keys, v: values, visible: visible ?? gpu.empty, out },
    { heads, lq, lk, visibleOn: visible ? 1 : 0, scale },
    [Math.ceil(lq / (rowTile * lanes)), heads, batch],
  );
  gpu.freeTexture(keys);
  gpu.freeTexture(values);
  return true;
}
