/**
 * The kernels of this device by name. A kernel that is missing here does not compile.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { adam } from "./adam.ts";
import { argReduce } from "./arg_reduce.ts";
import { attention } from "./attention.ts";
import { attentionGradient } from "./attention_gradient.ts";
import { avgPool2d } from "./avg_pool2d.ts";
import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { conv2d } from "./conv2d.ts";
import { fill } from "./fill.ts";
import { gatherRows } from "./gather_rows.ts";
import { groupNorm } from "./group_norm.ts";
import { groupNormGradient } from "./group_norm_gradient.ts";
import { l2Normalize, layerNorm } from "./layer_norm.ts";
import { layerNormGradient } from "./layer_norm_gradient.ts";
import { matmul } from "./matmul.ts";
import { nearestCode } from "./nearest_code.ts";
import { packConv, packLinear } from "./pack.ts";
import { reduce } from "./reduce.ts";
import { guidedScores } from "./guided_scores.ts";
import { logSoftmaxGather, softmax } from "./softmax.ts";
import { stridedCopy } from "./strided_copy.ts";
import { topK } from "./top_k.ts";
import { unary } from "./unary.ts";
import { conv2dWeightGradient } from "./weight_gradient.ts";

export { packedBytes } from "./pack.ts";

export function kernelTable(gpu: Context): KernelImplementations {
  return {
    fill: (args) => fill(gpu, args),
    adam: (args) => adam(gpu, args),
    unary: (args) => unary(gpu, args),
    binary: (args) => binary(gpu, args),
    cast: (args) => cast(gpu, args),
    stridedCopy: (args) => stridedCopy(gpu, args),
    reduce: (args) => reduce(gpu, args),
    argReduce: (args) => argReduce(gpu, args),
    topK: (args) => topK(gpu, args),
    matmul: (args) => matmul(gpu, args),
    packLinear: (args) => packLinear(gpu, args),
    packConv: (args) => packConv(gpu, args),
    conv2d: (args) => conv2d(gpu, args),
    conv2dWeightGradient: (args) => conv2dWeightGradient(gpu, args),
    groupNorm: (args) => groupNorm(gpu, args),
    groupNormGradient: (args) => groupNormGradient(gpu, args),
    layerNorm: (args) => layerNorm(gpu, args),
    layerNormGradient: (args) => layerNormGradient(gpu, args),
    l2Normalize: (args) => l2Normalize(gpu, args),
    softmax: (args) => softmax(gpu, args),
    logSoftmaxGather: (args) => logSoftmaxGather(gpu, args),
    guidedScores: (args) => guidedScores(gpu, args),
    attention: (args) => attention(gpu, args),
    attentionGradient: (args) => attentionGradient(gpu, args),
    gatherRows: (args) => gatherRows(gpu, args),
    nearestCode: (args) => nearestCode(gpu, args),
    avgPool2d: (args) => avgPool2d(gpu, args),
  };
}
