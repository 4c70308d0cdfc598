/** Case 05, signals: both families on four images, VAR with greedy and with optimised quantisation, and LatentTracer. */
import { ScaleMaps } from "../attribution/quantisation/scale_maps.ts";
import { gradientQuantize } from "../attribution/quantisation/soft_assign.ts";
import type { Quantize } from "../attribution/quantisation/quantize.ts";
import { latentTracer, type LatentTracerOptions, tracedWeights } from "../attribution/signals/latent_tracer.ts";
import { familySignals, reconstruct, requantizedSignals } from "../attribution/signals/reconstruction.ts";
import { add, type Device, scope, slice, sub } from "../core/tensor/mod.ts";
import { syntheticSource } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { loadRarTokenizer } from "../models/rar/family.ts";
import { tokenizerSpecs } from "../models/rar/tokenizer.ts";
import { loadVarTokenizer } from "../models/var/family.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import type { WeightSpec } from "../models/weights.ts";
import type { ParityCase } from "./case.ts";
import { tokenizerConfig, vqvaeConfig } from "./configs.ts";
import type { Result } from "./compute.ts";
import { fromNchw, scalePixels, testImage } from "./layout.ts";
import { take, takeNchw } from "./rar.ts";

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

export async function* signals(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { rar_tokenizer: tokenizer, vae, optimized_quant: given } = parityCase.manifest.config;
  const source = (specs: readonly WeightSpec[]) => syntheticSource(parityCase.salt, specs);
  if (tokenizer) {
    const config = tokenizerConfig(tokenizer);
    const family = await loadRarTokenizer(device, source(tokenizerSpecs(config)), config, tracedWeights);
    yield* familyResults(parityCase, device, family, "rar_", (f) => {
      // The reference hands on f + (fHat - f), which differs from fHat by rounding.
      const { tokens, fHat } = family.quantize(f);
      return { tokens, fHat: add(f, sub(fHat, f)) };
    });
    family.dispose();
  }
  if (vae) {
    const config = vqvaeConfig(vae);
    const family = await loadVarTokenizer(device, source(vqvaeSpecs(config)), config, tracedWeights);
    yield* familyResults(parityCase, device, family, "var_greedy_", (f) => family.quantize(f));
    const maps = new ScaleMaps(family);
    yield* familyResults(
      parityCase,
      device,
      family,
      "var_opt_",
      (f) =>
        gradientQuantize(maps, f, family.quantize(f).tokens, {
          iterations: given.iters,
          lr: given.lr,
          tauStart: given.tau_start,
          tauEnd: given.tau_end,
          stop: given.stop,
          lossOver: "batch",
        }),
    );
    maps.dispose();
    family.dispose();
  }
}

async function* familyResults(
  parityCase: ParityCase,
  device: Device,
  family: ImageTokenizer,
  prefix: string,
  quantize: Quantize,
): AsyncGenerator<Result> {
  const indices: readonly number[] = parityCase.manifest.config.image_indices;
  const size = family.imageSize;
  const bytes = indices.flatMap((k) => Array.from(testImage(k, size, size)));
  const pixels = scalePixels(bytes, family.family === "rar" ? "[0,1]" : "[-1,1]");
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
