/**
 * A tokenizer whose encoder is trained: its parameters on the device, the loss and its gradients. Decoder and codebook
 * are frozen. train.ts updates the parameters.
 */
import {
  add,
  affine,
  type Device,
  differentiate,
  fromArray,
  mean,
  scope,
  square,
  sub,
  type Tensor,
} from "../core/tensor/mod.ts";
import { checkNames, type TensorSource } from "../models/checkpoint/mod.ts";
import { withEncoder } from "../models/overlay.ts";
import type { FamilyName, ImageTokenizer } from "../models/family.ts";
import { latentNames } from "../models/latent_statistics.ts";
import type { ModelSet } from "../models/model_set.ts";
import { familyNamed } from "../models/registry.ts";
import { joinParts, partNames, type WeightSpec } from "../models/weights.ts";

/** A family, and the configuration of its tokenizer. */
export interface TokenizerConfig {
  readonly family: FamilyName;
  readonly config: unknown;
}

/** Options of a trainee. */
export interface TraineeOptions {
  /** Weight of the image loss; above 0, gradients flow through the decoder. Default 0. */
  readonly imageLoss?: number;
  /** Recompute the activations of every block in the backward pass. Default false. */
  readonly checkpointing?: boolean;
  /** The encoder to start from, which is closed. Default: that of the set. */
  readonly init?: TensorSource;
}

/** Loss and gradients of one batch. */
export interface StepGradients {
  /** One element. */
  readonly loss: Tensor;
  /** Gradients by part; null where a parameter has none. */
  readonly gradients: Map<string, Tensor | null>;
}

/** A tokenizer with a trainable encoder. */
/** A tokenizer with a trainable encoder. */
export class Trainee {
  readonly device: Device;
  readonly tokenizer: ImageTokenizer;
  /** The trained parameters of the checkpoint. */
  readonly specs: readonly WeightSpec[];
  /** Their parts on the device, in plain layout (not packed). */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly #imageLoss: number;
  readonly #recompute: boolean;

  private constructor(
    device: Device,
    tokenizer: ImageTokenizer,
    specs: readonly WeightSpec[],
    { imageLoss = 0, checkpointing = false }: TraineeOptions,
  ) {
    this.device = device;
    this.tokenizer = tokenizer;
    this.specs = specs;
    this.parameters = new Map(specs.flatMap(partNames).map((part) => [part, tokenizer.weights.get(part)]));
    this.#imageLoss = imageLoss;
    this.#recompute = checkpointing;
  }

  /** Loads the tokenizer of a family. Throws, naming tensors, when `init` is not an encoder of this tokenizer. */
  static async open(device: Device, set: ModelSet, name: FamilyName, options: TraineeOptions = {}): Promise<Trainee> {
    const { config } = set.manifest.families[name].tokenizer;
    const source = await set.openNetwork({ family: name });
    try {
      return await Trainee.load(device, source, { family: name, config }, options, set.dir);
    } finally {
      source.close();
    }
  }

  /** Loads a tokenizer from its weights; `where` names them in messages. Throws as `open`. */
  static async load(
    device: Device,
    weightSource: TensorSource,
    { family: name, config }: TokenizerConfig,
    options: TraineeOptions = {},
    where = weightSource.label,
  ): Promise<Trainee> {
    const { imageLoss = 0, init } = options;
    const family = familyNamed(name);
    const isTrained = (parameter: string) => family.encoderModules.some((module) => parameter.startsWith(module));
    const isPassed = (parameter: string) =>
      family.passedModules?.some((module) => parameter.startsWith(module)) ?? false;
    const trained = family.tokenizerSpecs(config).filter((spec) => isTrained(spec.name));
    try {
      if (init !== undefined) {
        checkNames(init, trained, { what: `the ${name} encoder of ${where}`, ignored: [latentNames] });
      }
      const source = init === undefined ? weightSource : withEncoder(weightSource, init);
      const throughDecoder = (spec: string) => spec.startsWith("decoder.") || spec.startsWith("post_quant_conv.");
      const tokenizer = await family.loadTokenizer(device, source, config, {
        dense: (spec) => isTrained(spec) || isPassed(spec) || (imageLoss > 0 && throughDecoder(spec)),
      });
      return new Trainee(device, tokenizer, trained, options);
    } finally {
      init?.close();
    }
  }

  /** pixels of [size, size, 3] in [0, 1] -> images[batch, size, size, 3] in the family's value range. */
  images(pixels: readonly Float32Array[]): Tensor {
    const { imageSize, valueRange: [low, high] } = this.tokenizer;
    const length = imageSize * imageSize * 3;
    const values = new Float32Array(pixels.length * length);
    pixels.forEach((image, b) => {
      for (let i = 0; i < length; i++) values[b * length + i] = image[i] * (high - low) + low;
    });
    return fromArray(this.device, values, [pixels.length, imageSize, imageSize, 3]);
  }

  /** f_Z [batch, h, w, channels] of tokens, each [tokenCount]. */
  targets(tokens: readonly Int32Array[]): Tensor {
    const { tokenCount } = this.tokenizer;
    const values = new Int32Array(tokens.length * tokenCount);
    tokens.forEach((ids, b) => values.set(ids, b * tokenCount));
    return scope(() => this.tokenizer.dequantize(fromArray(this.device, values, [tokens.length, tokenCount])));
  }

  /**
   * Loss and gradients of a batch: mean (D^-1(x) - f_Z)^2 + imageLoss * mean (D(D^-1(x)) - image)^2, in the family's
   * value range. `x` may be `image` after augmentation. Dispose the result.
   */
  differentiate(x: Tensor, target: Tensor, image: Tensor): StepGradients {
    const names = [...this.parameters.keys()];
    const { result, gradients } = differentiate([...this.parameters.values()], () => {
      const f = this.tokenizer.encode(x, { recompute: this.#recompute });
      const latent = mean(square(sub(f, target)));
      if (this.#imageLoss === 0) return { loss: latent };
      const decoded = mean(square(sub(this.tokenizer.decode(f), image)));
      return { loss: add(latent, affine(decoded, this.#imageLoss)) };
    });
    return { loss: result.loss, gradients: new Map(names.map((name, i) => [name, gradients[i]])) };
  }

  /** The values of all parts. */
  async values(): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const values = new Map<string, Float32Array<ArrayBuffer>>();
    for (const [name, tensor] of this.parameters) values.set(name, await tensor.data());
    return values;
  }

  /** The values of one parameter of the checkpoint. */
  async parameter(spec: WeightSpec): Promise<Float32Array<ArrayBuffer>> {
    const parts = new Map<string, Float32Array>();
    for (const name of partNames(spec)) parts.set(name, await this.parameters.get(name)!.data());
    return joinParts(spec, (name) => parts.get(name)!);
  }

  /** Overwrites the values of one part. */
  restore(name: string, values: Float32Array<ArrayBuffer>): void {
    this.device.write(this.parameters.get(name)!.storage, values);
  }

  /** Frees the tokenizer. */
  /** Frees the tokenizer. */
  dispose(): void {
    this.tokenizer.dispose();
  }
}
