/**
 * The left operand of products on hardware adapters: how a workgroup's threads read their share of a block of it, four
 * elements along k at a time. It is a matrix, or for convolutions an image whose pixels under a tap are rows.
 */
import type { ScalarType } from "../program.ts";
import { rowsOf, threadsOf, type Tile } from "../tiles.ts";

/**
 * Where elements come from: rows of a matrix by four or one by one, columns of a matrix (stored transposed); an image
 * with a multiple of 8 channels, or with any number.
 */
export type Left = "rows4" | "rows1" | "columns1" | "image8" | "image1";

/** WGSL with which a block of an operand is filled. */
export interface Operand {
  /** Type of the buffer. */
  readonly buffer: string;
  readonly params: Readonly<Record<string, ScalarType>>;
  readonly functions: string;
  /** Statements before the loop along k; they know z, firstRow, firstQuad, first, end and lid. */
  readonly setup: string;
  /** Statements that load a thread's share of the steps from `k` on into variables; zero from `end` on. */
  readonly load: string;
  /** Statements that go one block further along k. */
  readonly advance: string;
  /** Statements that store the variables into the block `side` of workgroup memory. */
  readonly store: string;
}

export const matrixParams: Readonly<Record<string, ScalarType>> = { aBatch: "u32", aRow: "u32", aColumn: "u32" };
export const imageParams: Readonly<Record<string, ScalarType>> = {
  ...{ h: "u32", w: "u32", cIn: "u32", kw: "u32", stride: "i32", halve: "u32" },
  ...{ padTop: "i32", padLeft: "i32", outH: "u32", outW: "u32" },
};

/** WGSL: up to four elements of `buffer` from `at` on, `step` apart; zero for those beyond `count`. */
export function fourFunction(buffer: string): string {
  return `
fn ${buffer}Four(at: u32, step: u32, count: u32) -> vec4f {
  var v = vec4f(0.0);
  ${["x", "y", "z", "w"].map((c, e) => `if (count > ${e}u) { v.${c} = ${buffer}[at + ${e}u * step]; }`).join("\n  ")}
  return v;
}`;
}

/** A piece of WGSL per share of a thread; those beyond the block's end are left out by `inside`. */
export function perSlot(count: number, threads: number, code: (slot: number, inside: string) => string): string {
  return Array.from({ length: Math.ceil(count / threads) }, (_, slot) => {
    const partly = (slot + 1) * threads > count;
    return code(slot, partly ? `${count - slot * threads}u > lid` : "");
  }).join("\n    ");
}

/** `if (conditions) { body }`, without the empty ones. */
export function when(conditions: readonly string[], body: string): string {
  const all = conditions.filter((condition) => condition !== "");
  return all.length === 0 ? body : `if (${all.join(" && ")}) { ${body} }`;
}

/**
 * Rows of the image's pixels: where the window of each begins. Conditions are joined by all(), not by &&, of which naga
 * makes nested branches: SwiftShader compiled some of these programs for minutes, and compiles them in seconds without.
 */
const pixelFunctions = `
struct Window { image: u32, y: i32, x: i32 }
fn windowOf(row: u32) -> Window {
  let size = p.outH * p.outW;
  let pixel = row % size;
  return Window(
    row / size,
    i32(pixel / p.outW) * p.stride - p.padTop,
    i32(pixel % p.outW) * p.stride - p.padLeft,
  );
}
// Offset of channel 0 of the pixel (ky, kx) of a window, or -1 outside of the image.
fn pixelAt(window: Window, ky: i32, kx: i32) -> i32 {
  let y = window.y + ky;
  let x = window.x + kx;
  let inside = all(vec4<bool>((y >= 0), (x >= 0), ((y >> p.halve) < i32(p.h)), ((x >> p.halve) < i32(p.w))));
  return select(-1, ((i32(window.image * p.h) + (y >> p.halve)) * i32(p.w) + (x >> p.halve)) * i32(p.cIn), inside);
}`;

/** Blocks are [threads below each other][rows of a thread][four-vectors along k], of f32 (`f`) or f16 (`h`). */
export function leftOperand(left: Left, tile: Tile, type: "f" | "h" = "f"): Operand {
  const rows = rowsOf(tile), threads = threadsOf(tile), quads = tile.depth / 4;
  const each = (code: (slot: number, inside: string) => string) => perSlot(rows * quads, threads, code);
  const byColumn = left === "columns1";
  // Neighbouring threads read neighbouring memory: along k, or along rows where columns are stored.
  const place = each((l) =>
    `let aRow${l} = (lid + ${l * threads}u) ${byColumn ? `% ${rows}u` : `/ ${quads}u`};
    let aQuad${l} = (lid + ${l * threads}u) ${byColumn ? `/ ${rows}u` : `% ${quads}u`};
    let aSource${l} = min(firstRow + aRow${l}, p.m - 1u);
    var a${l} = vec4f(0.0);`
  );
  const store = each((l, inside) =>
    when(
      [inside],
      `aBlock[side][aRow${l} / ${tile.threadRows}u][aRow${l} % ${tile.threadRows}u][aQuad${l}] =
      vec4${type}(a${l});`,
    )
  );
  const { setup, ...source } = left.startsWith("image") ? imageSource(left, tile, each) : matrixSource(left, each);
  return { ...source, setup: `${place}\n    ${setup}`, store };
}

type Each = (code: (slot: number, inside: string) => string) => string;
type Source = Omit<Operand, "store">;

function matrixSource(left: Left, each: Each): Source {
  if (left === "rows4") {
    return {
      ...{ buffer: "array<vec4f>", params: matrixParams, functions: "", advance: "" },
      setup: each((l) => `let aAt${l} = (z * p.aBatch + aSource${l} * p.aRow) / 4u + aQuad${l};`),
      load: each((l, inside) =>
        `a${l} = vec4f(0.0);
    ${when([inside, `k + 4u * aQuad${l} < end`], `a${l} = a[aAt${l} + k / 4u];`)}`
      ),
    };
  }
  return {
    ...{ buffer: "array<f32>", params: matrixParams, functions: fourFunction("a"), advance: "" },
    setup: each((l) => `let aAt${l} = z * p.aBatch + aSource${l} * p.aRow + 4u * aQuad${l} * p.aColumn;`),
    load: each((l, inside) =>
      when(
        [inside],
        `a${l} = aFour(aAt${l} + k * p.aColumn, p.aColumn, max(end, k + 4u * aQuad${l}) - k - 4u * aQuad${l});`,
      )
    ),
  };
}

function imageSource(left: Left, { depth }: Tile, each: Each): Source {
  if (left === "image1") {
    // Any number of channels: the tap of every element is computed anew.
    const element = (c: string, e: number, l: number) =>
      `let k${l}_${e} = k + 4u * aQuad${l} + ${e}u; let tap${l}_${e} = k${l}_${e} / p.cIn;
    let at${l}_${e} = pixelAt(window${l}, i32(tap${l}_${e} / p.kw), i32(tap${l}_${e} % p.kw));
    let ok${l}_${e} = all(vec2<bool>((k${l}_${e} < end), (at${l}_${e} >= 0)));
    a${l}.${c} = select(0.0, a[select(0u, u32(at${l}_${e}) + k${l}_${e} % p.cIn, ok${l}_${e})], ok${l}_${e});`;
    return {
      ...{ buffer: "array<f32>", params: imageParams, functions: pixelFunctions, advance: "" },
      setup: each((l) => `let window${l} = windowOf(aSource${l});`),
      load: each((l, inside) =>
        `a${l} = vec4f(0.0);
    ${when([inside], ["x", "y", "z", "w"].map((c, e) => element(c, e, l)).join("\n    "))}`
      ),
    };
  }
  // A block along k lies within one tap: its pixels are found once per tap.
  const taps = each((l) => `at${l} = pixelAt(window${l}, ky, kx);`);
  return {
    ...{ buffer: "array<vec4f>", params: imageParams, functions: pixelFunctions },
    setup: `var channel = first % p.cIn;
    var ky = i32(first / p.cIn / p.kw);
    var kx = i32(first / p.cIn % p.kw);
    ${each((l) => `let window${l} = windowOf(aSource${l}); var at${l} = pixelAt(window${l}, ky, kx);`)}`,
    load: each((l, inside) =>
      `a${l} = vec4f(0.0);
    ${when([inside, `at${l} >= 0`], `a${l} = a[(u32(at${l}) + channel) / 4u + aQuad${l}];`)}`
    ),
    advance: `channel += ${depth}u;
    if (channel == p.cIn) {
      channel = 0u;
      kx++;
      if (kx == i32(p.kw)) { kx = 0; ky++; }
      ${taps}
    }`,
  };
}
