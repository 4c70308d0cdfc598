/**
 * A transformer with dense weights that are trained in place: its parameters, its loss, its file.
 * Data, schedules and the loop are in transformers.ts.
 */
import type { Device, Tensor } from "../core/tensor/mod.ts";
import { type TensorSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { TokenBatch, TransformerInTraining } from "../models/family_training.ts";
import { loadWeights, type WeightSpec } from "../models/weights.ts";
import { initialSource } from "./init.ts";
import { halfEntries, parametersOf } from "./parameters.ts";
import { trainableFamily, type TransformerRecipe } from "./recipe.ts";

/** tokens[batch, tokenCount] -> a transformer's input; `ImageTokenizer.transformerInput`. */
export type TransformerInput = TransformerInTraining["transformerInput"];

/** A transformer of any family in training. */
export class Learner {
  readonly recipe: TransformerRecipe;
  readonly specs: readonly WeightSpec[];
  /** Every part of every parameter. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly #transformer: TransformerInTraining;

  private constructor(
    recipe: TransformerRecipe,
    specs: readonly WeightSpec[],
    transformer: TransformerInTraining,
  ) {
    this.recipe = recipe;
    this.specs = specs;
    this.#transformer = transformer;
    this.parameters = parametersOf(specs, transformer.weights);
  }

  /** With initial values, or those of `source`. */
  static async open(
    device: Device,
    recipe: TransformerRecipe,
    transformerInput: TransformerInput,
    source?: TensorSource,
  ): Promise<Learner> {
    const { network, seed, name } = recipe;
    const { family, training } = trainableFamily(network);
    const { config } = network;
    const specs = family.variantSpecs(config);
    const initial = initialSource(specs, ({ name, shape }) => training.initRule(name, shape, config), seed);
    const weights = await loadWeights(device, source ?? initial, specs, { what: name, dense: () => true });
    return new Learner(recipe, specs, { device, weights, config, transformerInput });
  }

  /** Mean cross-entropy per token in nats. */
  loss(batch: TokenBatch): Tensor {
    return trainableFamily(this.recipe.network).training.transformerLoss(this.#transformer, batch);
  }

  /** Writes whole parameters under the checkpoint's names, f16, with `metadata` in the header. */
  async save(path: string, metadata: Readonly<Record<string, string>>): Promise<void> {
    await writeSafetensors(path, halfEntries(this.specs, this.parameters), metadata);
  }

  /** Frees the weights. */
  dispose(): void {
    this.#transformer.weights.dispose();
  }
}
