/**
 * Scaled dot-product attention with visible prefixes, and the key/value cache it can read from.
 * Full, causal and block-causal masks are all prefixes of the keys: query i sees keys 0 to visible[i] - 1.
 */
import type { Device } from "../device.ts";
import { fromArray } from "../create.ts";
import type { AttentionSizes } from "../kernels.ts";
import { apply, defineOp, empty, expectShape, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { writeSlice } from "./shape.ts";

interface AttentionInputs {
  readonly [name: string]: Tensor | undefined;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly visible?: Tensor;
}

interface AttentionParams {
  readonly scale: number;
  /** How many rows of k and v are used. */
  readonly keys: number;
}

function attentionSizes(q: Tensor, k: Tensor, { scale, keys }: AttentionParams): AttentionSizes {
  const [batch, lq, heads, headDim] = q.shape;
  return { batch, heads, headDim, lq, lk: keys, kvCapacity: k.shape[1], scale };
}

export const attentionOp: Op<AttentionInputs, AttentionParams> = defineOp({
  name: "attention",
  infer({ q, k, v, visible }: AttentionInputs, { keys }: AttentionParams): TensorSpec[] {
    for (const [name, tensor] of Object.entries({ q, k, v })) {
      expectType("attention", name, tensor, "f32");
      if (tensor.rank !== 4) {
        throw new TypeError(
          `attention: ${name} expects [batch, rows, heads, headDim], got ${formatShape(tensor.shape)}`,
        );
      }
    }
    const [batch, rows, heads, headDim] = q.shape;
    expectShape("attention", "k", k, [batch, -1, heads, headDim]);
    expectShape("attention", "v", v, k.shape);
    if (!(keys >= 1 && keys <= k.shape[1])) {
      throw new RangeError(`attention: keys expects 1 to ${k.shape[1]}, got ${keys}`);
    }
    if (visible) {
      expectType("attention", "visible", visible, "i32");
      expectShape("attention", "visible", visible, [rows]);
    }
    return [{ shape: q.shape, dtype: "f32" }];
  },
  forward(device, { q, k, v, visible }, [out], params) {
    device.run("attention", {
      q: q.storage,
      k: k.storage,
      v: v.storage,
      out: out.storage,
      visible: visible?.storage,
      ...attentionSizes(q, k, params),
    });
  },
  gradient: ({ inputs: { q, k, v, visible }, upstream: [g], params, needs }) => {
    const { device } = q;
    const dq = needs.q ? empty(device, q.shape) : undefined;
    const dk = needs.k ? empty(device, k.shape) : undefined;
    const dv = needs.v ? empty(device, v.shape) : undefined;
    device.run("attentionGradient", {
      q: q.storage,
      k: k.storage,
      v: v.storage,
      upstream: g.storage,
      dq: dq?.storage,
      dk: dk?.storage,
      dv: dv?.storage,
      visible: visible?.storage,
      ...attentionSizes(q, k, params),
    });
    return { q: dq, k: dk, v: dv };
  },
  saves: ["q", "k", "v", "visible"],
});

/** Options of `attention`. */
export interface AttentionOptions {
  /** Factor on q.k; 1 / sqrt(headDim) when not given. */
  readonly scale?: number;
  /** i32[rows]: how many keys each query row sees, each in 1..keys; all of them when not given. */
  readonly visible?: Tensor;
  /** How many rows of k and v are used, from the first; all of them when not given. */
  readonly keys?: number;
}

/**
 * softmax(scale q k^T) v per head: q[batch, rows, heads, headDim], k and v [batch, keys or more, heads, headDim],
 * result like q, f32. Throws TypeError when shapes do not fit, RangeError for `keys` out of range.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const { scale = 1 / Math.sqrt(q.shape[3]), visible, keys = k.shape[1] } = options;
  return apply(attentionOp, { q, k, v, visible }, { scale, keys });
}

/** Visible prefixes of a causal mask, i32[rows]: row i, from 0, sees offset + i + 1 keys. */
export function causalVisible(device: Device, rows: number, offset: number = 0): Tensor {
  return fromArray(device, Int32Array.from({ length: rows }, (_, i) => offset + i + 1), [rows]);
}

/** Visible prefixes of a block-causal mask, i32[rows]: every row sees its block and all earlier ones. */
export function blockCausalVisible(device: Device, blockSizes: readonly number[]): Tensor {
  const visible: number[] = [];
  let end = 0;
  for (const size of blockSizes) {
    end += size;
    for (let i = 0; i < size; i++) visible.push(end);
  }
  return fromArray(device, Int32Array.from(visible), [visible.length]);
}

/** Keys and values of the rows seen so far, for one attention layer. Dispose it when done. */
export class KeyValueCache {
  /** Keys [batch, capacity, heads, headDim]; rows from `length` on are undefined. */
  readonly k: Tensor;
  /** Values, likewise. */
  readonly v: Tensor;
  #length = 0;

  /** Reserves room for `capacity` rows of [heads, headDim] per batch entry. */
  constructor(device: Device, batch: number, capacity: number, heads: number, headDim: number) {
    this.k = empty(device, [batch, capacity, heads, headDim]);
    this.v = empty(device, [batch, capacity, heads, headDim]);
  }

  /** Number of rows stored. */
  get length(): number {
    return this.#length;
  }

  /** Appends rows k, v [batch, rows, heads, headDim]. Throws RangeError when they do not fit. */
  append(k: Tensor, v: Tensor): void {
    writeSlice(this.k, k, 1, this.#length);
    writeSlice(this.v, v, 1, this.#length);
    this.#length += k.shape[1];
  }

  /** Forgets the rows from `length` on, by default all, and keeps the memory. Throws RangeError when there are fewer. */
  reset(length = 0): void {
    if (!(Number.isInteger(length) && length >= 0 && length <= this.#length)) {
      throw new RangeError(`KeyValueCache.reset: expected 0 to ${this.#length} rows to keep, got ${length}`);
    }
    this.#length = length;
  }

  /** Frees the memory. */
  dispose(): void {
    this.k.dispose();
    this.v.dispose();
  }
}
