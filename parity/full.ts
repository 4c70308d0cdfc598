/**
 * What the full-size cases share: official configurations with synthetic weights; large results are cut or summarised.
 */
import {
  affine,
  argmax,
  type Device,
  exp,
  logSoftmax,
  logSoftmaxGather,
  mul,
  scope,
  slice,
  sum,
  type Tensor,
} from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import { blockMeans, cropByMeaning, fromNchw, scalePixels, take, testImage, toNchw } from "./layout.ts";

/** The case's image, as the family wants it: [1, size, size, 3]. */
export function caseImage(parityCase: ParityCase, device: Device, range: readonly [number, number]): Tensor {
  const { image_index: k, size } = parityCase.manifest.config;
  return fromNchw(device, scalePixels(testImage(k, size, size), range), [1, 3, size, size]);
}

/** `<name>_crop` and `<name>_pool8` of an unclamped image. */
export async function* summaries(parityCase: ParityCase, name: string, image: Tensor): AsyncGenerator<Result> {
  const values = await toNchw(image);
  const [, h, w, c] = image.shape;
  image.dispose();
  const crop = `${name}_crop`, pool = `${name}_pool8`;
  if (parityCase.has(crop)) yield { tensor: crop, values: cropByMeaning(values, [c, h, w], parityCase.info(crop)) };
  if (parityCase.has(pool)) yield { tensor: pool, values: blockMeans(values, [c, h, w], 8) };
}

/** Per-token summaries of logits[1, rows, codes] for the given tokens[1, rows]. */
export async function* logitSummaries(
  parityCase: ParityCase,
  name: "cond" | "uncond",
  logits: Tensor,
  tokens: Tensor,
): AsyncGenerator<Result> {
  yield { tensor: `logprob_${name}`, values: await take(logSoftmaxGather(logits, tokens)) };
  yield { tensor: `argmax_${name}`, values: await take(argmax(logits)) };
  const entropy = scope(() => {
    const logP = logSoftmax(logits);
    return affine(sum(mul(exp(logP), logP), 2), -1);
  });
  yield { tensor: `entropy_${name}`, values: await take(entropy) };
  const slices = `logits_slice_${name}`;
  if (!parityCase.has(slices)) return;
  const rows = (parityCase.info(slices).meaning.match(/rows ([\d,]+)/)?.[1] ?? "").split(",").map(Number);
  const values: number[] = [];
  for (const row of rows) values.push(...await take(slice(logits, 1, row, row + 1)));
  yield { tensor: slices, values };
}
