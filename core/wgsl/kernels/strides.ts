/**
 * WGSL for the offsets of an element in strided operands, one or four elements at a time. Binary ops and the strided
 * copy share it.
 */
import { collapse } from "../../tensor/shape.ts";
import type { ScalarType } from "../program.ts";

export interface Walk {
  readonly shape: readonly number[];
  readonly strides: readonly (readonly number[])[];
  /** True when four neighbours along the last dimension can be handled as one. */
  readonly four: boolean;
  /** Per operand, with `four`: "vector" for neighbouring elements, "splat" for one repeated element. */
  readonly modes: readonly ("vector" | "splat" | "element")[];
}

/**
 * Merges dimensions that are contiguous in all operands, and decides whether to use vec4s: the last dimension is a
 * multiple of 4, every operand has stride 1 or 0 there, and rows start at multiples of 4. `offsets` are the operands'.
 */
export function planWalk(
  shape: readonly number[],
  strideSets: readonly (readonly number[])[],
  offsets: readonly number[] = [],
): Walk {
  const merged = collapse(shape, strideSets);
  const last = merged.shape.length - 1;
  const modes = merged.strideSets.map((strides, s) => {
    if (strides[last] === 0) return "splat" as const;
    const aligned = strides[last] === 1 && strides.slice(0, last).every((v) => v % 4 === 0) &&
      (offsets[s] ?? 0) % 4 === 0;
    return aligned ? "vector" as const : "element" as const;
  });
  const four = merged.shape[last] % 4 === 0 && modes.every((m) => m !== "element");
  return {
    shape: merged.shape,
    strides: merged.strideSets,
    four,
    modes: four ? modes : modes.map(() => "element" as const),
  };
}

/** Parameters d0.. (sizes) and, per operand name, name0.. (strides). */
export function walkParams(rank: number, names: readonly string[]): Record<string, ScalarType> {
  const params: Record<string, ScalarType> = { count: "u32" };
  for (let d = 0; d < rank; d++) params[`d${d}`] = "u32";
  for (const name of names) {
    params[`${name}Start`] = "u32";
    for (let d = 0; d < rank; d++) params[`${name}${d}`] = "u32";
  }
  return params;
}

export function walkValues(walk: Walk, names: readonly string[], offsets: readonly number[]): Record<string, number> {
  const last = walk.shape.length - 1;
  const values: Record<string, number> = {};
  let count = 1;
  walk.shape.forEach((size, d) => {
    const steps = walk.four && d === last ? size / 4 : size;
    values[`d${d}`] = steps;
    count *= steps;
  });
  values.count = count;
  names.forEach((name, s) => {
    const vector = walk.modes[s] === "vector";
    values[`${name}Start`] = vector ? offsets[s] / 4 : offsets[s];
    // A vector operand counts in vec4s: its rows are a quarter as far apart, and one step along the last dimension is
    // 1.
    walk.strides[s].forEach((stride, d) => values[`${name}${d}`] = vector && d !== last ? stride / 4 : stride);
  });
  return values;
}

/** WGSL: declares `<name>At` for each operand, the offset of item `i`. */
export function walkCode(rank: number, names: readonly string[]): string {
  const lines = ["var rest = i;"];
  for (const name of names) lines.push(`var ${name}At = p.${name}Start;`);
  for (let d = rank - 1; d >= 0; d--) {
    if (d > 0) lines.push(`let c${d} = rest % p.d${d}; rest = rest / p.d${d};`);
    else lines.push("let c0 = rest;");
    for (const name of names) lines.push(`${name}At += c${d} * p.${name}${d};`);
  }
  return lines.join("\n  ");
}
