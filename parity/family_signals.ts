/** Case 05, signals: what is computed for each family alike. */
import type { Quantize } from "../attribution/quantisation/quantize.ts";
import { latentTracer, type LatentTracerOptions } from "../attribution/signals/latent_tracer.ts";
import { familySignals, reconstruct, requantizedSignals } from "../attribution/signals/reconstruction.ts";
import { type Device, scope, slice } from "../core/tensor/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import { fromNchw, scalePixels, take, takeNchw, testImage } from "./layout.ts";

/** How long LatentTracer ran, as the tensor's meaning says: `after 20 iterations (lr 1e-2, halved every 8 its)`. */
function tracerOptions(parityCase: ParityCase, tensor: string): LatentTracerOptions {
  const { meaning } = parityCase.info(tensor);
  const found = meaning.match(/after (\d+) iterations \(lr ([\d.e-]+), halved every (\d+)/);
  const [iterations, lr, decayEvery] = found?.slice(1) ?? ["20", "1e-2", "8"];
  return {
    iterations: Number(iterations),
    lr: Number(lr),
    decayEvery: Number(decayEvery),
    decay: 0.5,
    lossOver: "batch",
  };
}

/** The signals of one family on the case's images, tensors named with a prefix. */
export async function* familyResults(
  parityCase: ParityCase,
  device: Device,
  family: ImageTokenizer,
  prefix: string,
  quantize: Quantize,
): AsyncGenerator<Result> {
  const indices: readonly number[] = parityCase.manifest.config.image_indices;
  const size = family.imageSize;
  const bytes = indices.flatMap((k) => Array.from(testImage(k, size, size)));
  const pixels = scalePixels(bytes, family.valueRange[0] === 0 ? "[0,1]" : "[-1,1]");
  const images = fromNchw(device, pixels, [indices.length, 3, size, size]);
  const { f, tokens, fHat, signals } = scope(() => familySignals(family, images, quantize));
  yield { tensor: `${prefix}quant_loss`, values: await take(signals.quantLoss) };
  yield { tensor: `${prefix}enc_loss`, values: await take(signals.encLoss) };
  yield { tensor: `${prefix}enc_loss_uncalibrated`, values: await take(signals.encLossUncalibrated) };
  yield { tensor: `${prefix}combined`, values: await take(signals.combined) };
  signals.quantErrorTail.dispose();

  // Requantising greedily: only the first reconstruction is compared.
  const requantized = scope(() => requantizedSignals(family, images, { tokens, fHat }).reconstruction);
  yield { tensor: `${prefix}reconstruction`, values: await take(requantized) };
  const first = reconstruct(family, f);
  yield { tensor: `${prefix}rec2`, values: await takeNchw(scope(() => reconstruct(family, family.encode(first)))) };
  yield { tensor: `${prefix}rec1`, values: await takeNchw(first) };
  if (parityCase.has(`${prefix}latent_tracer`)) {
    const tensor = `${prefix}latent_tracer`;
    const [count] = parityCase.info(tensor).shape;
    const options = tracerOptions(parityCase, tensor);
    const traced = scope(() => latentTracer(family, slice(images, 0, 0, count), slice(fHat, 0, 0, count), options));
    yield { tensor, values: await take(traced) };
  }
  yield { tensor: `${prefix}f`, values: await takeNchw(f) };
  yield { tensor: `${prefix}fhat`, values: await takeNchw(fHat) };
  tokens.dispose();
  images.dispose();
}
