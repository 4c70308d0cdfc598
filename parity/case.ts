/**
 * A parity case: a manifest, the reference tensors beside it, and the rule by which results are compared.
 * What is computed for each kind of case is in the other files of this folder.
 */
import { openCheckpoint, type TensorSource } from "../models/checkpoint/mod.ts";

/** A reference tensor as the manifest describes it. */
export interface CaseTensor {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly meaning: string;
}

/** `<name>.json`: what was computed, with which configuration and which synthetic weights. */
export interface CaseManifest {
  readonly case: string;
  readonly salt: string;
  // deno-lint-ignore no-explicit-any -- every kind of case has its own configuration
  readonly config?: any;
  readonly tensors?: Readonly<Record<string, CaseTensor>>;
  readonly float32_vs_float64?: {
    readonly per_tensor: Readonly<Record<string, { max_abs?: number; mismatches?: number }>>;
  };
  // deno-lint-ignore no-explicit-any -- further fields differ by kind
  readonly [field: string]: any;
}

/** A manifest and the tensors beside it. */
export class ParityCase {
  readonly name: string;
  readonly folder: string;
  readonly manifest: CaseManifest;
  readonly #source: TensorSource | null;

  private constructor(name: string, folder: string, manifest: CaseManifest, source: TensorSource | null) {
    this.name = name;
    this.folder = folder;
    this.manifest = manifest;
    this.#source = source;
  }

  /**
   * Opens `<name>.json` and `<name>.safetensors`. Null when the JSON is no case: no `case`, or neither `salt` nor
   * `sets`.
   */
  static async open(path: string): Promise<ParityCase | null> {
    const manifest = JSON.parse(await Deno.readTextFile(path));
    if (typeof manifest?.case !== "string") return null;
    if (typeof manifest.salt !== "string" && !Array.isArray(manifest.sets)) return null;
    const slash = path.lastIndexOf("/");
    const folder = slash < 0 ? "." : path.slice(0, slash);
    const source = manifest.tensors ? await openCheckpoint(path.replace(/\.json$/, ".safetensors")) : null;
    return new ParityCase(path.slice(slash + 1).replace(/\.json$/, ""), folder, manifest, source);
  }

  get salt(): string {
    return this.manifest.salt;
  }

  has(name: string): boolean {
    return this.manifest.tensors?.[name] !== undefined;
  }

  info(name: string): CaseTensor {
    const info = this.manifest.tensors?.[name];
    if (!info) throw new Error(`${this.name}: has no tensor ${name}`);
    return info;
  }

  /** Reference values as stored; integers and bytes come as Int32Array. */
  async values(name: string): Promise<Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>> {
    if (!this.#source) throw new Error(`${this.name}: has no tensors`);
    return this.info(name).dtype === "float32" ? await this.#source.readF32(name) : await this.#source.readI32(name);
  }

  async ints(name: string): Promise<Int32Array<ArrayBuffer>> {
    return await this.#source!.readI32(name);
  }

  async floats(name: string): Promise<Float32Array<ArrayBuffer>> {
    return await this.#source!.readF32(name);
  }

  close(): void {
    this.#source?.close();
  }
}

/** How a tensor compares; `MISSING` where nothing computes it. */
export type Verdict = "ok" | "FAIL" | "MISSING";

/** The outcome of comparing one tensor. */
export interface Comparison {
  readonly tensor: string;
  readonly maxAbs: number;
  /** maxAbs divided by the largest magnitude of the reference. */
  readonly relative: number;
  readonly tolerance: number;
  readonly verdict: Verdict;
  readonly note?: string;
}

/**
 * Compares one tensor. Integers must agree exactly. Floats must agree within ten times the reference's own
 * float32-against- float64 error, but not less than 2e-5 (cpu) or 1e-4 (webgpu) of the tensor's largest magnitude.
 */
export function compare(
  parityCase: ParityCase,
  tensor: string,
  reference: Float32Array | Int32Array,
  result: ArrayLike<number>,
  device: "cpu" | "webgpu",
): Comparison {
  const exact = reference instanceof Int32Array;
  let maxAbs = 0, magnitude = 0;
  for (let i = 0; i < reference.length; i++) {
    const expected = reference[i], got = result[i];
    if (Number.isFinite(expected)) magnitude = Math.max(magnitude, Math.abs(expected));
    if (Object.is(expected, got) || expected === got) continue;
    const difference = Math.abs(expected - got);
    maxAbs = Number.isNaN(difference) ? Infinity : Math.max(maxAbs, difference);
  }
  const error = parityCase.manifest.float32_vs_float64?.per_tensor[tensor]?.max_abs ?? 0;
  const tolerance = exact ? 0 : Math.max(10 * error, (device === "cpu" ? 2e-5 : 1e-4) * magnitude);
  const sameLength = reference.length === result.length;
  return {
    tensor,
    maxAbs: sameLength ? maxAbs : Infinity,
    relative: magnitude > 0 ? maxAbs / magnitude : maxAbs,
    tolerance,
    verdict: sameLength && maxAbs <= tolerance ? "ok" : "FAIL",
    note: sameLength ? undefined : `expected ${reference.length} elements, got ${result.length}`,
  };
}

/**
 * The case in the same folder and with the same salt whose configuration has `key`, for cases that build on another.
 */
export async function siblingCase(parityCase: ParityCase, key: string): Promise<ParityCase | null> {
  for await (const entry of Deno.readDir(parityCase.folder)) {
    if (!/^case01.*\.json$/.test(entry.name)) continue;
    const sibling = await ParityCase.open(`${parityCase.folder}/${entry.name}`);
    if (sibling && sibling.salt === parityCase.salt && sibling.manifest.config?.[key]) return sibling;
    sibling?.close();
  }
  return null;
}
