/**
 * VAR's multi-scale residual quantiser: f <-> tokens of all scales, cumulative fHat, and the transformer's input.
 * Greedy only; attribution/quantisation/ has better quantisers.
 * Source: FoundationVision/VAR, models/quant.py (VectorQuantizer2, arXiv 2404.02905 Algorithms 1 and 2).
 */
import {
  add,
  concat,
  conv2d,
  type Device,
  embedding,
  matmul,
  nearestCode,
  Resizer,
  scope,
  slice,
  sub,
  type Tensor,
  zeros,
} from "../../core/tensor/mod.ts";
import type { Weights } from "../weights.ts";
import { scaleStarts } from "../family.ts";
import { tokenCount, type VqvaeConfig } from "./config.ts";

/** Intermediate results of one scale, for comparison with a reference. */
export interface ScaleTrace {
  /** The residual at the scale's own size, whose nearest codes are the tokens, [batch, pn, pn, c]. */
  readonly residual: Tensor;
  /** The codes enlarged to full size, before Phi. */
  readonly up: Tensor;
  readonly phi: Tensor;
  /** Cumulative fHat after this scale. */
  readonly fHat: Tensor;
}

/**
 * Which of the shared Phi convolutions each scale uses: the first argmin of |tick - si / (scales - 1)| in float64, with
 * the official rounding of the ticks, which decides the ties of the ten-scale configuration.
 */
export function phiIndices(count: number, scales: number): number[] {
  const margin = count === 4 ? 1 / 3 / count : 1 / 2 / count;
  const ticks = linspace(margin, 1 - margin, count);
  return Array.from({ length: scales }, (_, si) => {
    const at = si / (scales - 1);
    let best = 0;
    ticks.forEach((tick, k) => {
      if (Math.abs(tick - at) < Math.abs(ticks[best] - at)) best = k;
    });
    return best;
  });
}

/** numpy.linspace, step for step. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => i === count - 1 && count > 1 ? stop : i * step + start);
}

export class MultiScaleQuantizer {
  readonly patchNums: readonly number[];
  /** Number of codes. */
  readonly codes: number;
  readonly #device: Device;
  readonly #w: Weights;
  readonly #channels: number;
  readonly #side: number;
  readonly #starts: readonly number[];
  readonly #phi: readonly number[];
  /** Per scale: full size to the scale's size, and back. The last scale has full size and needs neither. */
  readonly #down: readonly Resizer[];
  readonly #up: readonly Resizer[];

  constructor(device: Device, weights: Weights, config: VqvaeConfig) {
    this.#device = device;
    this.#w = weights.at("quantize");
    this.patchNums = config.patchNums;
    this.codes = config.codes;
    this.#channels = config.zChannels;
    this.#side = config.patchNums[config.patchNums.length - 1];
    this.#starts = scaleStarts(config.patchNums);
    this.#phi = phiIndices(config.sharedPhi, config.patchNums.length);
    const full = [this.#side, this.#side] as const;
    this.#down = config.patchNums.map((pn) => new Resizer(device, "area", full, [pn, pn]));
    this.#up = config.patchNums.map((pn) => new Resizer(device, "bicubic", [pn, pn], full));
  }

  get #codebook(): Tensor {
    return this.#w.get("embedding.weight");
  }

  /** The contribution of one scale's tokens[batch, pn^2] to fHat: codes, enlarged, through Phi. */
  #contribution(tokens: Tensor, scale: number): { up: Tensor; phi: Tensor } {
    return this.#contributionOf(embedding(this.#codebook, tokens), scale);
  }

  /** As #contribution(), of codes[..., c] of batch * pn^2 tokens. */
  #contributionOf(codes: Tensor, scale: number): { up: Tensor; phi: Tensor } {
    const pn = this.patchNums[scale];
    const up = this.#up[scale].apply(codes.reshape(-1, pn, pn, this.#channels));
    const w = this.#w.at(`quant_resi.qresi_ls.${this.#phi[scale]}`);
    return { up, phi: conv2d(up, w.get("weight"), w.get("bias"), { padding: 1 }) };
  }

  /**
   * f[batch, side, side, c] -> tokens[batch, tokenCount] (i32, scales concatenated) and the final fHat. Every scale
   * takes the nearest codes of what the scales before have left over. `trace` receives the intermediate tensors of
   * every scale.
   */
  quantize(f: Tensor, trace?: (scale: number, values: ScaleTrace) => void): { tokens: Tensor; fHat: Tensor } {
    return scope(() => {
      let rest = f;
      let fHat = zeros(this.#device, f.shape);
      const tokens: Tensor[] = [];
      this.patchNums.forEach((pn, scale) => {
        const step = scope(() => {
          const residual = this.#down[scale].apply(rest);
          const chosen = nearestCode(residual.reshape(-1, pn * pn, this.#channels), this.#codebook);
          const { up, phi } = this.#contribution(chosen, scale);
          const next = { chosen, rest: sub(rest, phi), fHat: add(fHat, phi) };
          trace?.(scale, { residual, up, phi, fHat: next.fHat });
          return next;
        });
        ({ rest, fHat } = step);
        tokens.push(step.chosen);
      });
      return { tokens: concat(tokens, 1), fHat };
    });
  }

  /** tokens[batch, tokenCount] -> cumulative fHat[batch, side, side, c] after every scale. */
  cumulative(tokens: Tensor): Tensor[] {
    return scope(() => {
      const steps: Tensor[] = [];
      this.patchNums.forEach((_, scale) => {
        steps.push(scope(() => {
          const scaleTokens = slice(tokens, 1, this.#starts[scale], this.#starts[scale + 1]);
          const { phi } = this.#contribution(scaleTokens, scale);
          return scale === 0 ? phi : add(steps[scale - 1], phi);
        }));
      });
      return steps;
    });
  }

  /** tokens[batch, tokenCount] -> the final fHat[batch, side, side, c]. */
  dequantize(tokens: Tensor): Tensor {
    return scope(() => this.cumulative(tokens).at(-1)!);
  }

  /** fHat after a scale -> the transformer's input rows for the next scale, [batch, pn^2, c]. */
  nextInput(fHat: Tensor, nextScale: number): Tensor {
    const pn = this.patchNums[nextScale];
    return scope(() => this.#down[nextScale].apply(fHat).reshape(-1, pn * pn, this.#channels));
  }

  /** Adds one scale's tokens[batch, pn^2] to fHat. */
  advance(fHat: Tensor, tokens: Tensor, scale: number): Tensor {
    return scope(() => add(fHat, this.#contribution(tokens, scale).phi));
  }

  /** Mixtures of codes: shares[rows, codes] -> [rows, c]. */
  mix(shares: Tensor): Tensor {
    return matmul(shares, this.#codebook);
  }

  /** Adds one scale's mixed codes[batch * pn^2, c] to fHat. */
  advanceMixed(fHat: Tensor, mixed: Tensor, scale: number): Tensor {
    return scope(() => add(fHat, this.#contributionOf(mixed, scale).phi));
  }

  /**
   * tokens[batch, tokenCount] -> the teacher-forcing input of all scales but the first, [batch, tokenCount - pn_0^2,
   * c].
   */
  transformerInput(tokens: Tensor): Tensor {
    return scope(() => {
      const steps = this.cumulative(tokens);
      return concat(steps.slice(0, -1).map((fHat, scale) => this.nextInput(fHat, scale + 1)), 1);
    });
  }

  /** A fHat of zeros, to `advance` from. */
  start(batch: number): Tensor {
    return zeros(this.#device, [batch, this.#side, this.#side, this.#channels]);
  }

  get tokenCount(): number {
    return tokenCount(this.patchNums);
  }

  dispose(): void {
    for (const resizer of [...this.#down, ...this.#up]) resizer.dispose();
  }
}
