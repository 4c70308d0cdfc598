/** Case 05: the reference's optimised quantisation (soft codes, temperature annealing), call by call. */
import { concat, type Device, keep, mean, scope, square, sub, type Tensor } from "../../core/tensor/mod.ts";
import { meanSquaredError } from "../../attribution/signals/reconstruction.ts";
import { ScaleMaps } from "../../attribution/quantisation/scale_maps.ts";
import {
  gradientQuantize,
  refineSoftAssign,
  type SoftAssignCall,
  type SoftAssignOptions,
} from "../../attribution/quantisation/soft_assign.ts";
import type { ParityCase } from "../case.ts";
import { syntheticVarTokenizer, vqvaeConfig } from "./configs.ts";
import type { Result } from "../compute.ts";
import { fromNchw, scalePixels, take, toNchw } from "../layout.ts";

/** The reference's loss of a whole batch per iteration, from losses[iterations, batch] per image. */
function batchLoss(losses: Tensor): Tensor {
  return scope(() => mean(losses, 1));
}

/** Mean squared error over a batch, [1]. */
function batchError(fHat: Tensor, f: Tensor): Tensor {
  return scope(() => mean(square(sub(fHat, f))).reshape(1));
}

/** From the greedy tokens, from none, and the whole schedule. */
export async function* optimisedQuantisation(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { vae, optimized_quant: given } = parityCase.manifest.config;
  const config = vqvaeConfig(vae);
  const options: SoftAssignOptions = {
    iterations: given.iters,
    lr: given.lr,
    tauStart: given.tau_start,
    tauEnd: given.tau_end,
    lossOver: "batch",
  };
  const tokenizer = await syntheticVarTokenizer(device, parityCase.salt, config);
  const maps = new ScaleMaps(tokenizer);
  const pixels = await parityCase.ints("image_u8");
  yield { tensor: "image_u8", values: pixels };
  const shape = parityCase.info("image_u8").shape;
  const f = scope(() => tokenizer.encode(fromNchw(device, scalePixels(pixels, tokenizer.valueRange), shape)));
  yield { tensor: "f", values: await toNchw(f) };
  const greedy = tokenizer.quantize(f);
  yield { tensor: "tokens_greedy", values: await greedy.tokens.ints() };

  const scales = config.patchNums.length;
  const single = refineSoftAssign(maps, f, greedy.tokens, scales, options);
  yield { tensor: "single_loss", values: await take(batchLoss(single.losses)) };
  yield { tensor: "single_tokens", values: await single.tokens.ints() };
  yield { tensor: "single_fhat", values: await toNchw(single.fHat) };
  yield { tensor: "single_mse", values: await take(batchError(single.fHat, f)) };

  const fresh = { ...options, iterations: 10, tauEnd: 0.1 };
  const without = refineSoftAssign(maps, f, null, scales - 1, fresh);
  yield { tensor: "noinit_loss", values: await take(batchLoss(without.losses)) };
  yield { tensor: "noinit_tokens", values: await without.tokens.ints() };
  yield { tensor: "noinit_mse", values: await take(batchError(without.fHat, f)) };

  const calls: SoftAssignCall[] = [];
  const final = gradientQuantize(maps, f, greedy.tokens, { ...options, stop: given.stop }, (call) => {
    calls.push(keep({ ...call, tokens: call.tokens.alias(), fHat: call.fHat.alias(), losses: call.losses.alias() }));
  });
  const perCall = scope(() => ({
    losses: concat(calls.map(({ losses }) => batchLoss(losses)), 0),
    errors: concat(calls.map(({ fHat }) => batchError(fHat, f)), 0),
    perImage: concat([meanSquaredError(f, greedy.fHat), meanSquaredError(f, final.fHat)], 0),
  }));
  yield { tensor: "schedule_loss", values: await take(perCall.losses) };
  yield { tensor: "schedule_mse", values: await take(perCall.errors) };
  yield { tensor: "tokens", values: await final.tokens.ints() };
  yield { tensor: "fhat", values: await toNchw(final.fHat) };
  yield { tensor: "mse_per_image", values: await take(perCall.perImage) };
  const made = [single, without, ...calls].flatMap(({ tokens, fHat, losses }) => [tokens, fHat, losses]);
  for (const item of [...made, final.tokens, final.fHat, greedy.tokens, greedy.fHat, f, maps, tokenizer]) {
    item.dispose();
  }
}

/** The call with all scales free that the full-size case records, from the greedy tokens. */
export async function* firstCall(
  maps: ScaleMaps,
  f: Tensor,
  greedy: Tensor,
  iterations: number,
): AsyncGenerator<Result> {
  const options: SoftAssignOptions = { iterations, lr: 0.1, tauStart: 2, tauEnd: 0.5, lossOver: "batch" };
  const call = refineSoftAssign(maps, f, greedy, maps.patchNums.length, options);
  yield { tensor: `optquant${iterations}_loss`, values: await take(batchLoss(call.losses)) };
  yield { tensor: `optquant${iterations}_tokens`, values: await call.tokens.ints() };
  yield { tensor: `optquant${iterations}_mse`, values: await take(batchError(call.fHat, f)) };
  for (const item of [call.tokens, call.fHat, call.losses]) item.dispose();
}
