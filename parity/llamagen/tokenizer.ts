/** Case 21: LlamaGen's tokenizer at small sizes, on square images and others. */
import { add, clamp, conv2d, type Device, l2Normalize, mean, scope, square, sub } from "../../core/tensor/mod.ts";
import { decode, encoderOutput, lookUp, project, quantize } from "../../models/llamagen/tokenizer.ts";
import type { LlamagenImageTokenizer } from "../../models/llamagen/family.ts";
import type { ParityCase } from "../case.ts";
import type { Result } from "../compute.ts";
import { fromNchw, margins, scalePixels, squaredDistances, take, takeNchw, testImage, toNchw } from "../layout.ts";
import { syntheticVq, vqConfig } from "./configs.ts";

/** Images of a case: which test images, and their size. */
interface Images {
  readonly image_indices: readonly number[];
  readonly height: number;
  readonly width: number;
}

/** The case's square images, then those of other sizes. */
export async function* vq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { vq: sizes, image_indices, other_sizes = {} } = parityCase.manifest.config;
  const config = vqConfig(sizes);
  const tokenizer = await syntheticVq(device, parityCase.salt, config);
  yield { tensor: "codebook", values: await tokenizer.codebook.data() };
  const square = { image_indices, height: config.resolution, width: config.resolution };
  yield* images(tokenizer, device, "", square);
  for (const [name, other] of Object.entries(other_sizes as Record<string, Images>)) {
    yield* images(tokenizer, device, `${name}_`, other);
  }
  tokenizer.dispose();
}

/** Everything that the case has of some images. */
async function* images(
  { weights, config, codebook, valueRange }: LlamagenImageTokenizer,
  device: Device,
  prefix: string,
  { image_indices: indices, height, width }: Images,
): AsyncGenerator<Result> {
  const name = (tensor: string) => prefix + tensor;
  const bytes = indices.flatMap((k) => Array.from(testImage(k, height, width)));
  yield { tensor: name("image_u8"), values: bytes };
  const pixels = scalePixels(bytes, valueRange);
  yield { tensor: name("image"), values: pixels };
  const z = scope(() => encoderOutput(fromNchw(device, pixels, [indices.length, 3, height, width]), weights, config));
  yield { tensor: name("z"), values: await toNchw(z) };
  const h = scope(() => project(z, weights)), f = scope(() => l2Normalize(h));
  yield { tensor: name("h"), values: await takeNchw(h) };
  yield { tensor: name("f"), values: await toNchw(f) };
  const tokens = quantize(f, weights), fHat = scope(() => lookUp(tokens, weights).reshape(...f.shape));
  yield { tensor: name("tokens"), values: await take(tokens) };
  const rows = f.reshape(-1, config.codeChannels);
  yield { tensor: name("distances"), values: await take(squaredDistances(rows, codebook)) };
  yield { tensor: name("margin"), values: await take(margins(rows, codebook)) };
  yield { tensor: name("quantized"), values: await toNchw(fHat) };
  yield { tensor: name("quantized_ste"), values: await takeNchw(scope(() => add(f, sub(fHat, f)))) };
  yield { tensor: name("quant_error"), values: await take(scope(() => mean(square(sub(fHat, f)), 3))) };
  const post = weights.at("post_quant_conv");
  yield {
    tensor: name("post_quant"),
    values: await takeNchw(scope(() => conv2d(fHat, post.get("weight"), post.get("bias"), {}))),
  };
  const decoded = decode(fHat, weights, config);
  yield { tensor: name("decoded_raw"), values: await toNchw(decoded) };
  yield { tensor: name("decoded"), values: await takeNchw(scope(() => clamp(decoded, -1, 1))) };
  const unquantised = scope(() => clamp(decode(f, weights, config), -1, 1));
  yield { tensor: name("decoded_noquant"), values: await takeNchw(unquantised) };
  for (const tensor of [z, f, fHat, rows, decoded]) tensor.dispose();
}
