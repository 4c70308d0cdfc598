/**
 * The right operand of products on hardware adapters, read four neighbouring columns at a time: a packed weight, a
 * matrix, or for gradients of convolution weights an image whose pixels are rows.
 */
import type { ScalarType } from "../program.ts";
import { columnsOf, threadsOf, type Tile } from "../tiles.ts";
import { fourFunction, imageParams, type Operand, perSlot, when } from "./hardware_left.ts";

/**
 * Rows of four-vectors (packed weights, and matrices whose width is a multiple of four), in f32 or f16; rows of any
 * width; columns (stored transposed); taps of an image with a multiple of 4 channels, or with any number.
 */
export type Right = "f32" | "f16" | "rows1" | "columns1" | "taps4" | "taps1";

/** Those of images, and the steps along x, y and images from one block of pixels to the next. */
export const tapsParams: Readonly<Record<string, ScalarType>> = {
  ...imageParams,
  ...{ stepX: "u32", stepY: "u32", stepImage: "u32" },
};

/** Statement that stores `v`, columns 4 quad to 4 quad + 3, into a row of the right block. */
function storeFour({ width }: Tile, type: "f" | "h", [row, quad, v]: readonly string[]): string {
  const block = `bBlock[side][${row} / 4u][${row} % 4u]`;
  if (width === 4) return `${block}[${quad}] = vec4${type}(${v});`;
  return `${block}[2u * ${quad}] = vec2${type}(${v}.xy); ${block}[2u * ${quad} + 1u] = vec2${type}(${v}.zw);`;
}

/** Blocks are [steps along k by four][steps][vectors of columns], of f32 (`f`) or f16 (`h`). */
export function rightOperand(right: Right, tile: Tile, type: "f" | "h" = "f"): Operand {
  const quads = columnsOf(tile) / 4, threads = threadsOf(tile), { depth } = tile;
  const each: Each = (code) => perSlot(depth * quads, threads, code);
  const byColumn = right === "columns1";
  const place = each((l) =>
    `let bRow${l} = (lid + ${l * threads}u) ${byColumn ? `% ${depth}u` : `/ ${quads}u`};
    let bQuad${l} = (lid + ${l * threads}u) ${byColumn ? `/ ${depth}u` : `% ${quads}u`};
    var b${l} = vec4f(0.0);`
  );
  const store = each((l, inside) => when([inside], storeFour(tile, type, [`bRow${l}`, `bQuad${l}`, `b${l}`])));
  const { setup, ...source } = right.startsWith("taps") ? tapsSource(right, each) : matrixSource(right, each);
  return { ...source, setup: `${place}\n    ${setup}`, store };
}

type Each = (code: (slot: number, inside: string) => string) => string;
type Source = Omit<Operand, "store">;

function matrixSource(right: Right, each: Each): Source {
  const params = { quads: "u32", bBatch: "u32" } as const;
  if (right === "f32" || right === "f16") {
    return {
      ...{ buffer: right === "f32" ? "array<vec4f>" : "array<vec2u>", params, advance: "" },
      functions: right === "f32" ? "fn bVector(v: vec4f) -> vec4f { return v; }" : `
fn bVector(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }`,
      setup: each((l) => `let bAt${l} = z * p.bBatch + bRow${l} * p.quads + min(firstQuad + bQuad${l}, p.quads - 1u);`),
      load: each((l, inside) =>
        `b${l} = vec4f(0.0);
    ${when([inside, `k + bRow${l} < end`], `b${l} = bVector(b[bAt${l} + k * p.quads]);`)}`
      ),
    };
  }
  const step = right === "rows1" ? { row: "p.n", column: "1u" } : { row: "1u", column: "p.k" };
  return {
    ...{ buffer: "array<f32>", params, functions: fourFunction("b"), advance: "" },
    setup: each((l) =>
      `let bColumn${l} = min(4u * (firstQuad + bQuad${l}), p.n - 1u);
    let bAt${l} = z * p.bBatch + bRow${l} * ${step.row} + bColumn${l} * ${step.column};`
    ),
    load: each((l, inside) =>
      `b${l} = vec4f(0.0);
    ${
        when(
          [inside, `k + bRow${l} < end`],
          `b${l} = bFour(bAt${l} + k * ${step.row}, ${step.column}, p.n - bColumn${l});`,
        )
      }`
    ),
  };
}

/**
 * Row k is output pixel k of all images, column (tap, channel) what the tap sees there. A thread's columns stay the
 * same; its pixel moves on by the block's depth, by additions and carries instead of divisions.
 */
function tapsSource(right: Right, each: Each): Source {
  const four = right === "taps4";
  const column = (l: number) =>
    four
      ? `let column${l} = min(4u * (firstQuad + bQuad${l}), p.n - 4u);
    let dy${l} = i32(column${l} / p.cIn / p.kw) - p.padTop;
    let dx${l} = i32(column${l} / p.cIn % p.kw) - p.padLeft;
    let channel${l} = column${l} % p.cIn;`
      : `let column${l} = min(4u * (firstQuad + bQuad${l}) + vec4u(0u, 1u, 2u, 3u), vec4u(p.n - 1u));
    let dy${l} = vec4i(column${l} / p.cIn / p.kw) - p.padTop;
    let dx${l} = vec4i(column${l} / p.cIn % p.kw) - p.padLeft;
    let channel${l} = column${l} % p.cIn;`;
  return {
    ...{ buffer: four ? "array<vec4f>" : "array<f32>", params: tapsParams },
    functions: `
fn tapAt(image: u32, y: i32, x: i32, channel: u32) -> i32 {
  let inside = all(vec4<bool>((y >= 0), (x >= 0), ((y >> p.halve) < i32(p.h)), ((x >> p.halve) < i32(p.w))));
  let at = ((i32(image * p.h) + (y >> p.halve)) * i32(p.w) + (x >> p.halve)) * i32(p.cIn) + i32(channel);
  return select(-1, at, inside);
}`,
    setup: each((l) =>
      `${column(l)}
    let pixel${l} = first + bRow${l};
    var x${l} = pixel${l} % p.outW;
    var y${l} = pixel${l} / p.outW % p.outH;
    var image${l} = pixel${l} / p.outW / p.outH;`
    ),
    load: each((l, inside) =>
      `b${l} = vec4f(0.0);
    ${when([inside, `k + bRow${l} < end`], loadTaps(l, four))}`
    ),
    advance: each((l) =>
      `x${l} += p.stepX; y${l} += p.stepY; image${l} += p.stepImage;
    if (x${l} >= p.outW) { x${l} -= p.outW; y${l}++; }
    if (y${l} >= p.outH) { y${l} -= p.outH; image${l}++; }`
    ),
  };
}

function loadTaps(l: number, four: boolean): string {
  const at = (c: string) =>
    `tapAt(image${l}, i32(y${l}) * p.stride + dy${l}${c}, i32(x${l}) * p.stride + dx${l}${c}, channel${l}${c})`;
  if (four) return `let at = ${at("")}; if (at >= 0) { b${l} = b[u32(at) / 4u]; }`;
  return [".x", ".y", ".z", ".w"].map((c, e) =>
    `let at${e} = ${at(c)}; if (at${e} >= 0) { b${l}${c} = b[u32(at${e})]; }`
  ).join(" ");
}
