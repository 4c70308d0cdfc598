/**
 * Matrix products on hardware adapters: a workgroup of 256 threads computes a block of the result, with blocks of both
 * operands in workgroup memory and 8 x 8 (or 4 x 4) results per thread. Convolution is the same product with a left
 * operand gathered from the image (implicit GEMM).
 */
import type { Epilogue, Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { activationCodes, activationFunction } from "../math.ts";
import type { Program, ScalarType } from "../program.ts";
import { tableParams } from "./layer_norm.ts";
import { paddedColumns } from "./pack.ts";
import { rowTableFunction } from "./row_kernel.ts";

const threads = 256;
/** Depth of a block along k. */
const depth = 16;

/** Results per thread: `size` / 16 in each direction. */
type BlockSize = 64 | 128;

/** How the right operand is read: plain [k, n] or [n, k], or packed [k, n padded to 4]. */
type Right = "plain" | "plainT" | "f32" | "f16";

/** Where the left operand comes from: a matrix with strides, or an image; `4` if four along k are one load. */
type Left = "matrix1" | "matrix4" | "image1" | "image4";

/** Parameters of every product: those that rightCode and finishCode use. */
export const common: Record<string, ScalarType> = {
  m: "u32",
  n: "u32",
  k: "u32",
  quads: "u32",
  bBatch: "u32",
  activation: "u32",
  biasOn: "u32",
  gateOn: "u32",
  residualOn: "u32",
  gateSeq: "u32",
  gateBatch: "u32",
  gateRow: "u32",
  gateOffset: "u32",
};
const matrixParams: Record<string, ScalarType> = { aBatch: "u32", aRow: "u32", aColumn: "u32" };
const imageParams: Record<string, ScalarType> = {
  h: "u32",
  w: "u32",
  cIn: "u32",
  kw: "u32",
  stride: "i32",
  halve: "u32",
  padTop: "i32",
  padLeft: "i32",
  outH: "u32",
  outW: "u32",
};

/**
 * WGSL: `struct Row`, `rowOf(z, r)`, and `left(row, k)`, four elements of the left operand from k on, zero beyond it.
 */
function leftCode(left: Left): string {
  const four = left.endsWith("4");
  if (left.startsWith("matrix")) {
    return `
struct Row { inside: bool, at: u32 }
fn rowOf(z: u32, r: u32) -> Row { return Row(r < p.m, z * p.aBatch + r * p.aRow); }
fn left(row: Row, k: u32) -> vec4f {
  if (!row.inside || k >= p.k) { return vec4f(0.0); }
  ${
      four ? "return a[(row.at + k) / 4u];" : `var v = vec4f(0.0);
  for (var e = 0u; e < 4u; e++) {
    if (k + e < p.k) { v[e] = a[row.at + (k + e) * p.aColumn]; }
  }
  return v;`
    }
}`;
  }
  return `
struct Row { inside: bool, image: u32, y: i32, x: i32 }
fn rowOf(z: u32, r: u32) -> Row {
  let size = p.outH * p.outW;
  let pixel = r % size;
  return Row(
    r < p.m,
    r / size,
    i32(pixel / p.outW) * p.stride - p.padTop,
    i32(pixel % p.outW) * p.stride - p.padLeft,
  );
}
// Offset of channel 0 of the pixel under tap t, or -1 outside of the image.
fn pixelAt(row: Row, t: u32) -> i32 {
  let y = row.y + i32(t / p.kw);
  let x = row.x + i32(t % p.kw);
  let inside = y >= 0 && x >= 0 && (y >> p.halve) < i32(p.h) && (x >> p.halve) < i32(p.w);
  return select(-1, ((i32(row.image * p.h) + (y >> p.halve)) * i32(p.w) + (x >> p.halve)) * i32(p.cIn), inside);
}
fn left(row: Row, k: u32) -> vec4f {
  if (!row.inside || k >= p.k) { return vec4f(0.0); }
  ${
    four
      ? `let at = pixelAt(row, k / p.cIn);
  if (at < 0) { return vec4f(0.0); }
  return a[(u32(at) + k % p.cIn) / 4u];`
      : `var v = vec4f(0.0);
  for (var e = 0u; e < 4u; e++) {
    let at = pixelAt(row, (k + e) / p.cIn);
    if (k + e < p.k && at >= 0) { v[e] = a[u32(at) + (k + e) % p.cIn]; }
  }
  return v;`
  }
}`;
}

/** WGSL: `right(z, k, quad)`, four neighbouring columns of row k of the right operand, zero beyond it. */
export function rightCode(right: Right): string {
  const packed = right === "f32" || right === "f16";
  if (packed) {
    const load = right === "f32" ? "b[k * p.quads + quad]" : "unpackFour(b[k * p.quads + quad])";
    return `
fn unpackFour(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn right(z: u32, k: u32, quad: u32) -> vec4f {
  if (k >= p.k || quad >= p.quads) { return vec4f(0.0); }
  return ${load};
}`;
  }
  return `
fn right(z: u32, k: u32, quad: u32) -> vec4f {
  var v = vec4f(0.0);
  for (var e = 0u; e < 4u; e++) {
    let column = quad * 4u + e;
    if (k < p.k && column < p.n) { v[e] = b[z * p.bBatch + ${
    right === "plain" ? "k * p.n + column" : "column * p.k + k"
  }]; }
  }
  return v;
}`;
}

/** WGSL: `finish(z, row, column, sum)` stores four neighbouring results after the epilogue, those that exist. */
export function finishCode(outFour: boolean): string {
  return `
${activationFunction}
${rowTableFunction("gate")}
fn finish(z: u32, row: u32, column: u32, sum: vec4f) {
  if (row >= p.m || column >= p.n) { return; }
  let all = z * p.m + row;
  var v = sum;
  for (var e = 0u; e < 4u; e++) {
    if (p.biasOn != 0u && column + e < p.n) { v[e] += bias[column + e]; }
  }
  v = act4(p.activation, v);
  for (var e = 0u; e < 4u; e++) {
    if (p.gateOn != 0u && column + e < p.n) { v[e] *= gate[atGate(all) + column + e]; }
  }
  ${
    outFour
      ? `let at = (all * p.n + column) / 4u;
  if (p.residualOn != 0u) { v += residual[at]; }
  out[at] = v;`
      : `for (var e = 0u; e < 4u; e++) {
    if (column + e < p.n) {
      let at = all * p.n + column + e;
      if (p.residualOn != 0u) { v[e] += residual[at]; }
      out[at] = v[e];
    }
  }`
  }
}`;
}

function program(size: BlockSize, left: Left, right: Right, outFour: boolean): Program {
  const outType = outFour ? "array<vec4f>" : "array<f32>";
  return {
    kernel: left.startsWith("image") ? "conv2d" : "matmul",
    variant: `block${size},${left},${right}${outFour ? "" : ",odd"}`,
    build: () => ({
      params: { ...common, ...(left.startsWith("image") ? imageParams : matrixParams) },
      buffers: {
        a: { type: left.endsWith("4") ? "array<vec4f>" : "array<f32>", access: "read" },
        b: {
          type: right === "f32" ? "array<vec4f>" : right === "f16" ? "array<vec2u>" : "array<f32>",
          access: "read",
        },
        bias: { type: "array<f32>", access: "read" },
        gate: { type: "array<f32>", access: "read" },
        residual: { type: outType, access: "read" },
        out: { type: outType, access: "write" },
      },
      code: blockCode(size, left, right, outFour),
    }),
  };
}

/** Grid: x = block of columns, y = block of rows, z = batch. */
function blockCode(size: BlockSize, left: Left, right: Right, outFour: boolean): string {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const parts = range(size / 64); // a thread's rows and columns come in groups of four, 64 apart
  const loads = range(size * depth / 4 / threads);
  const rows = parts.flatMap((h) => range(4).map((e) => ({ name: `${h}${e}`, offset: h * 64 + e })));
  const rowsPerLoad = threads / (depth / 4);
  const quads = size / 4;
  return `
${leftCode(left)}
${rightCode(right)}
// The left block is stored transposed, so that a thread reads neighbouring rows.
var<workgroup> aBlock: array<f32, ${depth * size}>;
var<workgroup> bBlock: array<vec4f, ${depth * quads}>;
${finishCode(outFour)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let z = wid.z;
  let firstRow = wid.y * ${size}u;
  let firstQuad = wid.x * ${quads}u;
  let tx = lid % 16u;
  let ty = lid / 16u;
  let loadRow = lid / ${depth / 4}u;
  let loadK = (lid % ${depth / 4}u) * 4u;
  ${loads.map((l) => `let row${l} = rowOf(z, firstRow + loadRow + ${l * rowsPerLoad}u);`).join("\n  ")}
  ${rows.map((r) => parts.map((g) => `var s${r.name}_${g} = vec4f(0.0);`).join(" ")).join("\n  ")}
  for (var base = 0u; base < p.k; base += ${depth}u) {
    ${
    loads.map((l) => `
    let a${l} = left(row${l}, base + loadK);
    for (var e = 0u; e < 4u; e++) { aBlock[(loadK + e) * ${size}u + loadRow + ${l * rowsPerLoad}u] = a${l}[e]; }
    let i${l} = lid + ${l * threads}u;
    bBlock[i${l}] = right(z, base + i${l} / ${quads}u, firstQuad + i${l} % ${quads}u);`).join("")
  }
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      ${parts.map((g) => `let b${g} = bBlock[k * ${quads}u + tx + ${g * 16}u];`).join("\n      ")}
      ${
    rows.map((r) =>
      `let a_${r.name} = aBlock[k * ${size}u + ty * 4u + ${r.offset}u]; ` +
      parts.map((g) => `s${r.name}_${g} += a_${r.name} * b${g};`).join(" ")
    ).join("\n      ")
  }
    }
    workgroupBarrier();
  }
  let row = firstRow + ty * 4u;
  let column = (firstQuad + tx) * 4u;
  ${
    rows.map((r) => parts.map((g) => `finish(z, row + ${r.offset}u, column + ${g * 64}u, s${r.name}_${g});`).join(" "))
      .join("\n  ")
  }
}`;
}

/** Blocks of 128 where there are enough of them to fill the card, else of 64. */
function blockSize({ tuning }: Context, rows: number, n: number, batch: number): BlockSize {
  return Math.ceil(rows / 128) * Math.ceil(n / 128) * batch >= tuning.fewestLargeBlocks ? 128 : 64;
}

export function epilogueParams(epilogue: Epilogue): Record<string, number> {
  return {
    activation: activationCodes[epilogue.activation],
    biasOn: epilogue.bias ? 1 : 0,
    gateOn: epilogue.gate ? 1 : 0,
    residualOn: epilogue.residual ? 1 : 0,
    ...tableParams("gate", epilogue.gate),
  };
}

/** The dispatch limit of 65535 workgroups per dimension. */
const maxGroups = 65535;

/** Serves every product whose grid fits into one dispatch; returns false otherwise. */
export function matmulHardware(gpu: Context, args: Kernels["matmul"]): boolean {
  const { a, b, out, n, k, transA, transB, packed, bType, epilogue } = args;
  const joined = (packed || args.bBatchStride === 0) && !transA && args.aBatchStride === args.m * k;
  const batch = joined ? 1 : args.batch;
  const m = joined ? args.batch * args.m : args.m;
  const size = blockSize(gpu, m, n, batch);
  const groups = [Math.ceil(n / size), Math.ceil(m / size), batch] as const;
  if (groups.some((g) => g > maxGroups)) return false;
  const left = !transA && k % 4 === 0 && (batch === 1 || args.aBatchStride % 4 === 0) ? "matrix4" : "matrix1";
  const right = packed ? bType : transB ? "plainT" : "plain";
  gpu.dispatch(
    program(size, left, right, n % 4 === 0),
    {
      a,
      b,
      out,
      bias: epilogue.bias ?? gpu.empty,
      gate: epilogue.gate?.data ?? gpu.empty,
      residual: epilogue.residual ?? gpu.empty,
    },
    {
      m,
      n,
      k,
      quads: paddedColumns(n) / 4,
      aBatch: batch === 1 ? 0 : args.aBatchStride,
      aRow: transA ? 1 : k,
      aColumn: transA ? m : 1,
      bBatch: packed ? 0 : args.bBatchStride,
      ...epilogueParams(epilogue),
    },
    groups,
  );
  return true;
}

export function convHardware(gpu: Context, args: Kernels["conv2d"]): boolean {
  const { x, weight, out, bias, residual, activation, batch, h, w, cIn, cOut, kh, kw, outH, outW, wType } = args;
  const m = batch * outH * outW;
  const size = blockSize(gpu, m, cOut, 1);
  const groups = [Math.ceil(cOut / size), Math.ceil(m / size), 1] as const;
  if (groups.some((g) => g > maxGroups)) return false;
  gpu.dispatch(
    program(size, cIn % 4 === 0 ? "image4" : "image1", wType, cOut % 4 === 0),
    {
      a: x,
      b: weight,
      out,
      bias: bias ?? gpu.empty,
      gate: gpu.empty,
      residual: residual ?? gpu.empty,
    },
    {
      m,
      n: cOut,
      k: kh * kw * cIn,
      quads: paddedColumns(cOut) / 4,
      bBatch: 0,
      h,
      w,
      cIn,
      kw,
      stride: args.stride,
      halve: args.upsample === 2 ? 1 : 0,
      padTop: args.padTop,
      padLeft: args.padLeft,
      outH,
      outW,
      ...epilogueParams({ bias, activation, residual }),
    },
    groups,
  );
  return true;
}
