/** Case 05, signals: every family on a few images, under each of its ways of quantising, and LatentTracer. */
import { latentTracer, type LatentTracerOptions, tracedWeights } from "../attribution/signals/latent_tracer.ts";
import { familySignals, reconstruct, requantizedSignals } from "../attribution/signals/reconstruction.ts";
import { type Device, scope, slice } from "../core/tensor/mod.ts";
import { syntheticSource } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import { familyParts } from "./families.ts";
import type { NamedQuantiser } from "./family.ts";
import { fromNchw, scalePixels, take, takeNchw, testImage } from "./layout.ts";

/** Signals of every family whose tokenizer the case states. */
export async function* signals(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { manifest, salt } = parityCase;
  for (const { family, tokenizerConfig, quantisers } of familyParts) {
    const config = tokenizerConfig(manifest);
    if (config === null) continue;
    const source = syntheticSource(salt, family.tokenizerSpecs(config));
    const tokenizer = await family.loadTokenizer(device, source, config, tracedWeights);
    for (const quantiser of quantisers(tokenizer, manifest)) {
      yield* tokenizerSignals(parityCase, device, tokenizer, quantiser);
      quantiser.dispose?.();
    }
    tokenizer.dispose();
  }
}

/** How long LatentTracer ran, as the tensor's meaning says: `after 20 iterations (lr 1e-2, halved every 8 its)`. */
function tracerOptions(parityCase: ParityCase, tensor: string): LatentTracerOptions {
  const { meaning } = parityCase.info(tensor);
  const stated = meaning.match(/after (\d+) iterations \(lr ([\d.e-]+), halved every (\d+)/);
  const [iterations, lr, decayEvery] = stated?.slice(1) ?? ["20", "1e-2", "8"];
  return {
    iterations: Number(iterations),
    lr: Number(lr),
    decayEvery: Number(decayEvery),
    decay: 0.5,
    lossOver: "batch",
  };
}

/** The signals of a tokenizer on the case's images under one way of quantising. */
async function* tokenizerSignals(
  parityCase: ParityCase,
  device: Device,
  tokenizer: ImageTokenizer,
  { prefix, quantize }: NamedQuantiser,
): AsyncGenerator<Result> {
  const indices: readonly number[] = parityCase.manifest.config.image_indices;
  const size = tokenizer.imageSize;
  const bytes = indices.flatMap((k) => Array.from(testImage(k, size, size)));
  const pixels = scalePixels(bytes, tokenizer.valueRange);
  const images = fromNchw(device, pixels, [indices.length, 3, size, size]);
  const { f, tokens, fHat, signals } = scope(() => familySignals(tokenizer, images, quantize));
  yield { tensor: "image_u8", values: bytes };
  yield { tensor: `${prefix}tokens`, values: await tokens.ints() };
  yield { tensor: `${prefix}rec_quant`, values: await takeNchw(reconstruct(tokenizer, fHat)) };
  yield { tensor: `${prefix}quant_loss`, values: await take(signals.quantLoss) };
  yield { tensor: `${prefix}enc_loss`, values: await take(signals.encLoss) };
  yield { tensor: `${prefix}enc_loss_uncalibrated`, values: await take(signals.encLossUncalibrated) };
  yield { tensor: `${prefix}combined`, values: await take(signals.combined) };
  signals.quantErrorTail.dispose();

  // Requantising greedily: only the first reconstruction is compared.
  const requantized = scope(() => requantizedSignals(tokenizer, images, { tokens, fHat }).reconstruction);
  yield { tensor: `${prefix}reconstruction`, values: await take(requantized) };
  const first = reconstruct(tokenizer, f);
  yield {
    tensor: `${prefix}rec2`,
    values: await takeNchw(scope(() => reconstruct(tokenizer, tokenizer.encode(first)))),
  };
  yield { tensor: `${prefix}rec1`, values: await takeNchw(first) };
  if (parityCase.has(`${prefix}latent_tracer`)) {
    const tensor = `${prefix}latent_tracer`;
    const [count] = parityCase.info(tensor).shape;
    const options = tracerOptions(parityCase, tensor);
    const traced = scope(() => latentTracer(tokenizer, slice(images, 0, 0, count), slice(fHat, 0, 0, count), options));
    yield { tensor, values: await take(traced) };
  }
  yield { tensor: `${prefix}f`, values: await takeNchw(f) };
  yield { tensor: `${prefix}fhat`, values: await takeNchw(fHat) };
  tokens.dispose();
  images.dispose();
}
