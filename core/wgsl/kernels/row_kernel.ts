/**
 * The frame of kernels over rows (softmax, norms): on software adapters a thread per row without barriers, on hardware a
 * workgroup per row, or eight short rows, with reductions in workgroup memory. A kernel has one body for all.
 */
import type { Context } from "../context.ts";
import { groupIndex, type Groups, linearGroups, mainInputs } from "../program.ts";

/** How rows are spread over threads; `short` is `hardware` with several rows per workgroup. */
export type RowTiles = Context["tiles"] | "short";

/** Threads of a workgroup, and how many of them share a row. */
const sizes = {
  software: { threads: 8, lanes: 1 },
  hardware: { threads: 128, lanes: 128 },
  short: { threads: 128, lanes: 16 },
} as const;

/** Rows of up to so many steps are short. */
const shortRow = 256;

/**
 * WGSL with `fn main`. In `body`, `r` is the row (there are `p.rows`), `first` and `step` drive the loops over the row
 * (`for (var i = first; i < n; i += step)`), and after a loop `rowSum(v)`, `rowMax(v)` join the threads' values.
 * `lead` is true in one thread per row. Nothing is written but in such loops and under `lead`.
 */
export function rowKernel(tiles: RowTiles, body: string): string {
  const { threads, lanes } = sizes[tiles];
  if (tiles === "software") {
    return `
fn rowSum(v: f32) -> f32 { return v; }
fn rowMax(v: f32) -> f32 { return v; }
@compute @workgroup_size(${threads})
fn main(${mainInputs}) {
  let r = ${groupIndex} * ${threads}u + lid;
  if (r >= p.rows) { return; }
  const first = 0u;
  const step = 1u;
  const lead = true;
  ${body}
}`;
  }
  const join = (name: string, combine: string) => `
fn ${name}(v: f32) -> f32 {
  shared_values[thread] = v;
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0u; half = half / 2u) {
    if (row_thread < half) {
      let a = shared_values[thread];
      let b = shared_values[thread + half];
      shared_values[thread] = ${combine};
    }
    workgroupBarrier();
  }
  let result = shared_values[thread - row_thread];
  workgroupBarrier();
  return result;
}`;
  return `
var<workgroup> shared_values: array<f32, ${threads}>;
var<private> thread: u32;
var<private> row_thread: u32;
${join("rowSum", "a + b")}
${join("rowMax", "max(a, b)")}
@compute @workgroup_size(${threads})
fn main(${mainInputs}) {
  thread = lid;
  row_thread = lid % ${lanes}u;
  let row = ${groupIndex} * ${threads / lanes}u + lid / ${lanes}u;
  // Threads beyond the last row reach the barriers, too, but their loops end at once: rows may change in place.
  let inside = row < p.rows;
  let r = min(row, p.rows - 1u);
  let first = select(0xffffffffu, row_thread, inside);
  let step = ${lanes}u;
  let lead = inside && row_thread == 0u;
  ${body}
}`;
}

/**
 * The frame for rows of `n` steps. Software adapters stop a thread after 65535 loop iterations (a limit of llvmpipe),
 * so a workgroup takes a long row there, too.
 */
export function rowTilesFor(gpu: Context, n: number): RowTiles {
  if (gpu.tiles === "software") return n > 16000 ? "hardware" : "software";
  return n <= shortRow ? "short" : "hardware";
}

export function rowGroups(tiles: RowTiles, rows: number): Groups {
  const { threads, lanes } = sizes[tiles];
  return linearGroups(Math.ceil(rows * lanes / threads));
}

/** WGSL for a RowTable named `name` with parameters nameSeq, nameBatch, nameRow, nameOffset: its element (r, c). */
export function rowTableFunction(name: string): string {
  const N = name[0].toUpperCase() + name.slice(1);
  return `
fn at${N}(r: u32) -> u32 {
  return (r / p.${name}Seq) * p.${name}Batch + (r % p.${name}Seq) * p.${name}Row + p.${name}Offset;
}`;
}
