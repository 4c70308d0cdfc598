/**
 * Named weights on a device, and their strict loading: a network's `WeightSpec`s from any `TensorSource`.
 * Names in code are names in the checkpoint, relative to a prefix.
 */
import { type Device, fromArray, keep, packWeight, scope, sizeOf, type Tensor } from "../core/tensor/mod.ts";
import { checkNames, type ParamSpec, type Stranger } from "./checkpoint/load.ts";
import { readAhead } from "./checkpoint/read_ahead.ts";
import type { TensorSource } from "./checkpoint/source.ts";

/** A parameter of a network as in the checkpoint, and how it is stored on the device. */
export interface WeightSpec extends ParamSpec {
  /** Splits the first axis into this many equal tensors named `<name>.0`, `<name>.1`, ... */
  readonly split?: number;
  /** Changes the values (row-major float32) once, at load. */
  readonly transform?: (values: Float32Array<ArrayBuffer>) => Float32Array<ArrayBuffer>;
  /** Undoes `transform`, for writing trained weights as a checkpoint has them. */
  readonly inverse?: (values: Float32Array<ArrayBuffer>) => Float32Array<ArrayBuffer>;
}

/**
 * Type in which matrices, convolution kernels and embeddings are kept on a device. `stored` keeps those in half precision
 * that their file has so and nothing changes, and all others in single precision: no value is rounded.
 */
export type WeightType = "f32" | "f16" | "stored";

/** Whether a parameter is kept in half precision. `isHalf` says whether its file has it so. */
export function isKeptHalf(
  { role, transform }: Pick<WeightSpec, "role" | "transform">,
  weightType: WeightType,
  isHalf: boolean,
): boolean {
  if (role === "vector" || role === "tensor") return false;
  return weightType === "f16" || (weightType === "stored" && isHalf && transform === undefined);
}

/** The weights of a network below a prefix. */
export class Weights {
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #prefix: string;

  /** Tensors by full name. */
  constructor(tensors: ReadonlyMap<string, Tensor>, prefix = "") {
    this.#tensors = tensors;
    this.#prefix = prefix;
  }

  /** The weights below `prefix`: `w.at("blocks.0").get("norm1.weight")`. */
  at(prefix: string): Weights {
    return new Weights(this.#tensors, `${this.#prefix}${prefix}.`);
  }

  /** A parameter. Throws, naming it, when the network does not have it. */
  get(name: string): Tensor {
    const tensor = this.#tensors.get(this.#prefix + name);
    if (tensor === undefined) throw new Error(`weights: no parameter ${this.#prefix}${name}`);
    return tensor;
  }

  /** The parameter, or undefined where the network does not have it. */
  find(name: string): Tensor | undefined {
    return this.#tensors.get(this.#prefix + name);
  }

  /** Bytes of all weights, also those outside of the prefix. */
  get bytes(): number {
    let bytes = 0;
    for (const tensor of this.#tensors.values()) bytes += tensor.bytes;
    return bytes;
  }

  /** Frees all weights, also those outside of the prefix. */
  dispose(): void {
    for (const tensor of this.#tensors.values()) tensor.dispose();
  }
}

/** Options of loading a network that users choose. */
export interface LoadNetworkOptions {
  /**
   * Storage of matrices, convolution kernels and embeddings; vectors stay f32. Default `stored` for networks of a set, f32
   * for others.
   */
  readonly weightType?: WeightType;
  /**
   * Which parameters stay dense f32 tensors and are not packed: needed for training, and for gradients through their
   * layers. None when not given.
   */
  readonly dense?: (name: string) => boolean;
  /** Called after each tensor, with bytes in float32. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** Options of `loadWeights`. */
export interface LoadWeightsOptions extends LoadNetworkOptions {
  /** Name of the network, for messages: `RAR-B`. */
  readonly what: string;
  /** Buffers that checkpoints may carry and the network does not use. */
  readonly ignored?: readonly (string | RegExp)[];
  /** Parameters of sibling networks by name, so that a mismatch can say which one the file fits. */
  readonly alternatives?: ReadonlyMap<string, readonly ParamSpec[]>;
  /** Files that are known and not read. */
  readonly strangers?: readonly Stranger[];
}

/**
 * Loads exactly the parameters of `specs`, one tensor at a time. Rejects with one error that names missing, unused and
 * mis-shaped tensors; nothing stays allocated then. Dispose the weights when done.
 */
export async function loadWeights(
  device: Device,
  source: TensorSource,
  specs: readonly WeightSpec[],
  options: LoadWeightsOptions,
): Promise<Weights> {
  checkNames(source, specs, options);
  const tensors = new Map<string, Tensor>();
  const total = specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0) * 4;
  let done = 0;
  const isDense = ({ name }: WeightSpec) => options.dense?.(name) ?? false;
  const isHalf = (spec: WeightSpec) =>
    !isDense(spec) &&
    isKeptHalf(spec, options.weightType ?? "f32", source.tensors.get(spec.name)?.dtype === "f16");
  const readsHalf = (spec: WeightSpec) => isHalf(spec) && !spec.transform;
  const ahead = readAhead(source, specs.map((spec) => ({ name: spec.name, as: readsHalf(spec) ? "f16" : "f32" })));
  try {
    for (const spec of specs) {
      const dense = isDense(spec);
      const values = readsHalf(spec) ? await ahead.readF16(spec.name) : await ahead.readF32(spec.name);
      const changed = spec.transform && values instanceof Float32Array ? spec.transform(values) : values;
      upload(device, spec, changed, dense ? null : isHalf(spec) ? "f16" : "f32", tensors);
      done += sizeOf(spec.shape) * 4;
      options.onProgress?.(done, total);
    }
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
  return new Weights(tensors);
}

/**
 * Puts one parameter on the device, split into its parts, and packed with the given type where its role has a packing.
 */
function upload(
  device: Device,
  spec: WeightSpec,
  values: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>,
  packing: "f32" | "f16" | null,
  into: Map<string, Tensor>,
): void {
  const parts = spec.split ?? 1;
  const size = values.length / parts;
  const rows = spec.shape[0] / parts;
  // A 1x1 convolution may be loaded as the linear map of channels that it is.
  const shape = spec.role === "linear" ? [rows, size / rows] : [rows, ...spec.shape.slice(1)];
  for (let i = 0; i < parts; i++) {
    const part = parts === 1 ? values : values.subarray(i * size, (i + 1) * size);
    const tensor = scope(() => {
      const dense = fromArray(device, part, shape);
      const packs = packing !== null && (spec.role === "linear" || spec.role === "conv");
      return keep(packs ? packWeight(dense, spec.role, packing) : dense);
    });
    into.set(partNames(spec)[i], tensor);
  }
}

/** Names of the parts of a parameter: its name if there is one part, else one name per part. */
export function partNames(spec: WeightSpec): string[] {
  const parts = spec.split ?? 1;
  return parts === 1 ? [spec.name] : Array.from({ length: parts }, (_, i) => `${spec.name}.${i}`);
}

/** The values of a whole parameter, row-major as in a checkpoint; `part` returns those of a part by name. */
export function joinParts(spec: WeightSpec, part: (name: string) => Float32Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(spec.shape));
  let at = 0;
  for (const name of partNames(spec)) {
    const partValues = part(name);
    values.set(partValues, at);
    at += partValues.length;
  }
  return values;
}
