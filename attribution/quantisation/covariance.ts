/**
 * The covariance R of f - fHat while codes are uncertain, as a linear map, and the solution of R z = r by conjugate
 * gradients.
 *
 * R = N + sum over scales s of A_s U_s A_s'. A_s maps code vectors of scale s to f (scale_maps.ts), U_s[c, c] is the
 * covariance of one code vector of scale s, and N is the covariance of the noise.
 */
import {
  add,
  affine,
  div,
  linear,
  matmul,
  mul,
  permute,
  scope,
  sub,
  sum,
  type Tensor,
  zeros,
} from "../../core/tensor/mod.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** The parts of R. */
export interface Covariance {
  /** N: per pixel, packed for `linear` (white noise); or per frequency, [side * side, c, c]. */
  readonly noise: Tensor;
  /** U_s by scale, packed for `linear`; null if it is negligible. */
  readonly codes: readonly (Tensor | null)[];
  /** The cosine transform of one axis, [side, side] (spectral_blocks.ts). */
  readonly cosines: Tensor;
  /** The preconditioner: inverse blocks of R by frequency, [side * side, c, c]. */
  readonly inverseBlocks: Tensor;
}

/** R x for x[batch, side, side, c]. */
export function applyCovariance(maps: ScaleMaps, { noise, codes, cosines }: Covariance, x: Tensor): Tensor {
  return scope(() => {
    const groups = Map.groupBy(codes.keys().filter((s) => codes[s] !== null), (s) => maps.phiOf(s));
    let out = noise.rank === 3 ? applySpectral(cosines, noise, x) : linear(x, noise);
    for (const [phi, scales] of groups) {
      const last = out;
      out = scope(() => {
        const spread = maps.phiAdjoint(x, phi);
        let sumOf: Tensor | null = null;
        for (const s of scales) {
          sumOf = linear(maps.smooth(spread, s), codes[s]!, undefined, { residual: sumOf ?? undefined });
        }
        return maps.phiForward(sumOf!, phi, last);
      });
    }
    return out;
  });
}

/** The orthonormal cosine transform of x[batch, side, side, c] along both axes, or its inverse. */
function cosineTransform(cosines: Tensor, x: Tensor, back = false): Tensor {
  const [batch, side, , c] = x.shape;
  return scope(() => {
    const rows = matmul(cosines, x.reshape(batch, side, side * c), { transA: back });
    return matmul(cosines, rows.reshape(batch * side, side, c), { transA: back }).reshape(...x.shape);
  });
}

/** The cosine transform of x[batch, side, side, c] by frequency: [side * side, batch, c]. */
export function byFrequency(cosines: Tensor, x: Tensor): Tensor {
  const [batch, side, , c] = x.shape;
  return scope(() => {
    const spectrum = cosineTransform(cosines, x).reshape(batch, side * side, c);
    return batch === 1 ? spectrum.reshape(side * side, 1, c) : permute(spectrum, 1, 0, 2);
  });
}

/** Filters x[batch, side, side, c]: applies symmetric blocks[side * side, c, c] to its frequencies. */
export function applySpectral(cosines: Tensor, blocks: Tensor, x: Tensor): Tensor {
  return scope(() => {
    const filtered = matmul(byFrequency(cosines, x), blocks);
    const images = x.shape[0] === 1 ? filtered : permute(filtered, 1, 0, 2);
    return cosineTransform(cosines, images.reshape(...x.shape), true);
  });
}

/** Solves R z = r per image by `iterations` steps of preconditioned conjugate gradients from `start` (default zero). */
export function solve(
  maps: ScaleMaps,
  covariance: Covariance,
  r: Tensor,
  iterations: number,
  start?: Tensor,
): Tensor {
  const batch = r.shape[0];
  const dot = (a: Tensor, b: Tensor) => scope(() => sum(mul(a, b).reshape(batch, -1), 1).reshape(batch, 1, 1, 1));
  // Once an image is solved exactly, both are 0.
  const ratio = (a: Tensor, b: Tensor) => scope(() => div(a, affine(b, 1, 1e-30)));
  const precondition = (x: Tensor) => applySpectral(covariance.cosines, covariance.inverseBlocks, x);
  return scope(() => {
    let z = start ?? zeros(r.device, r.shape);
    let rest = start ? sub(r, applyCovariance(maps, covariance, start)) : r;
    let direction = precondition(rest);
    let energy = dot(rest, direction);
    for (let i = 0; i < iterations; i++) {
      [z, rest, direction, energy] = scope(() => {
        const image = applyCovariance(maps, covariance, direction);
        const step = ratio(energy, dot(direction, image));
        const nextZ = add(z, mul(direction, step));
        if (i === iterations - 1) return [nextZ, rest, direction, energy];
        const nextRest = sub(rest, mul(image, step));
        const better = precondition(nextRest);
        const nextEnergy = dot(nextRest, better);
        return [nextZ, nextRest, add(better, mul(direction, ratio(nextEnergy, energy))), nextEnergy];
      });
    }
    return z;
  });
}
