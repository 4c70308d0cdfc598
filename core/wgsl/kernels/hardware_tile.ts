/**
 * Matrix products on hardware adapters: a workgroup computes a block of the result, with blocks of both operands in
 * workgroup memory and 8 x 8 results per thread (tiles.ts has the sizes). Convolution is the same product with a left
 * operand gathered from the image (implicit GEMM).
 *
 * The text of the inner loop is unrolled, because every index into workgroup memory that is not constant costs a
 * comparison, and every loop a counter: naga, Deno's WGSL compiler, adds both. While a block is computed with, the next
 * one is loaded into registers and then stored into the other half of workgroup memory, so that one barrier per block
 * is enough.
 */
import { groupIndex, mainInputs, type Program, type ScalarType } from "../program.ts";
import { columnsOf, rightPitch, rowsOf, threadsOf, type Tile } from "../tiles.ts";
import { epilogueParamTypes, finishCode } from "./hardware_finish.ts";
import { type Left, leftOperand, type Operand } from "./hardware_left.ts";
import { type Right, rightOperand } from "./hardware_right.ts";

/**
 * What happens to a block's results: the epilogue and a store ("finish"); for blocks in parts, a plain store ("sums");
 * or one of both, by the number of the block ("either").
 */
export type Ending = "finish" | "sums" | "either";

/** What a program is specialised for, beside its tile. */
export interface ProductKind {
  readonly left: Left;
  readonly right: Right;
  readonly ending: Ending;
  /** Whether rows of the result are stored in vectors of the tile's width. */
  readonly vectors: boolean;
  /** Whether operands and the sums of a block along k are float16. */
  readonly half?: boolean;
}

/** Parameters of every product. */
export const productParams: Readonly<Record<string, ScalarType>> = {
  ...{ m: "u32", n: "u32", k: "u32", across: "u32", down: "u32" },
  ...{ groups: "u32", whole: "u32", parts: "u32", partK: "u32" },
};

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** A product of this kind. It takes the parameters `productParams`, those of its operands and of its epilogue. */
export function productProgram(tile: Tile, kind: ProductKind): Program {
  const { left, right, ending, vectors, half } = kind;
  const stored = `array<${vectors ? `vec${tile.width}f` : "f32"}>`;
  const finishes = ending !== "sums";
  return {
    kernel: left.startsWith("image") ? "conv2d" : right.startsWith("taps") ? "conv2dWeightGradient" : "matmul",
    variant: `${tile.name},${left},${right},${ending}${finishes && !vectors ? ",odd" : ""}${half ? ",half" : ""}`,
    build: () => {
      const type = half ? "h" : "f";
      const [a, b] = [leftOperand(left, tile, type), rightOperand(right, tile, type)];
      return {
        extensions: half ? ["f16"] : [],
        params: { ...productParams, ...(finishes ? epilogueParamTypes : {}), ...a.params, ...b.params },
        buffers: {
          a: { type: a.buffer, access: "read" },
          b: { type: b.buffer, access: "read" },
          ...(finishes
            ? {
              bias: { type: stored, access: "read" },
              gate: { type: "array<f32>", access: "read" },
              residual: { type: stored, access: "read" },
              out: { type: stored, access: "write" },
            }
            : {}),
          ...(ending === "finish" ? {} : { sums: { type: `array<vec${tile.width}f>`, access: "write" } }),
        },
        code: blockCode(tile, kind, a, b),
      };
    },
  };
}

/** Which block, which steps along k, and which part of the block this thread has: whole blocks first, then parts. */
function placeCode(tile: Tile, ending: Ending): string {
  return `let group = ${groupIndex};
  if (group >= p.groups) { return; }
  var block = group;
  var first = 0u;
  var end = p.k;
  ${
    ending === "finish" ? "" : `if (group >= p.whole) {
    block = p.whole + (group - p.whole) / p.parts;
    first = (group - p.whole) % p.parts * p.partK;
    end = min(p.k, first + p.partK);
  }`
  }
  let firstQuad = block % p.across * ${columnsOf(tile) / 4}u;
  let firstRow = block / p.across % p.down * ${rowsOf(tile)}u;
  let z = block / p.across / p.down;
  let tx = lid % ${tile.columnThreads}u;
  let ty = lid / ${tile.columnThreads}u % ${tile.rowThreads}u;
  let slice = lid / ${tile.columnThreads * tile.rowThreads}u;`;
}

function blockCode(tile: Tile, { right, ending, vectors, half = false }: ProductKind, a: Operand, b: Operand): string {
  const { depth, threadRows, rowThreads, width } = tile;
  const type = half ? "h" : "f", vector = `vec${width}f`, pitch = rightPitch(tile, right === "columns1") * 4 / width;
  const sums = range(threadRows).flatMap((e) => range(tile.vectors).map((g) => `s${e}_${g}`));
  return `
${a.functions}
${b.functions}
var<workgroup> aBlock: array<array<array<array<vec4${type}, ${depth / 4}>, ${threadRows}>, ${rowThreads}>, 2>;
var<workgroup> bBlock: array<array<array<array<vec${width}${type}, ${pitch}>, 4>, ${depth / 4}>, 2>;
${half && tile.slices > 1 ? `var<workgroup> exchange: array<${vector}, ${exchanged(tile)}>;` : ""}
${ending === "sums" ? "" : finishCode(width, vectors)}
@compute @workgroup_size(${threadsOf(tile)})
fn main(${mainInputs}) {
  ${placeCode(tile, ending)}
    ${a.setup}
    ${b.setup}
  ${sums.map((s) => `var ${s} = ${vector}(0.0);`).join(" ")}
  var side = 0u;
  var k = first;
    ${a.load}
    ${b.load}
    ${a.store}
    ${b.store}
  workgroupBarrier();
  loop {
    k += ${depth}u;
    let more = k < end;
    if (more) {
    ${a.advance}
    ${b.advance}
    ${a.load}
    ${b.load}
    }
    ${half ? multiplyHalfCode(tile) : multiplyCode(tile)}
    if (!more) { break; }
    side = 1u - side;
    ${a.store}
    ${b.store}
    workgroupBarrier();
  }
  ${endCode(tile, ending, half)}
}`;
}

/** Which four steps of a block along k a thread has, as WGSL: all of them, or those of its slice. */
function quadsOf({ depth, slices }: Tile): readonly string[] {
  return slices === 1 ? range(depth / 4).map((quad) => `${quad}u`) : ["slice"];
}

/** Loads what a thread multiplies of the four steps `quad`: its columns at each step, and its rows. */
function loadCode({ threadRows, vectors, columnThreads }: Tile, quad: string, q: number): string[] {
  return [
    ...range(4).flatMap((j) =>
      range(vectors).map((g) => `let b${4 * q + j}_${g} = bBlock[side][${quad}][${j}][tx + ${g * columnThreads}u];`)
    ),
    ...range(threadRows).map((e) => `let a${q}_${e} = aBlock[side][ty][${e}][${quad}];`),
  ];
}

/** Adds the products of one block along k. */
function multiplyCode(tile: Tile): string {
  return quadsOf(tile).flatMap((quad, q) => [
    ...loadCode(tile, quad, q),
    ...range(tile.threadRows).flatMap((e) =>
      [..."xyzw"].map((c, j) =>
        range(tile.vectors).map((g) => `s${e}_${g} += a${q}_${e}.${c} * b${4 * q + j}_${g};`).join(" ")
      )
    ),
  ]).join("\n    ");
}

/**
 * The same with float16 products and sums, added to float32 sums at the block's end: half the instructions where cards
 * do two at once, but for those additions.
 */
function multiplyHalfCode(tile: Tile): string {
  const quads = quadsOf(tile);
  return [
    ...quads.flatMap((quad, q) => loadCode(tile, quad, q)),
    ...range(tile.threadRows).flatMap((e) =>
      range(tile.vectors).map((g) => {
        const products = quads.flatMap((_, q) => [..."xyzw"].map((c, j) => `a${q}_${e}.${c} * b${4 * q + j}_${g}`));
        return `s${e}_${g} += vec${tile.width}f(${products.join(" + ")});`;
      })
    ),
  ].join("\n    ");
}

/** Vectors that slices hand over at once: one row of every thread but those of the first slice. */
function exchanged({ slices, rowThreads, columnThreads, vectors }: Tile): number {
  return (slices - 1) * rowThreads * columnThreads * vectors;
}

/**
 * Stores a thread's results row by row. The sums move up by a row each time, so that the epilogue's text occurs once
 * per vector instead of once per row.
 */
function endCode(tile: Tile, ending: Ending, half: boolean): string {
  const { threadRows, vectors, columnThreads, width } = tile;
  const across = vectors * columnThreads;
  const finish = range(vectors).map((g) =>
    `finish(z, firstRow + row, 4u * firstQuad + (tx + ${g * columnThreads}u) * ${width}u, s0_${g});`
  ).join(" ");
  const keep = `let at = ((group - p.whole) * ${rowsOf(tile)}u + row) * ${across}u + tx;` +
    range(vectors).map((g) => ` sums[at + ${g * columnThreads}u] = s0_${g};`).join("");
  const store = ending === "finish"
    ? finish
    : ending === "sums"
    ? keep
    : `if (group < p.whole) { ${finish} } else { ${keep} }`;
  return `${tile.slices > 1 ? "workgroupBarrier();" : ""}
  for (var e = 0u; e < ${threadRows}u; e++) {
    let row = ty * ${threadRows}u + e;
    ${tile.slices > 1 ? joinSlicesCode(tile, half, store) : store}
    ${
    range(threadRows - 1).map((e) => range(vectors).map((g) => `s${e}_${g} = s${e + 1}_${g};`).join(" ")).join("\n    ")
  }
  }`;
}

/** Adds a row's sums of all slices to those of the first one, which stores them. The right block is free by then. */
function joinSlicesCode(tile: Tile, half: boolean, store: string): string {
  const { slices, rowThreads, columnThreads, vectors, depth } = tile;
  const perSlice = rowThreads * columnThreads;
  const pitch = rightPitch(tile);
  const place = (slice: string, g: number) => {
    const at = `((${slice} - 1u) * ${vectors * perSlice}u + ${g * perSlice}u + lid % ${perSlice}u)`;
    if (half) return `exchange[${at}]`;
    const quad = `${at} / ${pitch * 4}u % ${depth / 4}u`;
    return `bBlock[${at} / ${pitch * depth}u][${quad}][${at} / ${pitch}u % 4u][${at} % ${pitch}u]`;
  };
  return `if (slice > 0u) { ${range(vectors).map((g) => `${place("slice", g)} = s0_${g};`).join(" ")} }
    workgroupBarrier();
    if (slice == 0u) {
      ${
    range(vectors).map((g) => range(slices - 1).map((i) => `s0_${g} += ${place(`${i + 1}u`, g)};`).join(" ")).join(
      "\n      ",
    )
  }
      ${store}
    }
    workgroupBarrier();`;
}
