/**
 * A transformer of either family with dense weights that are trained in place: its parameters, its loss, its file.
 * Data, schedules and the loop are in transformers.ts.
 */
import { type Device, scope, type Tensor } from "../core/tensor/mod.ts";
import { f32ToF16, type SafetensorsEntry, type TensorSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import { rarLoss } from "../models/rar/training.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import { varLoss } from "../models/var/training.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import { joinParts, loadWeights, partNames, type Weights, type WeightSpec } from "../models/weights.ts";
import { fromArray } from "../core/tensor/mod.ts";
import { initialSource } from "./init.ts";
import type { TransformerRecipe } from "./recipe.ts";

/** One batch of any family. `orders` are RAR's. */
export interface LearnerBatch {
  /** [batch * tokenCount], one image after the other. */
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly labels: readonly (number | null)[];
  readonly orders?: readonly Int32Array[];
}

/** tokens[batch, tokenCount] -> a VAR transformer's input; `ImageTokenizer.transformerInput`. */
export type TransformerInput = (tokens: Tensor) => Tensor;

export class Learner {
  readonly device: Device;
  readonly recipe: TransformerRecipe;
  readonly specs: readonly WeightSpec[];
  /** Every part of every parameter. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly #weights: Weights;
  readonly #input: TransformerInput;

  private constructor(
    device: Device,
    recipe: TransformerRecipe,
    specs: readonly WeightSpec[],
    weights: Weights,
    input: TransformerInput,
  ) {
    this.device = device;
    this.recipe = recipe;
    this.specs = specs;
    this.#weights = weights;
    this.#input = input;
    this.parameters = new Map(specs.flatMap(partNames).map((part) => [part, weights.get(part)]));
  }

  /** With initial values, or those of `source`. */
  static async open(
    device: Device,
    recipe: TransformerRecipe,
    input: TransformerInput,
    source?: TensorSource,
  ): Promise<Learner> {
    const { network, seed, name } = recipe;
    const [specs, depth, width] = network.kind === "rar"
      ? [rarSpecs(network.config), network.config.layers, network.config.hiddenSize]
      : [varSpecs(network.config), network.config.depth, network.config.embedDim];
    const values = source ?? initialSource(specs, { seed, depth, width });
    const weights = await loadWeights(device, values, specs, { what: name, dense: () => true });
    return new Learner(device, recipe, specs, weights, input);
  }

  /** Mean cross-entropy per token in nats. */
  loss({ tokens, labels, orders }: LearnerBatch): Tensor {
    const { network } = this.recipe;
    if (network.kind === "rar") return rarLoss(this.device, this.#weights, network.config, { tokens, labels, orders });
    return scope(() => {
      const input = this.#input(fromArray(this.device, tokens, [labels.length, tokens.length / labels.length]));
      return varLoss(this.device, this.#weights, network.config, { tokens, labels, input });
    });
  }

  /** Writes whole parameters under the checkpoint's names, f16, with `metadata` in the header. */
  async save(path: string, metadata: Readonly<Record<string, string>>): Promise<void> {
    const entries: SafetensorsEntry[] = this.specs.map((spec) => ({
      name: spec.name,
      shape: spec.shape,
      dtype: "f16",
      data: async () => f32ToF16(await this.#parameter(spec)),
    }));
    await writeSafetensors(path, entries, metadata);
  }

  async #parameter(spec: WeightSpec): Promise<Float32Array<ArrayBuffer>> {
    const parts = new Map<string, Float32Array>();
    for (const name of partNames(spec)) parts.set(name, await this.parameters.get(name)!.data());
    const values = joinParts(spec, (name) => parts.get(name)!);
    return spec.inverse ? spec.inverse(values) : values;
  }

  dispose(): void {
    this.#weights.dispose();
  }
}
