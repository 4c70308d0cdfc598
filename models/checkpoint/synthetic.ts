/**
 * Weights computed from their names by a fixed rule, so that full-size networks can be checked and timed without files.
 * The rule keeps activations finite; it is no initialisation for training.
 *
 * The rule, with `+` and `*` on uint32 wrapping around, for element i (row-major) of the tensor called `name`:
 *
 *     seed  = FNV1a32(utf8(salt + ":" + name))
 *     h     = lowbias32(seed + i * 0x9E3779B9)
 *     u     = h / 2^32 * 2 - 1                    float64, in [-1, 1)
 *     value = float32(offset + scale * u)         computed in float64, rounded once
 *
 * FNV-1a: Fowler, Noll, Vo; lowbias32: Chris Wellons' 32-bit integer hash.
 */

import { sizeOf } from "../../core/tensor/shape.ts";
import { f32ToF16 } from "./half.ts";
import type { TensorInfo, TensorSource } from "./source.ts";

/** Options of `syntheticTensor`, for the official constants among the weights. */
export interface SyntheticOptions {
  /** Side lengths of VAR's token maps, coarse to fine; needed by `lvl_1L` and `attn_bias_for_masking` only. */
  readonly patchNums?: readonly number[];
}

/** FNV-1a over UTF-8, as a uint32. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const HALF_SCALE = new Set([
  ...["embeddings.weight", "class_emb.weight", "lvl_embed.weight", "cls_token", "pos_embed", "target_aware_pos_embed"],
  ...["timesteps_embeddings", "pos_start", "pos_1LC"],
]);

function leafOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

/** Offset and scale of a tensor's values: the first row of the rule's table that fits its name and shape. */
export function syntheticRange(name: string, shape: readonly number[]): { offset: number; scale: number } {
  const leaf = leafOf(name);
  if (name.endsWith("quantize.embedding.weight")) return { offset: 0, scale: 1 };
  if (leaf === "scale_mul_1H11") return { offset: Math.log(4), scale: 0.1 };
  if (HALF_SCALE.has(name) || leaf === "ada_gss") return { offset: 0, scale: 0.5 };
  if (shape.length === 1) return leaf === "weight" ? { offset: 1, scale: 0.1 } : { offset: 0, scale: 0.05 };
  return { offset: 0, scale: Math.sqrt(3 / sizeOf(shape.slice(1))) };
}

/** Writes `count` values of the generator. */
function generate(seed: number, offset: number, scale: number, count: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(count);
  let state = seed | 0;
  for (let i = 0; i < count; i++) {
    let h = state;
    h ^= h >>> 16;
    h = Math.imul(h, 0x7feb352d);
    h ^= h >>> 15;
    h = Math.imul(h, 0x846ca68b);
    h ^= h >>> 16;
    // h / 2^32 * 2 - 1 = (h - 2^31) / 2^31, exact in float64; flipping the sign bit subtracts 2^31 as an int32.
    out[i] = offset + scale * ((h ^ 0x80000000) * 2 ** -31);
    state = (state + 0x9e3779b9) | 0;
  }
  return out;
}

/** Scale index of every token, coarse to fine. */
function tokenLevels(name: string, length: number, patchNums: readonly number[] | undefined): Uint8Array<ArrayBuffer> {
  if (patchNums === undefined) throw new Error(`syntheticTensor: ${name}: needs options.patchNums`);
  const expected = patchNums.reduce((sum, side) => sum + side * side, 0);
  if (expected !== length) {
    throw new Error(`syntheticTensor: ${name}: patchNums [${patchNums}] expect ${expected} tokens, got ${length}`);
  }
  const levels = new Uint8Array(length);
  let position = 0;
  patchNums.forEach((side, level) => levels.fill(level, position, position += side * side));
  return levels;
}

/**
 * The synthetic weight `name` of `shape`, row-major.
 *
 * `ema_vocab_hit_SV` and `zero_k_bias` are all zeros, `lvl_1L` is the scale index of every token and
 * `attn_bias_for_masking` 0 where a row may look and -Infinity elsewhere, as in the official VAR; the last two throw
 * without `options.patchNums`.
 */
export function syntheticTensor(
  salt: string,
  name: string,
  shape: readonly number[],
  options: SyntheticOptions = {},
): Float32Array<ArrayBuffer> {
  const count = sizeOf(shape);
  switch (leafOf(name)) {
    case "ema_vocab_hit_SV":
    case "zero_k_bias":
      return new Float32Array(count);
    case "lvl_1L":
      return Float32Array.from(tokenLevels(name, count, options.patchNums));
    case "attn_bias_for_masking": {
      const length = shape.at(-1) ?? 0;
      if (count !== length * length) throw new Error(`syntheticTensor: ${name}: expects a square mask, got [${shape}]`);
      const levels = tokenLevels(name, length, options.patchNums);
      const mask = new Float32Array(count);
      for (let row = 0; row < length; row++) {
        for (let column = 0; column < length; column++) {
          if (levels[row] < levels[column]) mask[row * length + column] = -Infinity;
        }
      }
      return mask;
    }
  }
  const { offset, scale } = syntheticRange(name, shape);
  return generate(fnv1a32(`${salt}:${name}`), offset, scale, count);
}

/** A synthetic input: the generator under the name `input:<id>`, uniform in [-1, 1). */
export function syntheticInput(salt: string, id: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
  return generate(fnv1a32(`${salt}:input:${id}`), 0, 1, sizeOf(shape));
}

/**
 * A checkpoint without a file, with the given names and shapes (a map, or a network's parameters): every read computes
 * the tensor.
 */
export function syntheticSource(
  salt: string,
  shapes: ReadonlyMap<string, readonly number[]> | Iterable<Pick<TensorInfo, "name" | "shape">>,
  options: SyntheticOptions = {},
): TensorSource {
  const label = `synthetic:${salt}`;
  const tensors = new Map<string, TensorInfo>();
  const rows = shapes instanceof Map
    ? [...shapes].map(([name, shape]) => ({ name, shape }))
    : shapes as Iterable<Pick<TensorInfo, "name" | "shape">>;
  for (const { name, shape } of rows) {
    tensors.set(name, { name, shape, dtype: leafOf(name) === "lvl_1L" ? "i64" : "f32" });
  }
  const make = (operation: string, name: string): Float32Array<ArrayBuffer> => {
    const info = tensors.get(name);
    if (info === undefined) throw new Error(`${label}: ${operation}: no tensor is named ${JSON.stringify(name)}`);
    return syntheticTensor(salt, name, info.shape, options);
  };
  return {
    label,
    tensors,
    // async, so that errors reject as they do for files
    // deno-lint-ignore require-await
    readF32: async (name) => make("readF32", name),
    // deno-lint-ignore require-await
    readF16: async (name) => f32ToF16(make("readF16", name)),
    // deno-lint-ignore require-await
    readI32: async (name) => {
      const values = make("readI32", name);
      const { dtype } = tensors.get(name)!;
      if (dtype !== "i64") {
        throw new Error(`${label}: readI32: tensor ${JSON.stringify(name)}: expects an integer tensor, got ${dtype}`);
      }
      return Int32Array.from(values);
    },
    close() {},
  };
}
