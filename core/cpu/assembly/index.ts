// @ts-nocheck AssemblyScript, which the type checker does not know.
/** Every kernel that the CPU device calls: `kernel(args, begin, end, scratch)`. Helpers are not exported from here. */
export { attention } from "./attention";
export { conv } from "./conv";
export { binary, stridedCopy, unary } from "./elementwise";
export { matmul } from "./matmul";
export { nearestCode, squaredNorms } from "./nearest";
export { groupNormApply, groupNormBlocks, groupNormJoin, l2Normalize, layerNorm } from "./norm";
export { castHalves, packColumns, packRows, packWeight, transpose } from "./pack";
export { argReduce, avgPool2d, reduceColumns, reduceRows } from "./reduce";
export { gatherRows, logSoftmaxGather, softmax, topK } from "./rows";
