/**
 * The frame of kernels over rows (softmax, norms): on software adapters a thread per row without barriers, on hardware
 * a workgroup per row with reductions in workgroup memory. A kernel has one body for both.
 */
import type { Context } from "../context.ts";
import { groupIndex, type Groups, linearGroups, mainInputs } from "../program.ts";

export type RowTiles = Context["tiles"];

const hardwareThreads = 128;
const softwareThreads = 8;

/**
 * WGSL with `fn main`. In `body`, `r` is the row (there are `p.rows`), `first` and `step` drive the loops over the row
 * (`for (var i = first; i < n; i += step)`), and after a loop `rowSum(v)`, `rowMax(v)` join the threads' values.
 * `lead` is true in one thread per row.
 */
export function rowKernel(tiles: RowTiles, body: string): string {
  if (tiles === "software") {
    return `
fn rowSum(v: f32) -> f32 { return v; }
fn rowMax(v: f32) -> f32 { return v; }
@compute @workgroup_size(${softwareThreads})
fn main(${mainInputs}) {
  let r = ${groupIndex} * ${softwareThreads}u + lid;
  if (r >= p.rows) { return; }
  const first = 0u;
  const step = 1u;
  const lead = true;
  ${body}
}`;
  }
  const join = (name: string, combine: string) => `
fn ${name}(v: f32) -> f32 {
  shared_values[row_thread] = v;
  workgroupBarrier();
  for (var half = ${hardwareThreads / 2}u; half > 0u; half = half / 2u) {
    if (row_thread < half) {
      let a = shared_values[row_thread];
      let b = shared_values[row_thread + half];
      shared_values[row_thread] = ${combine};
    }
    workgroupBarrier();
  }
  let result = shared_values[0];
  workgroupBarrier();
  return result;
}`;
  return `
var<workgroup> shared_values: array<f32, ${hardwareThreads}>;
var<private> row_thread: u32;
${join("rowSum", "a + b")}
${join("rowMax", "max(a, b)")}
@compute @workgroup_size(${hardwareThreads})
fn main(${mainInputs}) {
  row_thread = lid;
  let r = ${groupIndex};
  // The same in all threads of a group, so barriers may follow. Rows may change in place: none is computed twice.
  if (r >= p.rows) { return; }
  let first = lid;
  const step = ${hardwareThreads}u;
  let lead = lid == 0u;
  ${body}
}`;
}

/**
 * The frame for rows of `n` steps. Software adapters stop a thread after 65535 loop iterations (a limit of llvmpipe),
 * so a workgroup takes a long row there, too.
 */
export function rowTilesFor(gpu: Context, n: number): RowTiles {
  return n > 16000 ? "hardware" : gpu.tiles;
}

export function rowGroups(tiles: RowTiles, rows: number): Groups {
  return linearGroups(tiles === "software" ? Math.ceil(rows / softwareThreads) : rows);
}

/** WGSL for a RowTable named `name` with parameters nameSeq, nameBatch, nameRow, nameOffset: its element (r, c). */
export function rowTableFunction(name: string): string {
  const N = name[0].toUpperCase() + name.slice(1);
  return `
fn at${N}(r: u32) -> u32 {
  return (r / p.${name}Seq) * p.${name}Batch + (r % p.${name}Seq) * p.${name}Row + p.${name}Offset;
}`;
}
