/**
 * The kernels that every device implements: what each computes, its buffers and its sizes. Kernels know buffers and
 * numbers only; shapes, broadcasting and gradients are in the ops that run them (ops/mod.ts has a table of both).
 */

/** Element types. `f16` is a storage type for weights; arithmetic is f32. */
export type DType = "f32" | "f16" | "i32" | "u32";

/** A piece of device memory. Each device adds fields that only it reads. */
export interface Storage {
  /** Usable bytes. */
  readonly bytes: number;
}

/** Activations that products and norms fuse. */
export type Activation = "none" | "silu" | "gelu" | "geluTanh" | "relu";

/**
 * A broadcast table of rows, read by row number: the element for output row `r` and column `c` is
 * `data[floor(r / seq) * batchStride + (r % seq) * rowStride + offset + c]`. Strides of 0 broadcast.
 * adaLN scale, shift and gate chunks are read in place from one [batch or 1, seq or 1, chunks, n] tensor this way.
 */
export interface RowTable {
  /** f32. */
  readonly data: Storage;
  /** Rows of the result per batch entry. */
  readonly seq: number;
  /** Elements between batch entries. */
  readonly batchStride: number;
  /** Elements between rows. */
  readonly rowStride: number;
  /** Elements before the first. */
  readonly offset: number;
}

/** What a matrix product does to its result before storing it: `residual + gate * act(ab + bias)`. */
export interface Epilogue {
  /** [n]. */
  readonly bias?: Storage;
  /** Applied after the bias. */
  readonly activation: Activation;
  /** A factor per element. */
  readonly gate?: RowTable;
  /** Of the result's shape. */
  readonly residual?: Storage;
}

/** Sizes of a convolution: x is [batch, h, w, cIn], the result [batch, outH, outW, cOut]. */
export interface ConvSizes {
  /** Images. */
  batch: number;
  /** Rows of pixels of x. */
  h: number;
  /** Columns of pixels of x. */
  w: number;
  /** Channels of x. */
  cIn: number;
  /** Channels of the result. */
  cOut: number;
  /** Rows of the kernel. */
  kh: number;
  /** Columns of the kernel. */
  kw: number;
  /** In both directions. */
  stride: number;
  /** How often each pixel of x is repeated in both directions before padding. */
  upsample: 1 | 2;
  /** Rows of zeros above the enlarged x. */
  padTop: number;
  /** Columns of zeros to the left of it. */
  padLeft: number;
  /** Rows of pixels of the result. */
  outH: number;
  /** Columns of pixels of the result. */
  outW: number;
}

/** Sizes of a group norm: x is [batch, hw, c]. */
export interface GroupNormSizes {
  /** Images. */
  batch: number;
  /** Pixels of an image. */
  hw: number;
  /** Channels. */
  c: number;
  /** Divides the channels. */
  groups: number;
  /** Added to the variance. */
  eps: number;
  /** Applied to the result. */
  activation: "none" | "silu";
}

/** Sizes of an attention: q is [batch, lq, heads, headDim], k and v are [batch, kvCapacity, heads, headDim]. */
export interface AttentionSizes {
  /** Batch entries. */
  batch: number;
  /** Heads. */
  heads: number;
  /** Elements of a head. */
  headDim: number;
  /** Rows of q. */
  lq: number;
  /** Rows of k and v that are used, from the first. */
  lk: number;
  /** Rows of k and v. */
  kvCapacity: number;
  /** Factor on q . k. */
  scale: number;
}

/**
 * Arguments of every kernel. All buffers are row-major f32 unless said otherwise; strides and offsets count elements.
 * `out` never aliases an input.
 */
export interface Kernels {
  /** out[i] = value, for 4-byte elements; `value` is the bit pattern for integer types. */
  fill: { out: Storage; n: number; value: number; dtype: DType };
  /** out[i] = op(x[i]), with the op's two scalar parameters `a` and `b`. Names are rows of elementwise.ts. */
  unary: { op: string; x: Storage; out: Storage; n: number; a: number; b: number };
  /** out[...] = op(x[...], y[...]) over `shape` (rank 1 to 6, contiguous out); stride 0 broadcasts. */
  binary: {
    op: string;
    x: Storage;
    y: Storage;
    out: Storage;
    shape: readonly number[];
    xStrides: readonly number[];
    yStrides: readonly number[];
  };
  /** out[i] = x[i] converted; f32 to integers truncates towards zero. */
  cast: { x: Storage; out: Storage; n: number; from: DType; to: DType };
  /**
   * out[outOffset + i.outStrides] = x[xOffset + i.xStrides] for every index i of `shape` (rank 1 to 6), 4-byte
   * elements.
   */
  stridedCopy: {
    x: Storage;
    out: Storage;
    shape: readonly number[];
    xStrides: readonly number[];
    xOffset: number;
    outStrides: readonly number[];
    outOffset: number;
  };
  /** out[outer, inner] = op over n of x[outer, n, inner]. */
  reduce: {
    op: "sum" | "mean" | "max" | "min";
    x: Storage;
    out: Storage;
    outer: number;
    n: number;
    inner: number;
  };
  /** out[outer, inner] (i32) = first index of the extreme of x[outer, n, inner] along n. */
  argReduce: { op: "argmax" | "argmin"; x: Storage; out: Storage; outer: number; n: number; inner: number };
  /**
   * The k largest of each row x[rows, n], descending, ties by lower index: values[rows, k] and indices[rows, k] (i32).
   */
  topK: { x: Storage; values: Storage; indices: Storage; rows: number; n: number; k: number };
  /**
   * out[z, m, n] = epilogue(A_z[m, k] B_z[k, n]), z < batch. `transA`: a is stored [k, m]; `transB`: b is stored [n,
   * k]. `packed`: b is a weight packed by packLinear (batch stride 0), of type `bType`; otherwise b is plain f32.
   * RowTable rows and bias count rows over the whole [batch * m].
   */
  matmul: {
    a: Storage;
    b: Storage;
    out: Storage;
    batch: number;
    m: number;
    n: number;
    k: number;
    aBatchStride: number;
    bBatchStride: number;
    transA: boolean;
    transB: boolean;
    packed: boolean;
    bType: "f32" | "f16";
    epilogue: Epilogue;
  };
  /** Re-lays a linear weight x[n, k] (type `xType`) into the device's own layout, stored as `outType`. */
  packLinear: { x: Storage; out: Storage; n: number; k: number; xType: "f32" | "f16"; outType: "f32" | "f16" };
  /**
   * Re-lays a convolution weight x[cOut, cIn, kh, kw] likewise. With `turned`, x is [cIn, cOut, kh, kw] and its taps
   * are taken in reverse, by rows and columns: the weight of the gradient of a convolution's input.
   */
  packConv: {
    x: Storage;
    out: Storage;
    cOut: number;
    cIn: number;
    kh: number;
    kw: number;
    xType: "f32" | "f16";
    outType: "f32" | "f16";
    turned?: boolean;
  };
  /**
   * NHWC convolution with a weight packed by packConv. The input is read as if each pixel were repeated `upsample`
   * times in both directions (nearest), then zero-padded; x is [batch, h, w, cIn], out [batch, outH, outW, cOut],
   * out[y, x] = residual + act(bias + sum w[.., ky, kx] * in[y * stride + ky - padTop, x * stride + kx - padLeft]).
   */
  conv2d: ConvSizes & {
    x: Storage;
    weight: Storage;
    out: Storage;
    bias?: Storage;
    residual?: Storage;
    activation: Activation;
    wType: "f32" | "f16";
  };
  /**
   * The gradient of conv2d's weight, [cOut, cIn, kh, kw] and not packed, given that of its result before the
   * activation: out[o, i, ky, kx] = sum over images and y, x of upstream[y, x, o] * in[y * stride + ky - padTop, x *
   * stride + kx - padLeft, i].
   */
  conv2dWeightGradient: ConvSizes & {
    x: Storage;
    upstream: Storage;
    out: Storage;
  };
  /** out = act(gamma * (x - mean) / sqrt(var + eps) + beta), statistics over [hw, c / groups] per image and group. */
  groupNorm: GroupNormSizes & {
    x: Storage;
    gamma: Storage;
    beta: Storage;
    out: Storage;
  };
  /**
   * Gradients of groupNorm, given that of its result: dx like x, dGamma[c] and dBeta[c], each only where it is given.
   * `beta` is read for the activation's derivative only.
   */
  groupNormGradient: GroupNormSizes & {
    x: Storage;
    gamma: Storage;
    beta: Storage;
    upstream: Storage;
    dx?: Storage;
    dGamma?: Storage;
    dBeta?: Storage;
  };
  /**
   * y = (x - mean) / sqrt(var + eps) over each row x[rows, n]; then y * gamma + beta where given, then
   * y * (1 + scale) + shift where given.
   */
  layerNorm: {
    x: Storage;
    out: Storage;
    rows: number;
    n: number;
    eps: number;
    gamma?: Storage;
    beta?: Storage;
    scale?: RowTable;
    shift?: RowTable;
  };
  /**
   * Gradients of layerNorm, given that of its result, each only where it is given: dx[rows, n]; dGamma[n], dBeta[n];
   * and dScale[rows, n], that of scale before it is summed over the rows which share an entry of the table. The
   * gradient of shift before that sum is the upstream itself.
   */
  layerNormGradient: {
    x: Storage;
    upstream: Storage;
    dx?: Storage;
    dGamma?: Storage;
    dBeta?: Storage;
    dScale?: Storage;
    rows: number;
    n: number;
    eps: number;
    gamma?: Storage;
    beta?: Storage;
    scale?: RowTable;
  };
  /** out[r, :] = x[r, :] / max(|x[r, :]|_2, eps). */
  l2Normalize: { x: Storage; out: Storage; rows: number; n: number; eps: number };
  /** Softmax, or log-softmax, of each row x[rows, n]. */
  softmax: { x: Storage; out: Storage; rows: number; n: number; log: boolean };
  /** out[r] = logSoftmax(x[r, :])[index[r]], without storing the log-softmax. index is i32. */
  logSoftmaxGather: { x: Storage; index: Storage; out: Storage; rows: number; n: number };
  /**
   * For every sampler s and row r, with g = ((c - share u) factor + base u) scale, c = conditional[r, :], u =
   * unconditional[r, :] and (factor, share, base, scale) = mixing[s, place[r], :]: scores[s, 0, r] =
   * logSoftmax(g)[index[r]], and scores[s, 1, r] is 1 plus the number of elements of g above g[index[r]]. `guided`
   * [rows, n] is g of the first sampler. index and place are i32; mixing is [samplers, places, 4].
   */
  guidedScores: {
    conditional: Storage;
    unconditional: Storage;
    index: Storage;
    place: Storage;
    mixing: Storage;
    scores: Storage;
    guided?: Storage;
    rows: number;
    n: number;
    samplers: number;
    places: number;
  };
  /**
   * out[b, i, h, :] = softmax_j(scale * q[b, i, h, :] . k[b, j, h, :]) v[b, j, h, :], j < visible[i] (i32[lq], each in
   * 1..lk; all keys when absent). q and out are [batch, lq, heads, headDim]; k and v are [batch, kvCapacity, heads,
   * headDim], of which the first lk rows count. The score matrix is never stored whole.
   */
  attention: AttentionSizes & {
    q: Storage;
    k: Storage;
    v: Storage;
    out: Storage;
    visible?: Storage;
  };
  /**
   * Gradients of attention, given that of its result: dq like q, dk and dv like k and v (zero in the rows that do not
   * count), each only where it is given.
   */
  attentionGradient: AttentionSizes & {
    q: Storage;
    k: Storage;
    v: Storage;
    upstream: Storage;
    dq?: Storage;
    dk?: Storage;
    dv?: Storage;
    visible?: Storage;
  };
  /**
   * out[r, :] = x[index[r], :], x[rowsX, n] of type `xType`, index i32, out f32 (i32 stays i32). Indices are clamped.
   */
  gatherRows: {
    x: Storage;
    index: Storage;
    out: Storage;
    rows: number;
    rowsX: number;
    n: number;
    xType: "f32" | "f16" | "i32";
  };
  /**
   * out[r] (i32) = first argmin over v of |code_v|^2 - 2 x_r . code_v, that is, the nearest code; distances are not
   * stored.
   */
  nearestCode: { x: Storage; codebook: Storage; out: Storage; rows: number; codes: number; c: number };
  /**
   * One step of Adam over n elements, in place, with g = gradient + l2 * parameter:
   * first = beta1 * first + (1 - beta1) * g; second = beta2 * second + (1 - beta2) * g^2;
   * parameter = decay * parameter - stepSize * first / (sqrt(second) / correction + eps).
   */
  adam: {
    parameter: Storage;
    first: Storage;
    second: Storage;
    gradient: Storage;
    n: number;
    beta1: number;
    beta2: number;
    l2: number;
    decay: number;
    stepSize: number;
    correction: number;
    eps: number;
  };
  /** Mean over k x k blocks, stride k, incomplete blocks dropped; NHWC. */
  avgPool2d: { x: Storage; out: Storage; batch: number; h: number; w: number; c: number; k: number };
}

/** Names of all kernels. */
export type KernelName = keyof Kernels;

/** A device's kernels: one function each. A missing one does not compile. */
export type KernelImplementations = { readonly [K in KernelName]: (args: Kernels[K]) => void };
