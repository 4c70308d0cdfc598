/**
 * A naive float64 implementation of every kernel in core/tensor/kernels.ts: the oracle that devices are tested against.
 * It is straight loops over arrays and deliberately not fast, not clever, and shares no code with any device.
 */
import type { References } from "./reference_types.ts";
import { adam, binary, cast, fill, unary } from "./reference_elementwise.ts";
import { avgPool2d, conv2d, conv2dWeightGradient, matmul } from "./reference_linear.ts";
import {
  attention,
  attentionGradient,
  groupNorm,
  groupNormGradient,
  guidedScores,
  l2Normalize,
  layerNorm,
  layerNormGradient,
  logSoftmaxGather,
  softmax,
} from "./reference_norm.ts";
import { argReduce, gatherRows, nearestCode, reduce, stridedCopy, topK } from "./reference_shape.ts";

export type { CheckedKernel, HostArgs, HostArray, HostResult, References } from "./reference_types.ts";

/** A kernel without a reference does not compile. */
export const references: References = {
  fill,
  unary,
  binary,
  cast,
  stridedCopy,
  reduce,
  argReduce,
  topK,
  matmul,
  conv2d,
  conv2dWeightGradient,
  groupNorm,
  groupNormGradient,
  layerNorm,
  layerNormGradient,
  l2Normalize,
  softmax,
  logSoftmaxGather,
  guidedScores,
  attention,
  attentionGradient,
  gatherRows,
  nearestCode,
  avgPool2d,
  adam,
};
