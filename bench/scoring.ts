/**
 * Scoring of images under a class and without one, at full size with synthetic weights: everything from tokens to
 * columns of numbers, preparing both conditions included. Summaries, which are made on the host, are not part of it.
 */
import { TokenScorer } from "../attribution/likelihood/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { rarVariants } from "../models/rar/config.ts";
import { loadRarVariant } from "../models/rar/family.ts";
import { transformerSpecs } from "../models/rar/transformer.ts";
import type { BenchCase, Workload } from "./case.ts";
import { rarFlops } from "./flops.ts";
import { fullSizes, type PassSizes, syntheticWeights, type WeightSource } from "./passes.ts";

/** RAR's tokenizer has no part in scoring: its tokens are the transformer's input. */
const family = { transformerInput: (tokens) => tokens.reshape(...tokens.shape) } as ImageTokenizer;

/** RAR-B, 8 images of one class. PyTorch makes plain passes for as many images and conditions. */
export function scoringWorkloads(
  sizes: PassSizes = fullSizes,
  images = 8,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  const name = `rarb scoring, ${images} images, two conditions`;
  const config = sizes.rar;
  return [{
    group: "scoring",
    names: [name],
    async open(device) {
      const specs = transformerSpecs(config);
      const source = weights(specs);
      const variant = await loadRarVariant(device, source, config, "rarb");
      const n = config.tokenCount;
      const tokens = Int32Array.from({ length: images * n }, (_, i) => (i * 40503) % config.codes);
      const classes = Array.from({ length: images }, () => [7]);
      const { sampler } = rarVariants[0];
      // The last token is predicted but not looked at: a row less than whole passes have.
      const { image } = rarFlops({ ...config, tokenCount: n - 1 });
      const scoring: BenchCase = {
        group: "scoring",
        name,
        batch: images,
        flops: 2 * rarFlops(config).condition + 2 * images * image,
        job: { kind: "pass", network: "rarb", batch: 2 * images },
        run() {
          const scorer = new TokenScorer(device, family, variant, sampler, { batch: images });
          scorer.record(tokens, classes).packed.dispose();
          scorer.dispose();
        },
      };
      return { cases: [scoring], weightBytes: variant.weightBytes, close: () => variant.dispose() };
    },
  }];
}
