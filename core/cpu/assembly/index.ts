// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/** Every kernel that the CPU device calls: `kernel(args, begin, end, scratch)`. Helpers are not exported from here. */
export { adam } from "./adam.ts";
export { attention } from "./attention.ts";
export { attentionGradient } from "./attention_gradient.ts";
export { conv } from "./conv2d.ts";
export { binary, stridedCopy, unary } from "./elementwise.ts";
export { matmul, matmulOuter } from "./matmul.ts";
export { nearestCode, squaredNorms } from "./nearest_code.ts";
export { groupNormApply, groupNormBlocks, groupNormJoin, l2Normalize, layerNorm } from "./norm.ts";
export {
  groupNormGradientApply,
  groupNormGradientJoin,
  groupNormGradientSums,
  layerNormGradient,
} from "./norm_gradient.ts";
export { castHalves, castNumbers, fill, packColumns, packRows, packWeight, transpose } from "./pack.ts";
export { argReduce, avgPool2d, joinBlocks, reduceColumns, reduceRows } from "./reduce.ts";
export { gatherRows } from "./gather_rows.ts";
export { guidedScores } from "./guided_scores.ts";
export { logSoftmaxGather, softmax } from "./softmax.ts";
export { topK } from "./top_k.ts";
export { convWeight, convWeightOut, winogradWeight, winogradWeightOut } from "./weight_gradient.ts";
export { winograd } from "./winograd.ts";
