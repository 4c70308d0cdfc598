/**
 * A transformer with dense weights that are trained in place: its parameters, its loss, its file.
 * Data, schedules and the loop are in transformers.ts.
 */
import type { Device, Tensor } from "../core/tensor/mod.ts";
import { f32ToF16, type SafetensorsEntry, type TensorSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import { familyNamed } from "../models/registry.ts";
import { joinParts, loadWeights, partNames, type Weights, type WeightSpec } from "../models/weights.ts";
import { zooFamily } from "./families.ts";
import type { LearnerBatch, TransformerInput, TransformerRecipe } from "./family.ts";
import { initialSource } from "./init.ts";

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
    const specs = familyNamed(network.kind).variantSpecs(network.config);
    const { depth, width } = zooFamily(network.kind).size(network.config);
    const values = source ?? initialSource(specs, { seed, depth, width });
    const weights = await loadWeights(device, values, specs, { what: name, dense: () => true });
    return new Learner(device, recipe, specs, weights, input);
  }

  /** Mean cross-entropy per token in nats. */
  loss(batch: LearnerBatch): Tensor {
    const { kind, config } = this.recipe.network;
    return zooFamily(kind).transformerLoss(this.device, this.#weights, config, batch, this.#input);
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
