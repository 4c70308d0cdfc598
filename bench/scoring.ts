/**
 * Scoring of images under a class and without one, at full size with synthetic weights: everything from tokens to
 * columns of numbers, preparing both conditions included. Summaries, which are made on the host, are not part of it.
 */
import { TokenScorer } from "../attribution/likelihood/mod.ts";
import { type Device, randomUniform } from "../core/tensor/mod.ts";
import type { Sampler } from "../models/draw_rule.ts";
import type { Condition, ImageTokenizer, Variant } from "../models/family.ts";
import { rarVariants } from "../models/rar/config.ts";
import { loadRarVariant } from "../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import { varVariants } from "../models/var/config.ts";
import { loadVarVariant } from "../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import type { BenchCase, Workload } from "./case.ts";
import { rarFlops, varFlops } from "./flops.ts";
import { fullSizes, type PassSizes, syntheticWeights, type WeightSource } from "./passes.ts";

/** What is scored, and by which numbers of operations; PyTorch's plain passes are called `network`. */
interface Scoring {
  readonly network: string;
  readonly images: number;
  readonly sampler: Sampler;
  readonly codes: number;
  readonly flops: number;
  /** Stands in for the tokenizer: the transformer's input of tokens. */
  readonly family: (device: Device) => Pick<ImageTokenizer, "transformerInput">;
  readonly load: (device: Device) => Promise<Variant<Condition>>;
}

/** Scores images of one class. PyTorch makes plain passes for as many images and conditions. */
function scoringWorkload({ network, images, sampler, codes, flops, family, load }: Scoring): Workload {
  const name = `${network} scoring, ${images} images, two conditions`;
  return {
    group: "scoring",
    names: [name],
    async open(device) {
      const variant = await load(device);
      const tokenizer = family(device) as ImageTokenizer;
      const tokens = Int32Array.from({ length: images * variant.tokenCount }, (_, i) => (i * 40503) % codes);
      const classes = Array.from({ length: images }, () => [7]);
      const scoring: BenchCase = {
        ...{ group: "scoring", name, batch: images, flops },
        job: { kind: "pass", network, batch: 2 * images },
        run() {
          const scorer = new TokenScorer(device, tokenizer, variant, [sampler], { batch: images });
          scorer.record(tokens, classes).packed.dispose();
          scorer.dispose();
        },
      };
      return { cases: [scoring], weightBytes: variant.weightBytes, close: () => variant.dispose() };
    },
  };
}

/** RAR-B, 8 images. */
export function scoringWorkloads(
  sizes: PassSizes = fullSizes,
  images = 8,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  const config = sizes.rar;
  // The last token is predicted but not looked at: a row less than whole passes have.
  const { image } = rarFlops({ ...config, tokenCount: config.tokenCount - 1 });
  return [scoringWorkload({
    ...{ network: "rarb", images, sampler: rarVariants[0].sampler, codes: config.codes },
    flops: 2 * rarFlops(config).condition + 2 * images * image,
    // RAR's tokenizer has no part in scoring: its tokens are the transformer's input.
    family: () => ({ transformerInput: (tokens) => tokens.reshape(...tokens.shape) }),
    load: (device) => loadRarVariant(device, weights(rarSpecs(config)), config, "rarb") as Promise<Variant<Condition>>,
  })];
}

/** VAR-d16. Code vectors of the tokens, which the quantiser would look up, are random. */
export function varScoringWorkloads(
  sizes: PassSizes = fullSizes,
  images = 16,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  const config = sizes.var;
  const { condition, image } = varFlops(config);
  return [scoringWorkload({
    ...{ network: "var16", images, codes: config.codes },
    sampler: { ...varVariants[0].sampler, topK: Math.min(900, config.codes) },
    flops: 2 * images * (condition + image),
    family: (device) => ({
      transformerInput: (tokens) => {
        const [batch, n] = tokens.shape;
        return randomUniform(device, [batch, n - config.patchNums[0] ** 2, config.codeChannels], 1);
      },
    }),
    load: (device) => loadVarVariant(device, weights(varSpecs(config)), config, "var16") as Promise<Variant<Condition>>,
  })];
}
