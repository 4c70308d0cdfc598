/**
 * Whole passes of the networks at full size with synthetic weights.
 * Quantisation is not part of the tokenizer passes, nor is loading of any pass.
 */
import { type Device, fromArray, keep, randomUniform, scope, type Tensor } from "../core/tensor/mod.ts";
import { syntheticSource, type TensorSource } from "../models/checkpoint/mod.ts";
import type { Condition, ImageTokenizer, Variant } from "../models/family.ts";
import {
  type LlamagenConfig,
  llamagenTokenizer,
  type LlamagenTokenizerConfig,
  llamagenVariants,
} from "../models/llamagen/config.ts";
import { llamagen } from "../models/llamagen/family.ts";
import { type RarConfig, rarTokenizer, type RarTokenizerConfig, rarVariants } from "../models/rar/config.ts";
import { loadRarTokenizer, loadRarVariant } from "../models/rar/family.ts";
import { tokenizerSpecs } from "../models/rar/tokenizer.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import { type VarConfig, varTokenizer, varVariants, type VqvaeConfig } from "../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant } from "../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import type { WeightSpec } from "../models/weights.ts";
import type { BenchCase, Workload } from "./case.ts";
import { llamagenFlops, llamagenTokenizerFlops, rarFlops, rarTokenizerFlops, varFlops, vqvaeFlops } from "./flops.ts";

export interface PassSizes {
  readonly rarTokenizer: RarTokenizerConfig;
  readonly rar: RarConfig;
  readonly vqvae: VqvaeConfig;
  readonly var: VarConfig;
  readonly vq16: LlamagenTokenizerConfig;
  readonly llamagen: LlamagenConfig;
  /** What the transformers are called in names of cases. Default: rarb and var16. */
  readonly names?: { readonly rar: string; readonly var: string };
}

/** Where the weights of a network come from. */
export type WeightSource = (specs: readonly WeightSpec[]) => TensorSource;

/** The official sizes: the tokenizers, RAR-B, VAR-d16 and LlamaGen's GPT-B. */
export const fullSizes: PassSizes = {
  rarTokenizer,
  rar: rarVariants[0].config,
  vqvae: varTokenizer,
  var: varVariants[0].config,
  vq16: llamagenTokenizer(256),
  llamagen: llamagenVariants(256, "")[0].config,
};

/** The same structure, small enough for a test. */
export const quickSizes: PassSizes = {
  rarTokenizer: { ...rarTokenizer, hiddenChannels: 32, zChannels: 16, codes: 64, resolution: 32 },
  rar: { ...rarVariants[0].config, hiddenSize: 64, layers: 2, heads: 4, intermediateSize: 128, codes: 64, classes: 10 },
  vqvae: { ...varTokenizer, ch: 32, zChannels: 16, codes: 64, patchNums: [1, 2], resolution: 32 },
  var: {
    ...varVariants[0].config,
    depth: 2,
    embedDim: 64,
    heads: 2,
    patchNums: [1, 2],
    codeChannels: 16,
    codes: 64,
    classes: 10,
  },
  vq16: { ...llamagenTokenizer(32), ch: 32, zChannels: 16, codes: 64 },
  llamagen: { width: 64, layers: 2, heads: 4, mlp: 128, tokenCount: 16, codes: 64, classes: 10 },
};

/** Weights with values, computed anew for every tensor. */
export const syntheticWeights: WeightSource = (specs) => syntheticSource("bench", specs);

/** Case names carry the batch size; every workload has its cases for all batch sizes. */
function caseName(name: string, batch: number): string {
  return `${name}, batch ${batch}`;
}

/** Both passes of a tokenizer. `flops` of one image. */
export function tokenizerWorkload(
  name: string,
  batches: readonly number[],
  flops: { encode: number; decode: number },
  load: (device: Device) => Promise<ImageTokenizer>,
): Workload {
  return {
    group: "passes",
    names: batches.flatMap((batch) => [caseName(`${name} encoder`, batch), caseName(`${name} decoder`, batch)]),
    async open(device) {
      const family = await load(device);
      const owned: Tensor[] = [];
      const cases = batches.flatMap((batch): BenchCase[] => {
        const side = family.imageSize;
        const [images, latents] = scope(() => {
          const images = randomUniform(device, [batch, side, side, 3], 1, 0);
          const tokens = fromArray(device, tokenIds(family, batch), [batch, family.tokenCount]);
          return keep([images, family.dequantize(tokens)]);
        });
        owned.push(images, latents);
        const pass = (part: "encode" | "decode", input: Tensor): BenchCase => ({
          group: "passes",
          name: caseName(`${name} ${part}r`, batch),
          batch,
          flops: batch * flops[part],
          job: { kind: "pass", network: `${name}-${part}r` },
          run: () => scope(() => void family[part](input)),
        });
        return [pass("encode", images), pass("decode", latents)];
      });
      const close = () => [...owned, family].forEach((item) => item.dispose());
      return { cases, weightBytes: family.weightBytes, close };
    },
  };
}

/** Token ids that are all over the codebook. */
function tokenIds({ tokenCount, codes }: { tokenCount: number; codes: number }, batch: number) {
  return Int32Array.from({ length: batch * tokenCount }, (_, i) => (i * 40503) % codes);
}

/** Passes of a transformer with and without making its condition, and the condition alone. */
export function transformerWorkload<C extends Condition>(
  name: string,
  batches: readonly number[],
  flops: { condition: number; image: number },
  load: (device: Device) => Promise<Variant<C>>,
  input: (device: Device, variant: Variant<C>, batch: number) => Tensor,
): Workload {
  const condition = `${name} condition`;
  const whole = `${name} incl. condition`;
  const further = `${name} same condition`;
  return {
    group: "passes",
    names: [condition, ...batches.flatMap((batch) => [caseName(whole, batch), caseName(further, batch)])],
    async open(device) {
      const variant = await load(device);
      const prepared = keep(variant.condition([null]));
      const owned: { dispose(): void }[] = [prepared];
      const cases: BenchCase[] = [{
        group: "passes",
        name: condition,
        batch: 1,
        flops: flops.condition,
        run: () => variant.condition([null]).dispose(),
      }];
      for (const batch of batches) {
        const x = keep(scope(() => input(device, variant, batch)));
        owned.push(x);
        const job = { kind: "pass", network: name } as const;
        const common = { group: "passes", batch, job } as const;
        cases.push({
          ...common,
          name: caseName(whole, batch),
          flops: flops.condition + batch * flops.image,
          run: () =>
            scope(() => {
              const condition = variant.condition([null]);
              variant.logits(x, condition);
              condition.dispose();
            }),
        }, {
          ...common,
          name: caseName(further, batch),
          flops: batch * flops.image,
          run: () => scope(() => void variant.logits(x, prepared)),
        });
      }
      const close = () => [...owned, variant].forEach((item) => item.dispose());
      return { cases, weightBytes: variant.weightBytes, close };
    },
  };
}

/** All passes for the given batch sizes. A `condition` is prepared once and serves every image. */
export function passWorkloads(
  batches: readonly number[],
  sizes: PassSizes = fullSizes,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  const names = sizes.names ?? { rar: "rarb", var: "var16" };
  return [
    tokenizerWorkload(
      "maskgit-vq",
      batches,
      rarTokenizerFlops(sizes.rarTokenizer),
      (device) => loadRarTokenizer(device, weights(tokenizerSpecs(sizes.rarTokenizer)), sizes.rarTokenizer),
    ),
    tokenizerWorkload(
      "vqvae",
      batches,
      vqvaeFlops(sizes.vqvae),
      (device) => loadVarTokenizer(device, weights(vqvaeSpecs(sizes.vqvae)), sizes.vqvae),
    ),
    transformerWorkload(
      names.rar,
      batches,
      rarFlops(sizes.rar),
      (device) => loadRarVariant(device, weights(rarSpecs(sizes.rar)), sizes.rar, names.rar),
      (device, variant, batch) => fromArray(device, tokenIds(variant, batch), [batch, variant.tokenCount]),
    ),
    transformerWorkload(
      names.var,
      batches,
      varFlops(sizes.var),
      (device) => loadVarVariant(device, weights(varSpecs(sizes.var)), sizes.var, names.var),
      (device, { tokenCount }, batch) =>
        randomUniform(device, [batch, tokenCount - sizes.var.patchNums[0] ** 2, sizes.var.codeChannels], 1),
    ),
    tokenizerWorkload(
      "vq-16",
      batches,
      llamagenTokenizerFlops(sizes.vq16),
      (device) => llamagen.loadTokenizer(device, weights(llamagen.tokenizerSpecs(sizes.vq16)), sizes.vq16),
    ),
    transformerWorkload(
      "llamagenb",
      batches,
      llamagenFlops(sizes.llamagen),
      (device) =>
        llamagen.loadVariant(device, weights(llamagen.variantSpecs(sizes.llamagen)), sizes.llamagen, "llamagenb"),
      (device, variant, batch) => fromArray(device, tokenIds(variant, batch), [batch, variant.tokenCount]),
    ),
  ];
}
