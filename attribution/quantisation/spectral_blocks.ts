/**
 * The preconditioner of the covariance R of covariance.ts. In the basis of the cosine transform R is nearly
 * block-diagonal over frequencies. The [c, c] blocks of its diagonal are computed exactly, on the host.
 */
import type { ScaleMaps } from "./scale_maps.ts";
import { type Matrix, multiply } from "./symmetric.ts";

/** The orthonormal discrete cosine transform of one axis, [side, side]. Row i is frequency i. */
export function cosines(side: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(side * side);
  for (let i = 0; i < side; i++) {
    const norm = Math.sqrt((i === 0 ? 1 : 2) / side);
    for (let y = 0; y < side; y++) matrix[i * side + y] = norm * Math.cos(Math.PI * (y + 0.5) * i / side);
  }
  return matrix;
}

/** The blocks of R, kept by scale so that only changed scales are computed again. */
export class SpectralBlocks {
  readonly #maps: ScaleMaps;
  /** By kernel of Phi, the taps [9][c, c], output by input channel. */
  readonly #taps: readonly (readonly Matrix[])[];
  /**
   * By scale, for frequency i and shifts t, u of -1..1: e_i' S_t K S_u' e_i, with K the interpolation of one axis times
   * its transpose; [side, 9].
   */
  readonly #shifts: readonly Float64Array[];
  readonly #blocks: (Float64Array | null)[];

  /** `kernels` are those of `maps`, read from the device. */
  constructor(maps: ScaleMaps, kernels: readonly Float32Array[]) {
    this.#maps = maps;
    const { channels: c } = maps;
    this.#taps = kernels.map((kernel) =>
      Array.from({ length: 9 }, (_, t) => Float64Array.from({ length: c * c }, (_, i) => kernel[i * 9 + t]))
    );
    this.#shifts = maps.patchNums.map((pn, s) => shiftedProducts(maps.enlargements[s], maps.side, pn));
    this.#blocks = maps.patchNums.map(() => null);
  }

  /** Sets the covariance [c, c] of a scale's codes; null for a negligible one. */
  set(scale: number, codes: Matrix | null): void {
    this.#blocks[scale] = codes && this.#scaleBlocks(scale, codes);
  }

  #scaleBlocks(scale: number, codes: Matrix): Float64Array {
    const { channels: c, side } = this.#maps;
    const taps = this.#taps[this.#maps.phiOf(scale)], shifts = this.#shifts[scale];
    const spread = taps.map((tap) => multiply(tap, codes, c));
    const transposed = taps.map((tap) => tap.map((_, i) => tap[(i % c) * c + Math.floor(i / c)]));
    const out = new Float64Array(side * side * c * c);
    for (let t = 0; t < 9; t++) {
      for (let u = 0; u < 9; u++) {
        const product = multiply(spread[t], transposed[u], c);
        const vertical = Math.floor(t / 3) * 3 + Math.floor(u / 3), horizontal = (t % 3) * 3 + u % 3;
        for (let i = 0; i < side; i++) {
          for (let j = 0; j < side; j++) {
            const factor = shifts[i * 9 + vertical] * shifts[j * 9 + horizontal];
            const at = (i * side + j) * c * c;
            for (let k = 0; k < c * c; k++) out[at + k] += factor * product[k];
          }
        }
      }
    }
    return out;
  }

  /**
   * The inverse blocks of R by frequency, [side * side, c, c]. `noiseAt` gives the noise covariance [c, c] at a
   * frequency.
   */
  inverse(noiseAt: (frequency: number) => Matrix): Float32Array<ArrayBuffer> {
    const { channels: c, side } = this.#maps;
    const out = new Float32Array(side * side * c * c);
    const block = new Float64Array(c * c);
    for (let w = 0; w < side * side; w++) {
      block.set(noiseAt(w));
      for (const part of this.#blocks) {
        if (part) { for (let k = 0; k < c * c; k++) block[k] += part[w * c * c + k]; }
      }
      invertInPlace(block, c);
      out.set(block, w * c * c);
    }
    return out;
  }
}

/** The #shifts of one scale. */
function shiftedProducts(enlargement: Float32Array, side: number, pn: number): Float64Array {
  const basis = cosines(side);
  // rows[t][i, k] = sum over y of basis[i, y] enlargement[y + t, k], with zeros outside of the image.
  const rows = [-1, 0, 1].map((t) => {
    const out = new Float64Array(side * pn);
    for (let i = 0; i < side; i++) {
      for (let y = Math.max(0, -t); y < Math.min(side, side - t); y++) {
        for (let k = 0; k < pn; k++) out[i * pn + k] += basis[i * side + y] * enlargement[(y + t) * pn + k];
      }
    }
    return out;
  });
  const out = new Float64Array(side * 9);
  for (let i = 0; i < side; i++) {
    for (let t = 0; t < 3; t++) {
      for (let u = 0; u < 3; u++) {
        for (let k = 0; k < pn; k++) out[i * 9 + t * 3 + u] += rows[t][i * pn + k] * rows[u][i * pn + k];
      }
    }
  }
  return out;
}

/** The inverse of a positive definite matrix, by Gauss-Jordan elimination without pivoting. */
function invertInPlace(a: Float64Array, n: number): void {
  for (let p = 0; p < n; p++) {
    const pivot = 1 / a[p * n + p];
    a[p * n + p] = 1;
    for (let j = 0; j < n; j++) a[p * n + j] *= pivot;
    for (let i = 0; i < n; i++) {
      if (i === p) continue;
      const factor = a[i * n + p];
      a[i * n + p] = 0;
      for (let j = 0; j < n; j++) a[i * n + j] -= factor * a[p * n + j];
    }
  }
}
