/**
 * Sampling from a VAR transformer: scale by scale, all tokens of a scale at once, with classifier-free guidance that
 * grows from scale to scale. It returns tokens and fHat; the tokenizer decodes fHat.
 * Source: FoundationVision/VAR, models/var.py, `autoregressive_infer_cfg`.
 */
import { argmax, concat, type Device, keep, scope, slice, type Tensor } from "../../core/tensor/mod.ts";
import { checkOptions, type GenerateOptions, Pace, TokenDraw, TokenNoise } from "../sampling.ts";
import { scaleStarts } from "../family.ts";
import { type VarSampler } from "./config.ts";
import type { MultiScaleQuantizer } from "./quantizer.ts";
import { guidanceStrengths, guide } from "./sampler.ts";
import { SmoothDraw } from "./smooth.ts";
import type { VarTransformer } from "./transformer.ts";

/**
 * tokens[batch, tokenCount] (i32, scales one after the other) and fHat[batch, side, side, c]; dispose them when done.
 * Conditional and unconditional rows go through the network as one batch. Images without a class, and a guidance of 0,
 * need no unconditional ones.
 */
export async function generateVar(
  transformer: VarTransformer,
  quantizer: MultiScaleQuantizer,
  sampler: VarSampler,
  options: GenerateOptions,
): Promise<{ tokens: Tensor; fHat: Tensor }> {
  checkOptions("generateVar", options);
  const { labels, onStep, onProgress } = options;
  const { patchNums, codes } = transformer.config;
  const starts = scaleStarts(patchNums);
  const tokenCount = starts[patchNums.length];
  const batch = labels.length;
  const strengths = guidanceStrengths(sampler.guidance, patchNums.length);
  const isGuided = labels.some((label) => label !== null) && sampler.guidance !== 0;

  using cleanup = new DisposableStack();
  const condition = transformer.condition(isGuided ? [...labels, ...labels.map(() => null)] : labels);
  cleanup.defer(() => condition.dispose());
  const state = transformer.start(condition.batch);
  cleanup.defer(() => state.dispose());
  const choose = chooser(condition.embedded.device, quantizer, sampler, options);
  cleanup.defer(() => choose.dispose());
  const tokens: Tensor[] = [];
  cleanup.defer(() => tokens.forEach(dispose));
  let fHat = keep(quantizer.start(batch));
  cleanup.defer(() => fHat.dispose());

  const pace = new Pace(options.signal);
  for (let scale = 0; scale < patchNums.length; scale++) {
    const size = patchNums[scale] ** 2;
    const next = scope(() => {
      const input = scale === 0 ? null : quantizer.nextInput(fHat, scale);
      const rows = transformer.step(state, isGuided && input ? concat([input, input], 0) : input, condition);
      const t = strengths[scale];
      let logits = isGuided ? slice(rows, 0, 0, batch) : rows;
      if (isGuided && t !== 0) logits = guide(logits, slice(rows, 0, batch), t);
      onStep?.(logits);
      const { codes: chosen, mixed } = choose.codes(logits.reshape(batch * size, codes), scale);
      const scaleTokens = chosen.reshape(batch, size);
      return keep({
        scaleTokens,
        fHat: mixed ? quantizer.advanceMixed(fHat, mixed, scale) : quantizer.advance(fHat, scaleTokens, scale),
      });
    });
    fHat.dispose();
    fHat = next.fHat;
    tokens.push(next.scaleTokens);
    onProgress?.(starts[scale + 1] / tokenCount);
    await pace.step();
  }
  return keep({ tokens: scope(() => concat(tokens, 1)), fHat: fHat.alias() });
}

/** How the codes of a scale are chosen. */
interface Chooser {
  /** Guided logits[batch * pn^2, codes] -> codes[rows] (i32), and mixed codes[rows, c] if these are decoded instead. */
  codes(logits: Tensor, scale: number): { readonly codes: Tensor; readonly mixed?: Tensor };
  dispose(): void;
}

function chooser(
  device: Device,
  quantizer: MultiScaleQuantizer,
  sampler: VarSampler,
  { argmax: isArgmax, moreSmooth, seed, images }: GenerateOptions,
): Chooser {
  const { patchNums, codes } = quantizer;
  const starts = scaleStarts(patchNums);
  const range = (scale: number): [number, number] => [starts[scale], starts[scale + 1]];
  if (isArgmax) {
    if (moreSmooth) throw new Error("generateVar: more_smooth draws mixtures of codes; expected it without argmax");
    return { codes: (logits) => ({ codes: argmax(logits) }), dispose() {} };
  }
  if (moreSmooth) {
    const draw = new SmoothDraw(device, { seed, images, codes, sampler, mix: (shares) => quantizer.mix(shares) });
    const last = Math.max(patchNums.length - 1, 1);
    return { codes: (logits, scale) => draw.draw(logits, range(scale), scale / last), dispose: () => draw.dispose() };
  }
  const noise = new TokenNoise(device, seed, images, starts[patchNums.length]);
  const draw = new TokenDraw(device, codes, sampler);
  return {
    codes: (logits, scale) => ({ codes: draw.draw(logits, ...noise.at(...range(scale))) }),
    dispose: () => [noise, draw].forEach(dispose),
  };
}

function dispose(item: { dispose(): void }): void {
  item.dispose();
}
