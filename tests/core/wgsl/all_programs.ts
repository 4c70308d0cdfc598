/**
 * Every WGSL program that the WebGPU device can make, found by running every kernel with every option, at sizes on both
 * sides of every choice, on the stub device.
 */
import { openStubDevice } from "../../../bench/stub/gpu.ts";
import { cards } from "../../../bench/stub/cards.ts";
import { binaryRows, unaryRows } from "../../../core/tensor/elementwise.ts";
import type {
  Activation,
  DType,
  Epilogue,
  KernelName,
  Kernels,
  RowTable,
  Storage,
} from "../../../core/tensor/kernels.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";

/** WGSL by the label of its pipeline: kernel, a colon, what it is specialised for. */
export function allPrograms(): ReadonlyMap<string, string> {
  const programs = new Map<string, string>();
  for (const tiles of ["hardware", "software"] as const) {
    const { device, stub } = openStubDevice({ card: tiles === "hardware" ? cards.h200 : cards.lavapipe, tiles });
    const options = optionsOf(device);
    for (const kernel of Object.keys(options) as KernelName[]) {
      for (const args of options[kernel]) device.run(kernel, args as never);
    }
    device.close();
    for (const [label, text] of stub.pipelines) programs.set(label, text);
  }
  return programs;
}

/** All combinations of the values. */
function* combinations<T extends object>(values: { readonly [K in keyof T]: readonly T[K][] }): Generator<T> {
  const names = Object.keys(values) as (keyof T)[];
  const last = names.pop();
  if (last === undefined) {
    yield {} as T;
    return;
  }
  const rest = Object.fromEntries(names.map((name) => [name, values[name]])) as typeof values;
  for (const some of combinations<T>(rest)) {
    for (const value of values[last]) yield { ...some, [last]: value };
  }
}

const dtypes: readonly DType[] = ["f32", "f16", "i32", "u32"];
const weightTypes = ["f32", "f16"] as const;
const activations: readonly Activation[] = ["none", "silu", "gelu", "geluTanh", "relu"];
const tests = [false, true] as const;
/** Widths that are and are no multiples of 4, and rows so long that a workgroup shares one on software adapters, too. */
const widths = [64, 63, 20000];
/** Heads of the networks, and of every path: multiples of 4 or not, and larger ones. */
const headDims = [4, 8, 10, 16, 20, 32, 48, 64, 80, 88, 96, 127, 128, 130, 256];
/** Rows of a product for which no dispatch has enough workgroups in one direction. */
const tooMany = 65536 * 128;
/** Columns of results: every tile of software adapters (1 to 160 columns), and several blocks. */
const columns = [1, 3, 4, 6, 8, 30, 32, 62, 64, 96, 126, 128, 158, 160, 512, 1000, 1001];

/** Arguments by kernel. One storage stands for all buffers: the stub computes nothing. */
function optionsOf(device: WebGpuDevice): { readonly [K in KernelName]: Iterable<Kernels[K]> } {
  const x = device.alloc(2 ** 26);
  const out = device.alloc(2 ** 26);
  const maybe = [undefined, x];
  const table: RowTable = { data: x, seq: 8, batchStride: 64, rowStride: 0, offset: 0 };
  const tables = [undefined, table];
  return {
    fill: (["f32", "i32", "u32"] as const).map((dtype) => ({ out, n: 8, value: 0, dtype })),
    unary: Object.keys(unaryRows).map((op) => ({ op, x, out, n: 8, a: 1, b: 2 })),
    binary: binaryOptions(x, out),
    cast: [...combinations({ from: dtypes, to: dtypes })].map((types) => ({ x, out, n: 8, ...types })),
    stridedCopy: stridedOptions(x, out),
    reduce: [...combinations({ op: ["sum", "mean", "max", "min"] as const, n: [8, 1000] })]
      .map((some) => ({ x, out, outer: 2, inner: 3, ...some })),
    argReduce: [...combinations({ op: ["argmax", "argmin"] as const, n: [8, 1000, 100000], inner: [1, 3] })]
      .map((some) => ({ x, out, outer: 2, ...some })),
    topK: [8, 1000, 20000].map((n) => ({ x, values: out, indices: out, rows: 2, n, k: 5 })),
    matmul: matmulOptions(device, x, out),
    packLinear: [...combinations({ n: columns, k: [63, 64], xType: weightTypes, outType: weightTypes })]
      .map((some) => ({ x, out: device.alloc(device.packedBytes("linear", [some.n, some.k], some.outType)), ...some })),
    packConv: [
      ...combinations({ cOut: columns, cIn: [3, 64], xType: weightTypes, outType: weightTypes, turned: tests }),
    ]
      .map((some) => ({
        ...{ x, kh: 3, kw: 3, ...some },
        out: device.alloc(device.packedBytes("conv", [some.cOut, some.cIn, 3, 3], some.outType)),
      })),
    conv2d: convOptions(device, x, out),
    conv2dWeightGradient: [...convSizes("software")].map((sizes) => ({ x, upstream: x, out, ...sizes })),
    groupNorm: [...groupNormSizes()].map((sizes) => ({ x, gamma: x, beta: x, out, ...sizes })),
    groupNormGradient: [...groupNormSizes()].flatMap((sizes) =>
      [...combinations({ dx: [undefined, out], dGamma: [undefined, out], dBeta: [undefined, out] })]
        .map((some) => ({ x, gamma: x, beta: x, upstream: x, ...sizes, ...some }))
    ),
    layerNorm: [...combinations({ n: widths, gamma: maybe, beta: maybe, scale: tables, shift: tables })]
      .map((some) => ({ x, out, rows: 8, eps: 1e-6, ...some })),
    layerNormGradient: [...combinations({
      ...{ n: widths, gamma: maybe, beta: maybe, scale: tables },
      ...{ dx: [undefined, out], dGamma: [undefined, out], dBeta: [undefined, out], dScale: [undefined, out] },
    })].map((some) => ({ x, upstream: x, rows: 8, eps: 1e-6, ...some })),
    l2Normalize: widths.map((n) => ({ x, out, rows: 8, n, eps: 1e-6 })),
    softmax: [...combinations({ n: widths, log: tests })].map((some) => ({ x, out, rows: 8, ...some })),
    logSoftmaxGather: widths.map((n) => ({ x, index: x, out, rows: 8, n })),
    guidedScores: [...combinations({ n: widths, guided: maybe })].map((some) => ({
      ...{ conditional: x, unconditional: x, index: x, place: x, mixing: x, scores: out },
      ...{ rows: 8, samplers: 2, places: 4, ...some },
    })),
    attention: [...attentionSizes()].flatMap((sizes) =>
      maybe.map((visible) => ({ q: x, k: x, v: x, out, visible, ...sizes }))
    ),
    attentionGradient: [...attentionSizes()].map((sizes) => ({
      ...{ q: x, k: x, v: x, upstream: x, dq: out, dk: out, dv: out },
      ...sizes,
    })),
    gatherRows: [...combinations({ n: [63, 64], xType: ["f32", "f16", "i32"] as const })]
      .map((some) => ({ x, index: x, out, rows: 8, rowsX: 16, ...some })),
    nearestCode: [31, 32].map((c) => ({ x, codebook: x, out, rows: 8, codes: 64, c })),
    adam: [{
      ...{ parameter: out, first: out, second: out, gradient: x, n: 8, beta1: 0.9, beta2: 0.95, l2: 0 },
      ...{ decay: 1, stepSize: 1e-3, correction: 1, eps: 1e-8 },
    }],
    avgPool2d: [3, 4].map((c) => ({ x, out, batch: 1, h: 8, w: 8, c, k: 2 })),
  };
}

/** Ranks 1 to 6 of dimensions that cannot be merged, in vectors of four and not. */
function* shapes(): Generator<{ shape: number[]; strides: number[]; repeated: number[] }> {
  for (let rank = 1; rank <= 6; rank++) {
    for (const last of [3, 4]) {
      const shape = [...new Array<number>(rank - 1).fill(2), last];
      // Rows are 8 elements apart, and every other dimension leaves a gap, too.
      const strides = shape.map((_, d) => d === rank - 1 ? 1 : 8 * 3 ** (rank - 2 - d));
      yield { shape, strides, repeated: strides.map((stride, d) => d === rank - 1 ? 0 : stride) };
    }
  }
}

function* binaryOptions(x: Storage, out: Storage): Generator<Kernels["binary"]> {
  for (const op of Object.keys(binaryRows)) yield { op, x, y: x, out, shape: [8], xStrides: [1], yStrides: [1] };
  for (const { shape, strides, repeated } of shapes()) {
    for (const xStrides of [strides, repeated]) {
      for (const yStrides of [strides, repeated]) yield { op: "add", x, y: x, out, shape, xStrides, yStrides };
    }
  }
}

function* stridedOptions(x: Storage, out: Storage): Generator<Kernels["stridedCopy"]> {
  for (const { shape, strides, repeated } of shapes()) {
    for (const xStrides of [strides, repeated]) {
      yield { x, out, shape, xStrides, xOffset: 0, outStrides: strides, outOffset: 0 };
      yield { x, out, shape, xStrides, xOffset: 1, outStrides: strides.toReversed(), outOffset: 1 };
    }
  }
}

function* matmulOptions(device: WebGpuDevice, x: Storage, out: Storage): Generator<Kernels["matmul"]> {
  const epilogues: readonly Epilogue[] = [
    { activation: "none" },
    {
      ...{ bias: x, activation: "gelu", residual: x },
      gate: { data: x, seq: 8, batchStride: 64, rowStride: 0, offset: 0 },
    },
  ];
  const none = epilogues[0];
  for (const m of [1, 4, 5, 64, 257, 2048, ...device.tiles === "hardware" ? [tooMany] : []]) {
    for (const k of [63, 64]) {
      for (const n of m === tooMany ? [3] : columns) {
        const sizes = { m, n, k, aBatchStride: m * k, bBatchStride: n * k, out, a: x };
        for (const { batch, transA, transB } of combinations({ batch: [1, 3], transA: tests, transB: tests })) {
          yield { ...sizes, b: x, batch, transA, transB, packed: false, bType: "f32", epilogue: none };
        }
        for (const bType of weightTypes) {
          const b = device.alloc(device.packedBytes("linear", [n, k], bType));
          device.run("packLinear", { x, out: b, n, k, xType: "f32", outType: bType });
          const packed = { ...sizes, b, batch: 1, transB: false, packed: true, bType };
          for (const epilogue of epilogues) yield { ...packed, transA: false, epilogue };
          yield { ...packed, transA: true, epilogue: none };
          device.free(b);
        }
      }
    }
  }
  const small = { a: x, b: x, out, batch: 70000, m: 4, n: 4, k: 4, aBatchStride: 16, bBatchStride: 16 };
  yield { ...small, transA: false, transB: false, packed: false, bType: "f32", epilogue: none };
  for (const activation of activations) {
    yield {
      ...{ a: x, b: x, out, batch: 1, m: 8, n: 8, k: 8, aBatchStride: 64, bBatchStride: 64, transA: false },
      ...{ transB: false, packed: false, bType: "f32", epilogue: { bias: x, activation } },
    };
  }
}

/** Convolutions of 1 and 9 taps, enlarging, with steps, of few and of many channels. */
function* convSizes(
  tiles: WebGpuDevice["tiles"],
): Generator<Omit<Kernels["conv2d"], "x" | "weight" | "out" | "activation" | "wType">> {
  for (
    const { side, cIn, cOut, taps, stride, upsample } of combinations({
      ...{
        side: tiles === "hardware" ? [8, 64, 3000] : [8, 64],
        cIn: [3, 32],
        cOut: columns,
        taps: [1, 3],
        stride: [1, 2],
        upsample: [1, 2] as const,
      },
    })
  ) {
    const pad = (taps - 1) / 2;
    const outSide = Math.floor((side * upsample + 2 * pad - taps) / stride) + 1;
    yield {
      ...{ batch: 2, h: side, w: side, cIn, cOut, kh: taps, kw: taps, stride, upsample, padTop: pad, padLeft: pad },
      ...{ outH: outSide, outW: outSide },
    };
  }
}

function* convOptions(device: WebGpuDevice, x: Storage, out: Storage): Generator<Kernels["conv2d"]> {
  for (const sizes of convSizes(device.tiles)) {
    const { cOut, cIn, kh, kw } = sizes;
    for (const wType of weightTypes) {
      const weight = device.alloc(device.packedBytes("conv", [cOut, cIn, kh, kw], wType));
      device.run("packConv", { x, out: weight, cOut, cIn, kh, kw, xType: "f32", outType: wType });
      yield { ...sizes, x, weight, out, wType, activation: "none" };
      yield { ...sizes, x, weight, out, wType, activation: "silu", bias: x, residual: x };
      device.free(weight);
    }
  }
}

function* groupNormSizes(): Generator<Omit<Kernels["groupNorm"], "x" | "gamma" | "beta" | "out">> {
  for (
    const { c, activation, hw } of combinations({
      ...{ c: [6, 64], activation: ["none", "silu"] as const, hw: [64, 1_100_000] },
    })
  ) yield { batch: 1, hw, c, groups: 2, eps: 1e-6, activation };
}

function* attentionSizes(): Generator<Omit<Kernels["attention"], "q" | "k" | "v" | "out" | "visible">> {
  for (const { headDim, lq, lk } of combinations({ headDim: headDims, lq: [1, 70], lk: [70, 20000] })) {
    yield { batch: 1, heads: 2, headDim, lq, lk, kvCapacity: lk, scale: 1 };
  }
}
