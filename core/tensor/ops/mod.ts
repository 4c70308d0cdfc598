/**
 * All ops. An op is one definition (shape rule, forward, gradient), in the file of this folder that the table names.
 * Its forward runs a kernel of the device; ../kernels.ts says what each kernel computes. The WebGPU kernel is in
 * core/wgsl/kernels/. The CPU kernel has two files of the same name: core/cpu/kernels/ chooses block sizes and lays out
 * arguments, core/cpu/assembly/ does the arithmetic.
 *
 * | op                                          | here           | WebGPU                | CPU                       |
 * | ------------------------------------------- | -------------- | --------------------- | ------------------------- |
 * | neg abs exp log sqrt square reciprocal      | elementwise.ts | unary.ts              | elementwise.ts            |
 * | floor tanh sigmoid relu elu silu gelu       | elementwise.ts | unary.ts              | elementwise.ts            |
 * | geluTanh affine clamp power                 | elementwise.ts | unary.ts              | elementwise.ts            |
 * | add sub mul div maximum minimum             | elementwise.ts | binary.ts             | elementwise.ts            |
 * | equal less lessEqual                        | elementwise.ts | binary.ts             | elementwise.ts            |
 * | cast                                        | elementwise.ts | cast.ts               | elementwise.ts            |
 * | permute slice concat pad                    | shape.ts       | strided_copy.ts       | elementwise.ts            |
 * | broadcastTo                                 | broadcast.ts   | strided_copy.ts       | elementwise.ts            |
 * | sum                                         | broadcast.ts   | reduce.ts             | reduce.ts                 |
 * | mean max min                                | reduce.ts      | reduce.ts             | reduce.ts                 |
 * | argmax argmin                               | reduce.ts      | arg_reduce.ts         | reduce.ts                 |
 * | topK                                        | reduce.ts      | top_k.ts              | top_k.ts                  |
 * | matmul                                      | matmul.ts      | matmul.ts             | matmul.ts                 |
 * | linear                                      | linear.ts      | matmul.ts             | matmul.ts                 |
 * | conv2d                                      | conv.ts        | conv2d.ts             | conv2d.ts, winograd.ts    |
 * | conv2d, gradient of the weight              | conv.ts        | weight_gradient.ts    | weight_gradient.ts        |
 * | avgPool2d                                   | conv.ts        | avg_pool2d.ts         | reduce.ts                 |
 * | groupNorm                                   | norm.ts        | group_norm.ts         | norm.ts                   |
 * | layerNorm l2Normalize                       | norm.ts        | layer_norm.ts         | norm.ts                   |
 * | groupNorm layerNorm, gradients              | norm.ts        | *_norm_gradient.ts    | norm_gradient.ts          |
 * | softmax logSoftmax logSoftmaxGather         | softmax.ts     | softmax.ts            | softmax.ts                |
 * | guidedScores                                | guided_scores.ts | guided_scores.ts    | guided_scores.ts          |
 * | attention                                   | attention.ts   | attention.ts          | attention.ts              |
 * | attention, gradient                         | attention.ts   | attention_gradient.ts | attention_gradient.ts     |
 * | embedding                                   | embedding.ts   | gather_rows.ts        | gather_rows.ts            |
 * | nearestCode                                 | embedding.ts   | nearest_code.ts       | nearest_code.ts           |
 * | packWeight (a re-layout, not in the table)  | linear.ts      | pack.ts               | pack.ts                   |
 *
 * resize, oneHot, clone and KeyValueCache are made of these. To add an op, write its definition beside its relatives
 * and name it in `opTable` below. To add a kernel, add it to ../kernels.ts: neither device compiles until it has one.
 */
import { attentionOp } from "./attention.ts";
import { broadcastToOp, sumOp } from "./broadcast.ts";
import { avgPool2dOp, conv2dOp } from "./conv.ts";
import { binaryOps, castOp, unaryOps } from "./elementwise.ts";
import { embeddingOp, nearestCodeOp } from "./embedding.ts";
import { guidedScoresOp } from "./guided_scores.ts";
import { linearOp } from "./linear.ts";
import { matmulOp } from "./matmul.ts";
import { groupNormOp, l2NormalizeOp, layerNormOp } from "./norm.ts";
import { argReduceOp, reduceOp, topKOp } from "./reduce.ts";
import { concatOp, padOp, permuteOp, sliceOp } from "./shape.ts";
import { logSoftmaxGatherOp, softmaxOp } from "./softmax.ts";

export { attention, type AttentionOptions, blockCausalVisible, causalVisible, KeyValueCache } from "./attention.ts";
export { broadcastTo, clone, sum, sumTo } from "./broadcast.ts";
export { avgPool2d, conv2d, type ConvOptions, type Padding } from "./conv.ts";
export {
  abs,
  add,
  affine,
  binary,
  cast,
  clamp,
  div,
  elu,
  equal,
  exp,
  floor,
  gelu,
  geluTanh,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  neg,
  power,
  reciprocal,
  relu,
  sigmoid,
  silu,
  sqrt,
  square,
  sub,
  tanh,
  unary,
} from "./elementwise.ts";
export { embedding, nearestCode, oneHot } from "./embedding.ts";
export { linear, type LinearOptions, packWeight } from "./linear.ts";
export { matmul, type MatmulOptions } from "./matmul.ts";
export type { Modulation } from "./modulation.ts";
export { groupNorm, type GroupNormOptions, l2Normalize, layerNorm, type LayerNormOptions } from "./norm.ts";
export { argmax, argmin, max, mean, min, topK } from "./reduce.ts";
export { resize, resizeMatrix, type ResizeMode, Resizer } from "./resize.ts";
export { concat, pad, permute, slice, transpose, writeSlice } from "./shape.ts";
export { type GuidedInputs, guidedScores } from "./guided_scores.ts";
export { logSoftmax, logSoftmaxGather, softmax } from "./softmax.ts";

/** The definition of every op by name, for tests and tools; call ops by the functions exported above. */
export const opTable = {
  ...unaryOps,
  ...binaryOps,
  cast: castOp,
  permute: permuteOp,
  slice: sliceOp,
  concat: concatOp,
  pad: padOp,
  broadcastTo: broadcastToOp,
  sum: sumOp,
  reduce: reduceOp,
  argReduce: argReduceOp,
  topK: topKOp,
  matmul: matmulOp,
  linear: linearOp,
  conv2d: conv2dOp,
  avgPool2d: avgPool2dOp,
  groupNorm: groupNormOp,
  layerNorm: layerNormOp,
  l2Normalize: l2NormalizeOp,
  softmax: softmaxOp,
  logSoftmaxGather: logSoftmaxGatherOp,
  guidedScores: guidedScoresOp,
  attention: attentionOp,
  embedding: embeddingOp,
  nearestCode: nearestCodeOp,
} as const;
