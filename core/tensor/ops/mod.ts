/** All ops, and the table of their definitions. */
import { attentionOp } from "./attention.ts";
import { broadcastToOp, sumOp } from "./broadcast.ts";
import { avgPool2dOp, conv2dOp } from "./conv.ts";
import { binaryOps, castOp, unaryOps } from "./elementwise.ts";
import { embeddingOp, nearestCodeOp } from "./embedding.ts";
import { linearOp, matmulOp } from "./matmul.ts";
import { groupNormOp, l2NormalizeOp, layerNormOp } from "./norm.ts";
import { argReduceOp, reduceOp, topKOp } from "./reduce.ts";
import { concatOp, padOp, permuteOp, sliceOp } from "./shape.ts";
import { logSoftmaxGatherOp, softmaxOp } from "./softmax.ts";

export * from "./attention.ts";
export * from "./broadcast.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export * from "./embedding.ts";
export * from "./matmul.ts";
export * from "./norm.ts";
export * from "./reduce.ts";
export * from "./resize.ts";
export * from "./shape.ts";
export * from "./softmax.ts";

/** Every op by name. Resizing, packing and caches are made of these and of device kernels. */
export const opTable = {
  ...unaryOps,
  ...binaryOps,
  cast: castOp,
  sum: sumOp,
  reduce: reduceOp,
  argReduce: argReduceOp,
  topK: topKOp,
  permute: permuteOp,
  slice: sliceOp,
  concat: concatOp,
  pad: padOp,
  broadcastTo: broadcastToOp,
  matmul: matmulOp,
  linear: linearOp,
  conv2d: conv2dOp,
  avgPool2d: avgPool2dOp,
  groupNorm: groupNormOp,
  layerNorm: layerNormOp,
  l2Normalize: l2NormalizeOp,
  softmax: softmaxOp,
  logSoftmaxGather: logSoftmaxGatherOp,
  attention: attentionOp,
  embedding: embeddingOp,
  nearestCode: nearestCodeOp,
} as const;

export type OpName = keyof typeof opTable;
