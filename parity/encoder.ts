/** What the encoder under training is to case 06 and to the full-size cases; a family opens its own. */
import type { Tensor } from "../core/tensor/mod.ts";
import type { Weights, WeightSpec } from "../models/weights.ts";

/** An encoder under training: its specs, its weights on the device, and its forward. */
export interface Encoder {
  readonly specs: readonly WeightSpec[];
  readonly weights: Weights;
  readonly size: number;
  readonly range: "[0,1]" | "[-1,1]";
  encode(images: Tensor): Tensor;
  /** The greedy fHat of images under the untrained weights. */
  target(images: Tensor): Tensor;
  dispose(): void;
}

/** Parameters that are trained. */
export const trained = (name: string): boolean => name.startsWith("encoder.") || name.startsWith("quant_conv.");
