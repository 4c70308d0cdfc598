/**
 * Resizing of channels-last images as torch.nn.functional.interpolate defines it (align_corners false, no antialias).
 * Every mode is a linear map per axis. So a resize is two matrix products with small constant matrices, and needs no
 * gradient of its own.
 */
import type { Device } from "../device.ts";
import { fromArray } from "../create.ts";
import { scope } from "../scope.ts";
import { formatShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { matmul } from "./matmul.ts";

/** Modes of torch.nn.functional.interpolate; area is adaptive average pooling, bicubic has A = -0.75 and clamps. */
export type ResizeMode = "nearest" | "area" | "bilinear" | "bicubic";

/** The matrix [to, from] (row-major) that resizes one axis. */
export function resizeMatrix(mode: ResizeMode, from: number, to: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const add = (source: number, weight: number) => {
      matrix[i * from + Math.min(Math.max(source, 0), from - 1)] += weight;
    };
    if (mode === "nearest") {
      // PyTorch computes the source index in float32, and so decides some ties downwards.
      add(Math.floor(Math.fround(i * Math.fround(from / to))), 1);
    } else if (mode === "area") {
      const start = Math.floor(i * from / to), end = Math.ceil((i + 1) * from / to);
      for (let j = start; j < end; j++) add(j, 1 / (end - start));
    } else {
      // PyTorch clamps the source coordinate at 0 for bilinear, not for bicubic.
      const centre = (i + 0.5) * from / to - 0.5;
      const source = mode === "bilinear" ? Math.max(centre, 0) : centre;
      const base = Math.floor(source), t = source - base;
      if (mode === "bilinear") {
        add(base, 1 - t);
        add(base + 1, t);
      } else {
        add(base - 1, cubicFar(t + 1));
        add(base, cubicNear(t));
        add(base + 1, cubicNear(1 - t));
        add(base + 2, cubicFar(2 - t));
      }
    }
  }
  return matrix;
}

const A = -0.75;
const cubicNear = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1;
const cubicFar = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;

/** A resize from [h, w] to [outH, outW] whose matrices are made once. Dispose it when done. */
export class Resizer {
  /** [h, w] of what is resized. */
  readonly from: readonly [number, number];
  /** [outH, outW]. */
  readonly to: readonly [number, number];
  readonly #rows: Tensor | null;
  readonly #columns: Tensor | null;

  /** Makes the matrices, on `device`. */
  constructor(device: Device, mode: ResizeMode, from: readonly [number, number], to: readonly [number, number]) {
    this.from = from;
    this.to = to;
    const make = (axis: 0 | 1) =>
      from[axis] === to[axis]
        ? null
        : fromArray(device, resizeMatrix(mode, from[axis], to[axis]), [to[axis], from[axis]]);
    this.#rows = make(0);
    this.#columns = make(1);
  }

  /** x[batch, h, w, c] -> [batch, outH, outW, c], always a new tensor. Throws TypeError for another shape. */
  apply(x: Tensor): Tensor {
    const [batch, h, w, c] = x.shape;
    if (x.rank !== 4 || h !== this.from[0] || w !== this.from[1]) {
      throw new TypeError(`resize: x expects [batch, ${this.from.join(", ")}, c], got ${formatShape(x.shape)}`);
    }
    const [outH, outW] = this.to;
    return scope(() => {
      let y = x;
      if (this.#rows) y = matmul(this.#rows, y.reshape(batch, h, w * c));
      if (this.#columns) y = matmul(this.#columns, y.reshape(batch * outH, w, c));
      return y.reshape(batch, outH, outW, c);
    });
  }

  /** Frees the matrices. */
  dispose(): void {
    this.#rows?.dispose();
    this.#columns?.dispose();
  }
}

/** Resizes x[batch, h, w, c] to [batch, outH, outW, c]. Throws TypeError for another rank. */
export function resize(x: Tensor, mode: ResizeMode, outH: number, outW: number): Tensor {
  const resizer = new Resizer(x.device, mode, [x.shape[1], x.shape[2]], [outH, outW]);
  try {
    return resizer.apply(x);
  } finally {
    resizer.dispose();
  }
}
