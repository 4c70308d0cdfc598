/**
 * How fast a device computes what networks mostly consist of: a product and a convolution of their sizes, for a moment.
 */
import {
  conv2d,
  type Device,
  disposeAll,
  linear,
  packWeight,
  randomUniform,
  scope,
  type Tensor,
} from "../../core/tensor/mod.ts";
import { convFlops, matmulFlops } from "../../models/flops.ts";
import type { ModelSet } from "../../models/model_set.ts";
import type { Rates } from "./work_meter.ts";

/** Milliseconds for which each is repeated, after a first time that does not count. */
const spanMs = 100;

/** Measures the rates of a device, in operations per second, with sizes of the largest networks of a set. */
export async function measureRates(
  device: Device,
  set: Pick<ModelSet, "families" | "variants" | "tokenizerFacts" | "variantFacts">,
): Promise<Rates> {
  const tokenizers = set.families.map((family) => set.tokenizerFacts(family));
  const variants = set.families.flatMap((family) => set.variants(family)).map((name) => set.variantFacts(name));
  const { imageSize, width: channels } = tokenizers.reduce((a, b) => b.flops.encode > a.flops.encode ? b : a);
  const side = imageSize / 2;
  const tokenizer = await rateOf(device, {
    flops: convFlops(side, side, channels, channels, 3),
    prepare: () => [uniform(device, [1, side, side, channels]), uniform(device, [channels, channels, 3, 3])],
    pack: "conv",
    run: (x, weight) => conv2d(x, weight, undefined, { padding: 1 }),
  });
  if (variants.length === 0) return { tokenizer, transformer: tokenizer };
  const { tokenCount, width } = variants.reduce((a, b) => b.width > a.width ? b : a);
  const transformer = await rateOf(device, {
    flops: matmulFlops(tokenCount, 4 * width, width),
    prepare: () => [uniform(device, [tokenCount, width]), uniform(device, [4 * width, width])],
    pack: "linear",
    run: (x, weight) => linear(x, weight),
  });
  return { tokenizer, transformer };
}

/** A computation to time. */
interface Timed {
  readonly flops: number;
  /** Makes an operand and a weight, not packed. */
  readonly prepare: () => [Tensor, Tensor];
  readonly pack: "conv" | "linear";
  readonly run: (x: Tensor, weight: Tensor) => Tensor;
}

async function rateOf(device: Device, { flops, prepare, pack, run }: Timed): Promise<number> {
  const [x, weight] = scope(() => {
    const [x, plain] = prepare();
    return [x, packWeight(plain, pack)];
  });
  try {
    const repeat = async (times: number) => {
      const start = performance.now();
      for (let i = 0; i < times; i++) run(x, weight).dispose();
      await device.sync();
      return performance.now() - start;
    };
    await repeat(1); // builds kernels and starts workers
    let times = 1, took = await repeat(times);
    while (took < spanMs / 2) took = await repeat(times *= Math.min(8, Math.ceil(spanMs / Math.max(1, took))));
    return flops * times / (took / 1000);
  } finally {
    disposeAll([x, weight]);
  }
}

function uniform(device: Device, shape: number[]): Tensor {
  return randomUniform(device, shape, 1, 0);
}
