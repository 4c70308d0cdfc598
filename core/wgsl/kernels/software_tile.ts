/**
 * Matrix products on software adapters: every thread keeps a tile of up to 16 x 16 results in registers, without
 * workgroup memory or barriers. Convolution is the same program; a matrix is an image with one tap.
 *
 * Both operands are textures of four numbers per texel: llvmpipe loads a texel with one 16-byte load per thread, but
 * loads from a buffer thread by thread. The four numbers are neighbours along k in both operands, so each result is
 * loaded and stored once per four products.
 */
import type { Storage } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import type { Texture } from "../pool.ts";
import type { Program } from "../program.ts";

/** Threads of a workgroup; llvmpipe's vector width. */
const lanes = 8;

/** Workgroups that a dispatch may have in one direction. */
const maxGroups = 65535;

type RowTile = 4 | 8 | 16;

/** Division of the columns of a result among threads. */
export interface ColumnTile {
  /** Columns per thread. */
  readonly columns: 4 | 8 | 16 | 20;
  /** Threads side by side along the columns: all of a workgroup, or one, and then the threads are along the rows. */
  readonly across: 1 | 8;
}

/** Measured time per padded column, relative to 16 columns per thread. */
const tileCosts: readonly (readonly [ColumnTile, number])[] = [
  [{ columns: 16, across: 8 }, 1],
  [{ columns: 20, across: 8 }, 1],
  [{ columns: 8, across: 8 }, 1.25],
  [{ columns: 4, across: 8 }, 1.7],
  // Threads along the rows read the left operand from distant addresses, which pays for very narrow results only.
  [{ columns: 8, across: 1 }, 2.5],
  [{ columns: 4, across: 1 }, 2.5],
];

/** Columns of a workgroup. */
export function blockColumns({ columns, across }: ColumnTile): number {
  return columns * across;
}

/** The tile that costs least for a result of `n` columns. */
export function columnTileFor(n: number): ColumnTile {
  let best = tileCosts[0][0];
  let bestCost = Infinity;
  for (const [tile, cost] of tileCosts) {
    const total = Math.ceil(n / blockColumns(tile)) * blockColumns(tile) * cost;
    if (total < bestCost && (tile.across > 1 || n <= 8)) {
      bestCost = total;
      best = tile;
    }
  }
  return best;
}

/** Steps along k that lie side by side in a texture row of a packed weight: about 1024 texels. */
function stepsPerRow(tile: ColumnTile): number {
  return Math.floor(1024 / blockColumns(tile));
}

/** Texels in a row of a packed weight; a multiple of 16, as rows are copied in multiples of 256 bytes (128 for f16). */
export function packedWidth(tile: ColumnTile): number {
  return stepsPerRow(tile) * blockColumns(tile);
}

/**
 * Geometry of the left operand's texture: images of `imageRows` texture rows, `segment` pixels of `c4` texels in a row.
 */
export interface ImageLayout {
  readonly c4: number;
  readonly border: number;
  /** Pixels that fit into a texture row, and texture rows that a pixel row takes. */
  readonly segment: number;
  readonly rowsPerLine: number;
  readonly imageRows: number;
}

interface TileTask {
  readonly a: Texture;
  readonly layout: ImageLayout;
  readonly b: Texture;
  readonly out: Storage;
  /** Result rows (pixels) per item of `batch`; the items have different b unless `sharedB`. */
  readonly rows: number;
  /** First result row of the output that is written. */
  readonly outRow: number;
  readonly n: number;
  readonly batch: number;
  readonly sharedB: boolean;
  readonly outW: number;
  readonly outH: number;
  readonly kh: number;
  readonly kw: number;
  readonly stride: number;
  readonly upsample: 1 | 2;
  readonly padTop: number;
  readonly padLeft: number;
}

function program(rowTile: RowTile, columnTile: ColumnTile, four: boolean): Program {
  return {
    kernel: "matmul",
    variant: `registers,${rowTile}x${columnTile.columns}${columnTile.across === 1 ? ",rows" : ""}${four ? "" : ",odd"}`,
    build: () => ({
      params: {
        rows: "u32",
        outRow: "u32",
        firstTile: "u32",
        n: "u32",
        blocks: "u32",
        bStep: "u32",
        k4: "u32",
        c4: "u32",
        border: "i32",
        segment: "u32",
        rowsPerLine: "u32",
        imageRows: "u32",
        outW: "u32",
        outH: "u32",
        kh: "i32",
        kw: "i32",
        stride: "i32",
        halve: "u32",
        padTop: "i32",
        padLeft: "i32",
      },
      buffers: {
        a: { access: "texture" },
        b: { access: "texture" },
        out: { type: four ? "array<vec4f>" : "array<f32>", access: "write" },
      },
      code: tileCode(rowTile, columnTile, four),
    }),
  };
}

/**
 * Grid: x = block of columns, y = tile of rows, z = batch. Texel (block, q, j, lane) of b, q along k, holds four k of
 * the column `block * columns * across + (j / 4) * 4 * across + lane * 4 + j % 4`; packProgram in software_pack.ts
 * writes it so.
 */
function tileCode(rowTile: RowTile, tile: ColumnTile, four: boolean): string {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const { columns, across } = tile;
  const i = range(rowTile);
  const j = range(columns);
  const perRow = stepsPerRow(tile);
  const lane = across === 1 ? "0u" : "lid";
  const store = (row: number, quad: number) => {
    const values = range(4).map((e) => `s${row}_${quad * 4 + e}`);
    const at = quad * 4 * across;
    return four
      ? `out[o + ${at / 4}u] = vec4f(${values.join(", ")});`
      : values.map((v, e) => `if (column + ${at + e}u < p.n) { out[o + ${at + e}u] = ${v}; }`).join(" ");
  };
  return `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lid: u32) {
  let block = wid.x;
  let first = ${across === 1 ? `((p.firstTile + wid.y) * ${lanes}u + lid)` : "(p.firstTile + wid.y)"} * ${rowTile}u;
  let imageSize = p.outW * p.outH;
  // Pixel of each row: the first by division, the others by counting. Rows beyond the last are computed, but not
  // stored.
  var image = wid.z * ((p.rows + imageSize - 1u) / imageSize) + first / imageSize;
  var oy = i32((first % imageSize) / p.outW);
  var ox = i32(first % p.outW);
  ${
    i.map((r) => `
  let x${r} = ox * p.stride - p.padLeft;
  let y${r} = oy * p.stride - p.padTop;
  let base${r} = min(image, (p.rows + imageSize - 1u) / imageSize * (wid.z + 1u) - 1u) * p.imageRows;
  ox++;
  if (ox == i32(p.outW)) { ox = 0; oy++; }
  if (oy == i32(p.outH)) { oy = 0; image++; }`).join("")
  }
  ${i.map((r) => j.map((c) => `var s${r}_${c} = 0.0;`).join(" ")).join("\n  ")}
  var t = (wid.z * p.bStep + block) * p.k4;
  for (var ky = 0; ky < p.kh; ky++) {
    for (var kx = 0; kx < p.kw; kx++) {
      ${
    i.map((r) => `
      let px${r} = u32(((x${r} + kx) >> p.halve) + p.border);
      let line${r} = u32(((y${r} + ky) >> p.halve) + p.border) * p.rowsPerLine;
      let tx${r} = (px${r} % p.segment) * p.c4;
      let ty${r} = base${r} + line${r} + px${r} / p.segment;`).join("")
  }
      for (var c = 0u; c < p.c4; c++) {
        let bx = (t % ${perRow}u) * ${columns * across}u + ${lane};
        let by = t / ${perRow}u;
        t++;
        ${i.map((r) => `let a${r} = textureLoad(a, vec2u(tx${r} + c, ty${r}), 0);`).join("\n        ")}
        ${j.map((n) => `let b${n} = textureLoad(b, vec2u(bx + ${n * across}u, by), 0);`).join("\n        ")}
        ${i.map((r) => j.map((n) => `s${r}_${n} += dot(a${r}, b${n});`).join("\n        ")).join("\n        ")}
      }
    }
  }
  let column = block * ${columns * across}u + ${lane} * 4u;
  let row = p.outRow + wid.z * p.rows + first;
  ${
    i.map((r) => `
  if (first + ${r}u < p.rows) {
    let o = ((row + ${r}u) * p.n + column)${four ? " / 4u" : ""};
    ${
      range(columns / 4).map((quad) =>
        four ? `if (column + ${quad * 4 * across}u < p.n) { ${store(r, quad)} }` : store(r, quad)
      )
        .join("\n    ")
    }
  }`).join("")
  }
}`;
}

/** Fills out[outRow.., n] with the products; the epilogue adds the bias and the rest. */
export function runTiles(gpu: Context, columnTile: ColumnTile, task: TileTask): void {
  const { layout } = task;
  // Threads along the rows touch 8 times as many pixels: with 16 each, their cache lines can evict one another.
  const rowTile: RowTile = task.rows <= 8 ? 4 : columnTile.across === 1 ? 8 : 16;
  const blocks = Math.ceil(task.n / blockColumns(columnTile));
  const rowsPerGroup = rowTile * (columnTile.across === 1 ? lanes : 1);
  const tiles = Math.ceil(task.rows / rowsPerGroup);
  const params = {
    rows: task.rows,
    outRow: task.outRow,
    n: task.n,
    blocks,
    bStep: task.sharedB ? 0 : blocks,
    k4: task.kh * task.kw * layout.c4,
    c4: layout.c4,
    border: layout.border,
    segment: layout.segment,
    rowsPerLine: layout.rowsPerLine,
    imageRows: layout.imageRows,
    outW: task.outW,
    outH: task.outH,
    kh: task.kh,
    kw: task.kw,
    stride: task.stride,
    halve: task.upsample === 2 ? 1 : 0,
    padTop: task.padTop,
    padLeft: task.padLeft,
  };
  for (let firstTile = 0; firstTile < tiles; firstTile += maxGroups) {
    gpu.dispatch(
      program(rowTile, columnTile, task.n % 4 === 0),
      { a: task.a, b: task.b, out: task.out },
      { ...params, firstTile },
      [blocks, Math.min(maxGroups, tiles - firstTile), task.batch],
    );
  }
}
