/** The passes that `bench --count` counts: every configuration, at the number of images that it is meant to run with. */
import { fromArray } from "../../core/tensor/mod.ts";
import { llamagen, llamagen384 } from "../../models/llamagen/family.ts";
import { rarVariants } from "../../models/rar/config.ts";
import { varVariants } from "../../models/var/config.ts";
import type { Workload } from "../case.ts";
import { llamagenFlops, llamagenTokenizerFlops } from "../flops.ts";
import { generationWorkloads } from "../generation.ts";
import { fullSizes, type PassSizes, passWorkloads, tokenizerWorkload, transformerWorkload } from "../passes.ts";
import { scoringWorkloads, varScoringWorkloads } from "../scoring.ts";
import { zeroSource } from "../stub/weights.ts";
import { trainingWorkloads } from "../training.ts";

/** Images per pass, as the notes on cards count them. */
const images = { tokenizers: 8, rar: 8, var: 4, varLarge: 16, scoring: 16, llamagen: 8, training: 8 };

function passes(batch: number, sizes: PassSizes, ...networks: readonly string[]): Workload[] {
  return passWorkloads([batch], sizes, zeroSource).filter(({ names }) =>
    networks.some((network) => names[0].startsWith(network))
  );
}

/** LlamaGen's tokenizer and transformers for 256 and 384 pixels. PyTorch's side of `bench` has VQ-16 and GPT-B. */
export function llamagenWorkloads(): Workload[] {
  return [llamagen, llamagen384].flatMap((family) => {
    const { officialTokenizer: config, name } = family;
    const tokenizer = tokenizerWorkload(
      `${name} vq-16`,
      [images.tokenizers],
      llamagenTokenizerFlops(config),
      (device) => family.loadTokenizer(device, zeroSource(family.tokenizerSpecs(config)), config),
    );
    const transformers = family.officialVariants.map(({ label, config }) =>
      transformerWorkload(
        label,
        [images.llamagen],
        llamagenFlops(config),
        (device) => family.loadVariant(device, zeroSource(family.variantSpecs(config)), config, label),
        (device, { tokenCount }, batch) => fromArray(device, new Int32Array(batch * tokenCount), [batch, tokenCount]),
      )
    );
    return [tokenizer, ...transformers];
  });
}

/** Workloads that are opened one after the other. `sizes` other than the official ones leave only its own transformers. */
export function countWorkloads(sizes: PassSizes = fullSizes): Workload[] {
  const isFull = sizes === fullSizes;
  const rar = isFull ? rarVariants : [{ label: "rarb", config: sizes.rar }];
  const varRows = isFull ? varVariants : [{ label: "var16", config: sizes.var }];
  return [
    ...passes(images.tokenizers, sizes, "maskgit-vq", "vqvae"),
    ...rar.flatMap(({ label, config }) =>
      passes(images.rar, { ...sizes, rar: config, names: { rar: label, var: "-" } }, label)
    ),
    ...varRows.flatMap(({ label, config }) =>
      passes(images.var, { ...sizes, var: config, names: { rar: "-", var: label } }, label)
    ),
    ...passes(images.varLarge, sizes, "var16"),
    ...isFull ? llamagenWorkloads() : [],
    ...generationWorkloads(sizes, images.rar, zeroSource),
    ...scoringWorkloads(sizes, images.rar, zeroSource),
    ...varScoringWorkloads(sizes, images.scoring, zeroSource),
    ...trainingWorkloads([images.training], sizes, zeroSource),
  ];
}

/** A condition alone is a small part of the first pass under it, and the same for every number of images. */
export function isCounted(name: string): boolean {
  return !name.endsWith(" condition");
}
