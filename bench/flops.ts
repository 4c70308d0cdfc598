/**
 * Operations by formula, as benchmarks use them: those of models/flops.ts and of the families, and of training steps.
 */
import { convFlops } from "../models/flops.ts";

export { attentionFlops, blockVisible, causal, convFlops, matmulFlops } from "../models/flops.ts";
export { llamagenFlops, llamagenTokenizerFlops } from "../models/llamagen/flops.ts";
export { rarFlops, rarTokenizerFlops } from "../models/rar/flops.ts";
export { varFlops, vqvaeFlops } from "../models/var/flops.ts";

/**
 * A training step for one image, given the encoder's forward pass: twice that again for the gradients of weights and of
 * what they are applied to, but no gradient of the image, which the first 3x3 convolution has from `width` channels.
 */
export function trainingFlops(encode: number, resolution: number, width: number): number {
  return 3 * encode - convFlops(resolution, resolution, 3, width, 3);
}
