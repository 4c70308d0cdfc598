/**
 * One step of fine-tuning at full size with synthetic weights: forward, backward and Adam over the whole encoder.
 * Reading images, evaluation and the norm of the gradients, which a run looks at as well, are not part of it.
 */
import { Trainee } from "../training/trainee.ts";
import { Adam, disposeAll, uniforms } from "../core/tensor/mod.ts";
import { tokenizerSpecs } from "../models/rar/tokenizer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import type { BenchCase, Workload } from "./case.ts";
import { rarTokenizerFlops, trainingFlops, vqvaeFlops } from "./flops.ts";
import { fullSizes, type PassSizes, syntheticWeights, type WeightSource } from "./passes.ts";

/** The learning rate of the official VAR recipe; what it is does not change the time. */
const learningRate = 5e-5;

/**
 * A step of either family's encoder for every batch size, keeping activations or recomputing them in the backward pass. Each
 * is a separate workload, because other open networks would count in the peak of memory.
 */
export function trainingWorkloads(
  batches: readonly number[],
  sizes: PassSizes = fullSizes,
  weights: WeightSource = syntheticWeights,
): Workload[] {
  return (["rar", "var"] as const).flatMap((family) =>
    batches.flatMap((batch) =>
      [false, true].map((recompute) => trainingWorkload(family, batch, recompute, { sizes, weights }))
    )
  );
}

function trainingWorkload(
  family: "rar" | "var",
  batch: number,
  checkpointing: boolean,
  { sizes, weights }: { readonly sizes: PassSizes; readonly weights: WeightSource },
): Workload {
  const network = family === "rar" ? "maskgit-vq" : "vqvae";
  const name = `${network} training step${checkpointing ? " recomputing" : ""}, batch ${batch}`;
  const flops = family === "rar"
    ? trainingFlops(
      rarTokenizerFlops(sizes.rarTokenizer).encode,
      sizes.rarTokenizer.resolution,
      sizes.rarTokenizer.hiddenChannels,
    )
    : trainingFlops(vqvaeFlops(sizes.vqvae).encode, sizes.vqvae.resolution, sizes.vqvae.ch);
  return {
    group: "training",
    names: [name],
    async open(device) {
      const specs = family === "rar" ? tokenizerSpecs(sizes.rarTokenizer) : vqvaeSpecs(sizes.vqvae);
      const source = weights(specs);
      const tokenizer = family === "rar" ? { family, config: sizes.rarTokenizer } : { family, config: sizes.vqvae };
      const trainee = await Trainee.load(device, source, tokenizer, { checkpointing });
      const adam = new Adam(trainee.parameters);
      const { imageSize, tokenCount, codes } = trainee.tokenizer;
      const random = (stream: number, n: number) => uniforms(0, stream, n);
      const numbers = Array.from({ length: batch }, (_, i) => i);
      const x = trainee.images(numbers.map((i) => random(2 * i, imageSize * imageSize * 3)));
      const token = (u: number) => Math.floor(u * codes);
      const target = trainee.targets(numbers.map((i) => Int32Array.from(random(2 * i + 1, tokenCount), token)));
      const step: BenchCase = {
        group: "training",
        name,
        batch,
        // What is computed twice counts once: it is the same step.
        flops: batch * flops,
        // PyTorch keeps activations; its time beside ours with recomputation would say nothing.
        job: checkpointing ? undefined : { kind: "pass", network: `${network}-training` },
        run() {
          const { loss, gradients } = trainee.differentiate(x, target, x);
          adam.update(gradients, learningRate);
          disposeAll([loss, gradients]);
        },
      };
      const parameters = [...trainee.parameters.values()];
      return {
        cases: [step],
        weightBytes: parameters.reduce((sum, { size }) => sum + 4 * size, 0),
        close: () => [x, target, adam, trainee].forEach((item) => item.dispose()),
      };
    },
  };
}
