/**
 * Kernels at sizes that devices split: over Workers, over blocks of rows, columns and sums, over textures and dispatches.
 * Each must agree with the reference and give the same bits every time, whoever did which part.
 */
import assert from "node:assert/strict";
import type { Device } from "../../../core/tensor/device.ts";
import { agrees, byKind, expectedOf, Inputs, runKernel, sumTolerance, type Tolerance } from "./check.ts";
import type { CheckedKernel, HostArgs, HostResult } from "./reference.ts";

/** A kernel at a size that is split. `slowOnOtherTiles`: half a minute with the tiles for other adapters. */
export interface LargeKernel {
  readonly title: string;
  readonly slowOnOtherTiles: boolean;
  /** Runs it so often, and asserts that it agrees with the reference and repeats its bits. */
  check(device: Device, runs: number): Promise<void>;
}

export const largeKernels: LargeKernel[] = [];

function large<K extends CheckedKernel>(
  name: string,
  kernel: K,
  make: (inputs: Inputs) => HostArgs<K>,
  tolerance: (device: Device) => Tolerance = () => ({ roundings: 0 }),
  { slowOnOtherTiles = false } = {},
): void {
  let prepared: { args: HostArgs<K>; expected: Readonly<Record<string, HostResult>> } | undefined;
  const check = async (device: Device, runs: number) => {
    if (!prepared) {
      const args = make(new Inputs(1));
      prepared = { args, expected: expectedOf(kernel, args) };
    }
    const { args, expected } = prepared;
    const first = await agrees(device, kernel, args, tolerance(device), expected);
    for (let i = 1; i < runs; i++) {
      const again = await runKernel(device, kernel, args, expected);
      for (const name of Object.keys(first)) assert.deepEqual(again[name], first[name], `${name}, run ${i + 1}`);
    }
  };
  const title = `${kernel} ${name} agrees with the reference and repeats its bits`;
  largeKernels.push({ title, slowOnOtherTiles, check });
}

const noEpilogue = { activation: "none" as const };

function product(
  inputs: Inputs,
  { batch = 1, m, n, k, ...rest }: { batch?: number; m: number; n: number; k: number } & Partial<HostArgs<"matmul">>,
): HostArgs<"matmul"> {
  return {
    a: inputs.f32(batch * m * k),
    b: inputs.f32((rest.packed ? 1 : batch) * n * k),
    ...{ batch, m, n, k, aBatchStride: m * k, bBatchStride: rest.packed ? 0 : n * k },
    ...{ transA: false, transB: false, packed: false, bType: "f32", epilogue: noEpilogue },
    ...rest,
  };
}

const productTolerance = (k: number) => (device: Device) => sumTolerance(device, k, Math.sqrt(k) / 3 + 1);

large("of 257 x 521 x 803, packed", "matmul", (inputs) => {
  const [m, n] = [257, 521];
  const gate = { data: inputs.f32(m * n), seq: m, batchStride: 0, rowStride: n, offset: 0 };
  const epilogue = { bias: inputs.f32(n), activation: "gelu" as const, gate, residual: inputs.f32(m * n) };
  return product(inputs, { m, n, k: 803, packed: true, epilogue });
}, productTolerance(803));

large("of f16 weights, 130 x 520 x 1600", "matmul", (inputs) => {
  return product(inputs, { m: 130, n: 520, k: 1600, packed: true, bType: "f16" });
}, productTolerance(1600));

large("of a batch of 12, both operands transposed", "matmul", (inputs) => {
  return product(inputs, { batch: 12, m: 67, n: 131, k: 129, transA: true, transB: true });
}, productTolerance(129));

// Enough blocks of 128 x 128 for the widest tiles, with and without whole groups of four columns.
for (const [batch, n] of [[16, 260], [24, 199]]) {
  for (
    const b of [{ packed: true }, { packed: true, bType: "f16" }, {
      packed: false,
      transA: true,
      transB: true,
    }] as const
  ) {
    large(`of ${batch} x [131 x ${n} x 21], ${JSON.stringify(b)}`, "matmul", (inputs) => {
      const epilogue = { bias: inputs.f32(n), activation: "silu" as const, residual: inputs.f32(batch * 131 * n) };
      return product(inputs, { batch, m: 131, n, k: 21, epilogue, ...b });
    }, productTolerance(21));
  }
}

// Long and thin: rows, columns or sums beyond what one texture row, dispatch dimension or block holds.
for (const [m, n, k] of [[33_001, 3, 2], [2, 70_001, 3], [3, 5, 5003]]) {
  large(`of ${m} x ${n} x ${k}, packed`, "matmul", (inputs) => {
    return product(inputs, { m, n, k, packed: true });
  }, productTolerance(k));
  large(`of ${m} x ${n} x ${k}, plain`, "matmul", (inputs) => product(inputs, { m, n, k }), productTolerance(k));
}

// More rows than 65,535 groups of 64, the most that one dispatch has: 64 images of 256 x 256 pixels and some. Not with the
// tiles for hardware, which compute 64 columns for each of them: a minute and more on a software adapter.
for (const packed of [true, false]) {
  large(
    `of 4200001 x 1 x 1, ${packed ? "packed" : "plain"}`,
    "matmul",
    (inputs) => {
      return product(inputs, { m: 4_200_001, n: 1, k: 1, packed });
    },
    productTolerance(1),
    { slowOnOtherTiles: true },
  );
}

function convolution(
  inputs: Inputs,
  sizes:
    & { batch?: number; h: number; w: number; cIn: number; cOut: number; taps: number }
    & Partial<HostArgs<"conv2d">>,
): HostArgs<"conv2d"> {
  const { batch = 1, h, w, cIn, cOut, taps, ...rest } = sizes;
  const pad = (taps - 1) / 2;
  return {
    x: inputs.f32(batch * h * w * cIn),
    weight: inputs.f32(cOut * cIn * taps * taps),
    bias: inputs.f32(cOut),
    ...{ batch, h, w, cIn, cOut, kh: taps, kw: taps, stride: 1, upsample: 1, padTop: pad, padLeft: pad },
    ...{ outH: h, outW: w, activation: "none", wType: "f32" },
    ...rest,
  };
}

large("of 67 x 61 pixels, 40 to 48 channels", "conv2d", (inputs) => {
  const residual = inputs.f32(67 * 61 * 48);
  return convolution(inputs, { h: 67, w: 61, cIn: 40, cOut: 48, taps: 3, residual, activation: "silu" });
}, productTolerance(360));

large("of 3 images, upsampled, f16", "conv2d", (inputs) => {
  return convolution(inputs, {
    batch: 3,
    h: 17,
    w: 18,
    outH: 34,
    outW: 36,
    upsample: 2,
    cIn: 33,
    cOut: 40,
    taps: 3,
    wType: "f16",
  });
}, productTolerance(297));

large("of 3 images of 48 x 43 pixels to 130 channels", "conv2d", (inputs) => {
  const residual = inputs.f32(3 * 48 * 43 * 130);
  return convolution(inputs, { batch: 3, h: 48, w: 43, cIn: 5, cOut: 130, taps: 3, residual, activation: "gelu" });
}, productTolerance(45));

large("with stride 2 over 128 x 128 pixels", "conv2d", (inputs) => {
  const corner = { padTop: 0, padLeft: 0, outH: 64, outW: 64, stride: 2 };
  return convolution(inputs, { h: 128, w: 128, cIn: 16, cOut: 24, taps: 3, ...corner });
}, productTolerance(144));

large("of 1 x 1 over 4000 pixels", "conv2d", (inputs) => {
  return convolution(inputs, { h: 50, w: 80, cIn: 130, cOut: 67, taps: 1 });
}, productTolerance(130));

large("of one very wide image", "conv2d", (inputs) => {
  return convolution(inputs, { h: 3, w: 17_001, cIn: 3, cOut: 5, taps: 3 });
}, productTolerance(27));

large(
  "of 2049 x 2051 pixels",
  "conv2d",
  (inputs) => {
    return convolution(inputs, { h: 2049, w: 2051, cIn: 1, cOut: 1, taps: 1 });
  },
  productTolerance(1),
  { slowOnOtherTiles: true },
);

large("of many channels and few pixels", "conv2d", (inputs) => {
  return convolution(inputs, { h: 3, w: 2, cIn: 2051, cOut: 37, taps: 3 });
}, productTolerance(2051 * 9));

large(
  "of 2 x 5 heads, 300 queries, 331 keys",
  "attention",
  (inputs) => {
    const [batch, heads, headDim, lq, lk] = [2, 5, 48, 300, 331];
    const rows = (n: number) => inputs.f32(batch * n * heads * headDim, -2, 2);
    const visible = Int32Array.from({ length: lq }, (_, i) => lk - lq + i + 1);
    return {
      q: rows(lq),
      k: rows(lk),
      v: rows(lk),
      visible,
      batch,
      heads,
      headDim,
      lq,
      lk,
      kvCapacity: lk,
      scale: 0.144,
    };
    // As in attention_test.ts, for logits of up to about 10.
  },
  (device) => ({
    roundings: byKind(device, { cpu: 1, webgpu: 2 }) * (8 * Math.sqrt(331) + 40 * Math.sqrt(48)),
    floor: 1,
  }),
);

large(
  "of one wide head, 450 queries, 5000 keys",
  "attention",
  (inputs) => {
    const [headDim, lq, lk] = [132, 450, 5000];
    const rows = (n: number) => inputs.f32(n * headDim);
    const visible = inputs.i32(lq, 1, lk);
    return {
      q: rows(lq),
      k: rows(lk),
      v: rows(lk),
      visible,
      batch: 1,
      heads: 1,
      headDim,
      lq,
      lk,
      kvCapacity: lk,
      scale: 0.3,
    };
  },
  (device) => ({
    roundings: byKind(device, { cpu: 1, webgpu: 2 }) * (8 * Math.sqrt(5000) + 4 * Math.sqrt(132)),
    floor: 1,
  }),
);

const normal = (device: Device): Tolerance => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: 10 });

for (const [cIn, cOut, stride] of [[20, 36, 1], [3, 16, 1], [12, 8, 2]]) {
  const [batch, h, w] = [2, 130, 126];
  const terms = batch * h * w / stride / stride;
  large(
    `of 2 images of 130 x 126 pixels, ${cIn} to ${cOut} channels, stride ${stride}`,
    "conv2dWeightGradient",
    (inputs) => ({
      ...{ x: inputs.f32(batch * h * w * cIn), upstream: inputs.f32(terms * cOut) },
      ...{ batch, h, w, cIn, cOut, kh: 3, kw: 3, stride, upsample: 1 as const },
      ...{ padTop: 1, padLeft: 1, outH: h / stride, outW: w / stride },
    }),
    (device) => sumTolerance(device, terms, Math.sqrt(terms) / 3),
  );
}

large("of 2 images of 8100 pixels", "groupNorm", (inputs) => {
  const [batch, hw, c] = [2, 8100, 64];
  const x = inputs.f32(batch * hw * c, 1, 5);
  return {
    x,
    gamma: inputs.f32(c),
    beta: inputs.f32(c),
    batch,
    hw,
    c,
    groups: 32,
    eps: 1e-6,
    activation: "silu" as const,
  };
}, normal);

large("of 2 images of 8100 pixels", "groupNormGradient", (inputs) => {
  const [batch, hw, c] = [2, 8100, 64];
  const x = inputs.f32(batch * hw * c, 1, 5);
  const parameters = { gamma: inputs.f32(c), beta: inputs.f32(c), upstream: inputs.f32(x.length) };
  return { x, ...parameters, batch, hw, c, groups: 32, eps: 1e-6, activation: "silu" as const };
  // Measured against the largest elements of dGamma and dBeta, sums of 16200 terms; those of dx are about 1.
}, (device) => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: 8 }));

large("of 690 x 1030", "layerNorm", (inputs) => {
  const [rows, n] = [690, 1030];
  const scale = { data: inputs.f32(2 * n), seq: rows, batchStride: 0, rowStride: 0, offset: 0 };
  const shift = { ...scale, offset: n };
  return {
    x: inputs.f32(rows * n, -1, 3),
    rows,
    n,
    eps: 1e-6,
    gamma: inputs.f32(n),
    beta: inputs.f32(n),
    scale,
    shift,
  };
}, normal);

large("of 690 x 1030", "layerNormGradient", (inputs) => {
  const [rows, n] = [690, 1030];
  const scale = { data: inputs.f32(3 * n), seq: 230, batchStride: n, rowStride: 0, offset: 0 };
  const parameters = { gamma: inputs.f32(n), beta: inputs.f32(n), scale };
  return { x: inputs.f32(rows * n), upstream: inputs.f32(rows * n), rows, n, eps: 1e-6, ...parameters };
}, (device) => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: 8 }));

large("of 4000 x 65", "l2Normalize", (inputs) => {
  return { x: inputs.f32(4000 * 65), rows: 4000, n: 65, eps: 1e-12 };
}, (device) => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }) }));

for (const log of [false, true]) {
  large(`of 300 x 4096${log ? ", log" : ""}`, "softmax", (inputs) => {
    return { x: inputs.f32(300 * 4096, -9, 9), rows: 300, n: 4096, log };
  }, (device) => ({ roundings: byKind(device, { cpu: 16, webgpu: 32 }) }));
}

large("of 700 x 4096", "logSoftmaxGather", (inputs) => {
  const [rows, n] = [700, 4096];
  return { x: inputs.f32(rows * n, -9, 9), index: inputs.i32(rows, 0, n - 1), rows, n };
}, (device) => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }), floor: 18 }));

for (const [outer, n, inner] of [[1, 3_000_017, 1], [3000, 515, 1], [7, 900, 301], [70_001, 3, 1]]) {
  const sizes = `of [${outer}, ${n}, ${inner}]`;
  // Sums of n terms of size up to 1 that nearly cancel, on a scale of sqrt(n).
  const tolerance = (device: Device) => sumTolerance(device, n, Math.sqrt(n));
  large(
    sizes,
    "reduce",
    (inputs) => ({ op: "sum" as const, x: inputs.f32(outer * n * inner), outer, n, inner }),
    tolerance,
  );
  large(sizes, "argReduce", (inputs) => ({ op: "argmin" as const, x: inputs.f32(outer * n * inner), outer, n, inner }));
}

large("of 40 x 4096", "topK", (inputs) => ({ x: inputs.f32(40 * 4096), rows: 40, n: 4096, k: 900 }));

large("of 40000 rows", "gatherRows", (inputs) => {
  const [rows, rowsX, n] = [40_000, 1024, 33];
  return { x: inputs.f32(rowsX * n), index: inputs.i32(rows, 0, rowsX - 1), rows, rowsX, n, xType: "f32" as const };
});

large("of 1300 rows and 4096 codes", "nearestCode", (inputs) => {
  // Whole numbers: ties are exact, and there are some.
  const [rows, codes, c] = [1300, 4096, 8];
  return { x: inputs.wholeF32(rows * c, -3, 3), codebook: inputs.wholeF32(codes * c, -3, 3), rows, codes, c };
});

large("of 256 x 254 pixels", "avgPool2d", (inputs) => {
  return { x: inputs.f32(256 * 254 * 12), batch: 1, h: 256, w: 254, c: 12, k: 2 };
}, (device) => sumTolerance(device, 4));

large("of 3 million elements", "unary", (inputs) => {
  const n = 3_000_001;
  return { op: "geluTanh", x: inputs.f32(n, -6, 6), n, a: 0, b: 0 };
}, (device) => ({ roundings: byKind(device, { cpu: 8, webgpu: 16 }), each: true, floor: 1 }));

large("of rank 4 with repeated operands", "binary", (inputs) => {
  const shape = [9, 40, 50, 33];
  const x = inputs.f32(9 * 40 * 50 * 33);
  return { op: "add", x, y: inputs.f32(9 * 33), shape, xStrides: [66_000, 1650, 33, 1], yStrides: [33, 0, 0, 1] };
}, () => ({ roundings: 1, each: true }));

for (const [from, to] of [["f32", "f16"], ["f16", "f32"]] as const) {
  large(
    `of 1 million elements, ${from} to ${to}`,
    "cast",
    (inputs) => {
      const n = 1_000_003;
      return { x: from === "f16" ? inputs.f16(n) : inputs.f32(n), n, from, to };
      // f16 has subnormals below 2^-14, which WGSL may flush; 2^-14 is one rounding of numbers around 1/8.
    },
    (device) =>
      to === "f16" ? { roundings: byKind(device, { cpu: 0, webgpu: 2 }), each: true, floor: 0.125 } : { roundings: 0 },
  );
}

large("of a large transpose", "stridedCopy", (inputs) => {
  const [h, w] = [1201, 1003];
  const out = new Float32Array(h * w);
  return { x: inputs.f32(h * w), out, shape: [w, h], xStrides: [1, w], xOffset: 0, outStrides: [h, 1], outOffset: 0 };
});
