/**
 * One step of generation at full size with synthetic weights: the rows of a token through RAR-B with keys and values of the
 * tokens before it, guidance, and the draw.
 */
import { concat, fromArray, keep, scope, slice, zeros } from "../core/tensor/mod.ts";
import { rarVariants } from "../models/rar/config.ts";
import { loadRarVariant } from "../models/rar/family.ts";
import { guideByFactor as guide } from "../models/guidance.ts";
import { transformerSpecs } from "../models/rar/transformer.ts";
import { TokenDraw, TokenNoise } from "../models/sampling.ts";
import type { BenchCase, Workload } from "./case.ts";
import { attentionFlops, matmulFlops } from "./flops.ts";
import { fullSizes, type PassSizes, syntheticWeights, type WeightSource } from "./passes.ts";

/** RAR-B, 8 images of one class with guidance, in the middle of the image. */
export function generationWorkloads(
  sizes: PassSizes = fullSizes,
  images = 8,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  const name = `rarb step, ${images} images with guidance`;
  const config = sizes.rar;
  return [{
    group: "generation",
    names: [name],
    async open(device) {
      const variant = await loadRarVariant(device, weights(transformerSpecs(config)), config, "rarb");
      const { hiddenSize: d, heads, layers, intermediateSize, tokenCount, codes } = config;
      const labels = Array.from({ length: images }, () => 7);
      const condition = keep(variant.condition([...labels, ...labels.map(() => null)]));
      const state = keep(variant.transformer.start(2 * images));
      const seen = tokenCount >> 1;
      scope(() => {
        const rows = zeros(device, [2 * images, seen, heads, d / heads]);
        for (const cache of state.caches) cache.append(rows, rows);
      });
      const noise = new TokenNoise(device, 1, labels.map((_, i) => i), tokenCount);
      const draw = new TokenDraw(device, codes);
      const factor = variant.drawRule(rarVariants[0].sampler).mixing[seen].factor;
      const before = keep(fromArray(device, new Int32Array(images), [images]));
      const step: BenchCase = {
        group: "generation",
        name,
        batch: images,
        // PyTorch computes the modulation of every step, as the official code does; here the condition has it for all.
        job: { kind: "pass", network: "rarb-step" },
        flops: 2 * images * (layers * (matmulFlops(1, 4 * d + 2 * intermediateSize, d) +
              attentionFlops(heads, d / heads, [seen + 1])) + matmulFlops(1, codes, d)),
        run: () =>
          scope(() => {
            const rows = variant.transformer.step(state, concat([before, before], 0), condition);
            const logits = guide(slice(rows, 0, 0, images), slice(rows, 0, images), factor);
            draw.draw(logits, ...noise.at(seen, seen + 1));
            for (const cache of state.caches) cache.reset(seen);
          }),
      };
      const close = () => [noise, draw, before, condition, state, variant].forEach((item) => item.dispose());
      return { cases: [step], weightBytes: variant.weightBytes, close };
    },
  }];
}
