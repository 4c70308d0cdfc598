/**
 * Checkpoints rewritten as safetensors for quick loading: matrices and embeddings in half precision, names unchanged, one
 * tensor in memory at a time. It deliberately changes no layout (devices pack weights as they like) and rounds nothing that
 * loading would not round: what a network reads as float32 stays float32.
 */
import { checkNames, type CheckOptions, type ParamSpec } from "./load.ts";
import { autoUnwrap, subSource } from "./prefix.ts";
import { type SafetensorsEntry, writeSafetensors } from "./safetensors.ts";
import { readAhead } from "./read_ahead.ts";
import type { TensorInfo, TensorSource } from "./source.ts";
import { DTYPE_BYTES, elementCount } from "./stored.ts";

/** How a parameter is stored in the new file. */
export type StoredFloat = "f32" | "f16";

/** A parameter and, where loading changes its values, that it does. */
export type ConvertSpec = ParamSpec & { readonly transform?: unknown };

export interface ConvertOptions extends CheckOptions {
  /** Header entries of the new file. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default {@link halfWhereLoaded}. */
  readonly type?: (spec: ConvertSpec) => StoredFloat;
  readonly signal?: AbortSignal;
  /** Bytes of values written, of all. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

export interface Converted {
  readonly tensors: number;
  /** Elements of all of them. */
  readonly elements: number;
  /** Tensors that stayed float32 because values do not fit half precision (beyond 65504 in magnitude). */
  readonly tooLarge: readonly string[];
}

/** Half precision for what `loadWeights` stores in half precision: matrices, convolutions and embeddings. */
export function halfWhereLoaded({ role, transform }: ConvertSpec): StoredFloat {
  return role === "vector" || role === "tensor" || transform !== undefined ? "f32" : "f16";
}

/**
 * Writes the parameters `specs` of `source` to the safetensors file `path`; buffers that no network reads are left out.
 * The next tensor is read while one is written, so memory is about two of the largest. Throws when names or shapes do not
 * fit, naming them, and leaves nothing behind then. Equal sources give equal files.
 */
export async function convertCheckpoint(
  source: TensorSource,
  specs: readonly ConvertSpec[],
  path: string,
  options: ConvertOptions,
): Promise<Converted> {
  checkNames(source, specs, options);
  const type = options.type ?? halfWhereLoaded;
  const total = specs.reduce((sum, spec) => sum + elementCount(spec.shape) * DTYPE_BYTES[type(spec)], 0);
  const tooLarge = new Set<string>();
  for (;;) {
    const entries = specs.map((spec) => ({ spec, dtype: tooLarge.has(spec.name) ? "f32" as const : type(spec) }));
    // In the order of the file, in which writeSafetensors asks for them.
    entries.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
    try {
      await writeSafetensors(path, entriesOf(source, entries, total, options), options.metadata);
      const elements = specs.reduce((sum, spec) => sum + elementCount(spec.shape), 0);
      return { tensors: specs.length, elements, tooLarge: [...tooLarge] };
    } catch (error) {
      // The header is written first, so a tensor that turns out not to fit means another file. None of the published
      // networks has one: weights are far below 65504.
      if (!(error instanceof TooLarge)) throw error;
      tooLarge.add(error.tensor);
    }
  }
}

/** A value beyond what half precision holds. */
class TooLarge extends Error {
  constructor(readonly tensor: string) {
    super(`${tensor}: has values beyond half precision`);
  }
}

/** Entries whose values are on their way before they are asked for. */
function entriesOf(
  source: TensorSource,
  entries: readonly { spec: ConvertSpec; dtype: StoredFloat }[],
  total: number,
  { signal, onProgress }: ConvertOptions,
): SafetensorsEntry[] {
  const ahead = readAhead(source, entries.map(({ spec: { name }, dtype }) => ({ name, as: dtype })));
  let written = 0;
  return entries.map(({ spec: { name, shape }, dtype }) => ({
    name,
    shape,
    dtype,
    data: async () => {
      onProgress?.(written, total);
      signal?.throwIfAborted();
      const values = dtype === "f32" ? await ahead.readF32(name) : await ahead.readF16(name);
      if (values instanceof Uint16Array && hasInfinity(values) && !await isInfinite(source, name)) {
        throw new TooLarge(name);
      }
      written += values.byteLength;
      return values;
    },
  }));
}

/** Whether half-precision values have an infinity. */
export function hasInfinity(bits: Uint16Array<ArrayBuffer>): boolean {
  // Two values per word. Adding 0x0400 to a magnitude carries into its sign bit exactly for infinities and NaNs.
  const words = new Uint32Array(bits.buffer, bits.byteOffset, bits.length >> 1);
  let found = 0;
  for (let i = 0; i < words.length; i++) found |= (words[i] & 0x7fff7fff) + 0x04000400;
  if (bits.length % 2 === 1) found |= (bits[bits.length - 1] & 0x7fff) + 0x0400;
  if ((found & 0x80008000) === 0) return false;
  return bits.some((value) => (value & 0x7fff) === 0x7c00);
}

/** Whether the stored values themselves are infinite, which half precision does hold. */
async function isInfinite(source: TensorSource, name: string): Promise<boolean> {
  const values = await source.readF32(name);
  return values.every((value) => !(Number.isFinite(value) && Math.abs(value) >= 65520));
}

/** Where the parts of a fine-tuned encoder are in a tokenizer: the modules that were trained, in order. */
const encoderModules = { rar: ["encoder."], var: ["encoder.", "quant_conv."] } as const;

/** The parameters of a tokenizer that its inverse decoder replaces. */
export function encoderSpecs<S extends ParamSpec>(family: "rar" | "var", tokenizer: readonly S[]): S[] {
  return tokenizer.filter(({ name }) => encoderModules[family].some((prefix) => name.startsWith(prefix)));
}

/**
 * A fine-tuned encoder under the tokenizer's own names, whichever way it was saved: `module0.` (encoder) and `module1.`
 * (VAR's quant_conv) as the authors publish it (`encoder_final.pth`), a nested `encoder_state_dict`, the tokenizer's names
 * with or without something before them, or a whole tokenizer, whose other tensors are left out. Throws when nothing fits.
 * Source: sprintml/DataProvenanceIAR, dataprov/models/base.py, scripts/prep_release_checkpoint.py.
 */
export function encoderSource(
  source: TensorSource,
  family: "rar" | "var",
  specs: readonly ParamSpec[],
): TensorSource {
  const wanted = new Set(specs.map(({ name }) => name));
  const names = [...source.tensors.keys()];
  const modules = encoderModules[family];
  const rename = (name: string): string | undefined => {
    const numbered = /^module(\d+)\./.exec(name);
    if (numbered === null) return undefined;
    const module = modules[Number(numbered[1])];
    return module === undefined ? undefined : module + name.slice(numbered[0].length);
  };
  if (names.some((name) => rename(name) !== undefined && wanted.has(rename(name)!))) {
    return renamed(source, (name) => rename(name) ?? name);
  }
  const nested = "encoder_state_dict.";
  if (names.some((name) => name.startsWith(nested))) return subSource(source, { strip: nested, add: modules[0] });
  const { source: unwrapped, matched } = autoUnwrap(source, wanted);
  if (matched === 0) {
    throw new Error(
      `${source.label}: is no encoder of the ${family} tokenizer: expected tensors such as ${specs[0].name} or ` +
        `module0.${specs[0].name.slice(modules[0].length)}, got ${names.slice(0, 3).join(", ") || "none"}`,
    );
  }
  return only(unwrapped, (name) => wanted.has(name));
}

/** A source with other names for its tensors. */
function renamed(source: TensorSource, rename: (name: string) => string): TensorSource {
  const tensors = new Map<string, TensorInfo>();
  const originals = new Map<string, string>();
  for (const [original, info] of source.tensors) {
    const name = rename(original);
    tensors.set(name, { ...info, name });
    originals.set(name, original);
  }
  const of = (name: string) => originals.get(name) ?? name;
  return {
    label: source.label,
    tensors,
    readF32: (name) => source.readF32(of(name)),
    readF16: (name) => source.readF16(of(name)),
    readI32: (name) => source.readI32(of(name)),
    close: () => source.close(),
  };
}

/** The part of a source whose names are wanted. */
function only(source: TensorSource, wanted: (name: string) => boolean): TensorSource {
  return {
    label: source.label,
    tensors: new Map([...source.tensors].filter(([name]) => wanted(name))),
    readF32: (name) => source.readF32(name),
    readF16: (name) => source.readF16(name),
    readI32: (name) => source.readI32(name),
    close: () => source.close(),
  };
}
