/**
 * Single kernels at the shapes that the networks use: matrix products, 3x3 convolutions and attention.
 * Whole networks are in passes.ts.
 */
import {
  attention,
  blockCausalVisible,
  conv2d,
  type Device,
  keep,
  linear,
  matmul,
  packWeight,
  randomUniform,
  scope,
  type Tensor,
} from "../core/tensor/mod.ts";
import type { BenchCase, Group, Workload } from "./case.ts";
import { attentionFlops, blockVisible, convFlops, matmulFlops } from "./flops.ts";

/** A workload of one case, whose inputs are made by `prepare` and freed at its end. */
function single(
  group: Group,
  name: string,
  description: Pick<BenchCase, "flops" | "job">,
  prepare: (device: Device) => { inputs: Tensor[]; weight?: Tensor; run: () => void },
): Workload {
  return {
    group,
    names: [name],
    // async, so that errors reject
    // deno-lint-ignore require-await
    async open(device) {
      const { inputs, weight, run } = scope(() => keep(prepare(device)));
      return {
        cases: [{ group, name, batch: 1, ...description, run: () => scope(run) }],
        weightBytes: weight?.bytes ?? 0,
        close: () => [...inputs, weight].forEach((tensor) => tensor?.dispose()),
      };
    },
  };
}

const random = (device: Device, shape: number[], stream: number) => randomUniform(device, shape, 1, stream);

/**
 * `linear` is x w^T with a weight packed at load, as the networks use it; `matmul` is the product of two activations.
 */
function matmulWorkloads([m, n, k]: readonly [number, number, number]): Workload[] {
  const description = { flops: matmulFlops(m, n, k), job: { kind: "matmul", m, n, k } as const };
  return [
    single("matmul", `linear ${m}x${n}x${k}`, description, (device) => {
      const x = random(device, [m, k], 0);
      const weight = packWeight(random(device, [n, k], 1), "linear");
      return { inputs: [x], weight, run: () => void linear(x, weight) };
    }),
    single("matmul", `matmul ${m}x${n}x${k}`, description, (device) => {
      const a = random(device, [m, k], 0), b = random(device, [k, n], 1);
      return { inputs: [a, b], run: () => void matmul(a, b) };
    }),
  ];
}

/** A 3x3 convolution of a square image, padded to keep its size. */
function convWorkload([cIn, cOut, side]: readonly [number, number, number]): Workload {
  const description = {
    flops: convFlops(side, side, cIn, cOut, 3),
    job: { kind: "conv", sizes: [1, side, side, cIn, cOut, 3] } as const,
  };
  return single("conv", `conv 3x3 ${cIn}->${cOut} at ${side}^2`, description, (device) => {
    const x = random(device, [1, side, side, cIn], 0);
    const weight = packWeight(random(device, [cOut, cIn, 3, 3], 1), "conv");
    return { inputs: [x], weight, run: () => void conv2d(x, weight, undefined, { padding: 1 }) };
  });
}

interface AttentionShape {
  readonly title: string;
  readonly heads: number;
  readonly headDim: number;
  /** Sizes of the blocks of rows that see each other and everything before. */
  readonly blocks: readonly number[];
}

function attentionWorkload({ title, heads, headDim, blocks }: AttentionShape): Workload {
  const visible = blockVisible(blocks);
  const rows = visible.length;
  const description = {
    flops: attentionFlops(heads, headDim, visible),
    job: { kind: "attention", sizes: [1, heads, headDim, rows], blocks } as const,
  };
  return single("attention", `${title} ${heads}x${headDim}, ${rows} rows`, description, (device) => {
    const [q, k, v] = [0, 1, 2].map((stream) => random(device, [1, rows, heads, headDim], stream));
    const mask = blocks.length > 1 ? blockCausalVisible(device, blocks) : undefined;
    const inputs = mask ? [q, k, v, mask] : [q, k, v];
    return { inputs, run: () => void attention(q, k, v, { visible: mask }) };
  });
}

/** Side lengths of VAR's scales, squared. */
const varBlocks = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16].map((pn) => pn * pn);

const matmulShapes: readonly (readonly [number, number, number])[] = [
  [1024, 1024, 1024],
  [257, 3072, 768],
  [257, 768, 3072],
  [680, 4096, 1024],
  [680, 1024, 4096],
  [256, 1024, 256],
  [256, 256, 1024],
];

const convShapes: readonly (readonly [number, number, number])[] = [
  [128, 128, 256],
  [256, 256, 64],
  [512, 512, 16],
  [160, 160, 256],
  [3, 128, 256],
  [128, 3, 256],
];

const attentionShapes: readonly AttentionShape[] = [
  { title: "RAR-B causal", heads: 16, headDim: 48, blocks: new Array<number>(258).fill(1) },
  { title: "VAR-d16 block-causal", heads: 16, headDim: 64, blocks: varBlocks },
  { title: "VQVAE full", heads: 1, headDim: 640, blocks: [256] },
];

/** All kernel workloads; `quick` ones are small enough for a test. */
export function kernelWorkloads(quick: boolean): Workload[] {
  const attentions = quick
    ? [
      { title: "causal", heads: 2, headDim: 16, blocks: new Array<number>(20).fill(1) },
      { title: "full", heads: 1, headDim: 32, blocks: [16] },
    ]
    : attentionShapes;
  const products: typeof matmulShapes = quick ? [[64, 48, 32], [33, 17, 40]] : matmulShapes;
  const convolutions: typeof convShapes = quick ? [[16, 16, 16], [3, 8, 16]] : convShapes;
  return [
    ...products.flatMap(matmulWorkloads),
    ...convolutions.map(convWorkload),
    ...attentions.map(attentionWorkload),
  ];
}
