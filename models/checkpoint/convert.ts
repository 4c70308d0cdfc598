/**
 * Rewrites checkpoints as safetensors for quick loading: matrices and embeddings in half precision, names and layouts
 * unchanged. Parameters that loading keeps in float32 stay float32. Also reads fine-tuned encoders in their several
 * forms.
 */
import { sizeOf } from "../../core/tensor/shape.ts";
import { checkNames, type CheckOptions, type ParamSpec } from "./load.ts";
import { autoUnwrap, renamed, subSource } from "./prefix.ts";
import { type SafetensorsEntry, writeSafetensors } from "./write_safetensors.ts";
import { readAhead } from "./read_ahead.ts";
import type { TensorSource } from "./source.ts";
import { DTYPE_BYTES } from "./stored.ts";

/** Element type of a parameter in the new file. */
export type StoredFloat = "f32" | "f16";

/** A parameter; `transform` is set where loading changes its values. */
export type ConvertSpec = ParamSpec & { readonly transform?: unknown };

/** Options of `convertCheckpoint`. */
export interface ConvertOptions extends CheckOptions {
  /** Header entries of the new file. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default {@link halfWhereLoaded}. */
  readonly type?: (spec: ConvertSpec) => StoredFloat;
  readonly signal?: AbortSignal;
  /** Called with bytes of values written, and their total. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

/** What `convertCheckpoint` wrote. */
export interface Converted {
  /** Number of tensors. */
  readonly tensors: number;
  /** Elements of all tensors. */
  readonly elements: number;
  /** Tensors that stayed float32 because values do not fit half precision (beyond 65504 in magnitude). */
  readonly tooLarge: readonly string[];
}

/** Half precision for the parameters that `loadWeights` can store so: matrices, convolutions and embeddings. */
export function halfWhereLoaded({ role, transform }: ConvertSpec): StoredFloat {
  return role === "vector" || role === "tensor" || transform !== undefined ? "f32" : "f16";
}

/**
 * Writes the parameters `specs` of `source` to the safetensors file `path`, without buffers that no network reads. It
 * reads the next tensor while it writes one, so memory is about two of the largest. Throws when names or shapes do not
 * fit, naming them; no file is left then. Equal sources give equal files.
 */
export async function convertCheckpoint(
  source: TensorSource,
  specs: readonly ConvertSpec[],
  path: string,
  options: ConvertOptions,
): Promise<Converted> {
  checkNames(source, specs, options);
  const type = options.type ?? halfWhereLoaded;
  const total = specs.reduce((sum, spec) => sum + sizeOf(spec.shape) * DTYPE_BYTES[type(spec)], 0);
  const tooLarge = new Set<string>();
  for (;;) {
    const entries = specs.map((spec) => ({ spec, dtype: tooLarge.has(spec.name) ? "f32" as const : type(spec) }));
    // In the order of the file, in which writeSafetensors asks for them.
    entries.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
    try {
      await writeSafetensors(path, entriesOf(source, entries, total, options), options.metadata);
      const elements = specs.reduce((sum, spec) => sum + sizeOf(spec.shape), 0);
      return { tensors: specs.length, elements, tooLarge: [...tooLarge] };
    } catch (error) {
      // The header is written first, so a tensor that does not fit half precision means another file. No published
      // network has one: weights are far below 65504.
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

/** Entries that read ahead: the next tensor is being read while one is written. */
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
  let carries = 0;
  for (let i = 0; i < words.length; i++) carries |= (words[i] & 0x7fff7fff) + 0x04000400;
  if (bits.length % 2 === 1) carries |= (bits[bits.length - 1] & 0x7fff) + 0x0400;
  if ((carries & 0x80008000) === 0) return false;
  return bits.some((value) => (value & 0x7fff) === 0x7c00);
}

/** Whether the infinities of a tensor in half precision are stored ones, and none comes from rounding. */
async function isInfinite(source: TensorSource, name: string): Promise<boolean> {
  const values = await source.readF32(name);
  return values.every((value) => !(Number.isFinite(value) && Math.abs(value) >= 65520));
}

/** The parameters of a tokenizer that its inverse decoder replaces: those below its family's `encoderModules`. */
export function encoderSpecs<S extends ParamSpec>(modules: readonly string[], tokenizer: readonly S[]): S[] {
  return tokenizer.filter(({ name }) => modules.some((prefix) => name.startsWith(prefix)));
}

/** What tells how a family's encoder may be named in files. */
export interface EncoderNames {
  readonly name: string;
  /** The modules that are trained, in the order in which published files number them. */
  readonly encoderModules: readonly string[];
}

/**
 * A fine-tuned encoder under the tokenizer's own names, whichever way it was saved: `module0.` (encoder) and `module1.`
 * (VAR's quant_conv) as the authors publish it (`encoder_final.pth`), a nested `encoder_state_dict`, the tokenizer's
 * names with or without something before them, or a whole tokenizer, whose other tensors are left out. Throws when
 * nothing fits. Source: sprintml/DataProvenanceIAR, dataprov/models/base.py, scripts/prep_release_checkpoint.py.
 */
export function encoderSource(
  source: TensorSource,
  { name: family, encoderModules: modules }: EncoderNames,
  specs: readonly ParamSpec[],
): TensorSource {
  const wanted = new Set(specs.map(({ name }) => name));
  const names = [...source.tensors.keys()];
  const rename = (name: string): string | undefined => {
    const numbered = /^module(\d+)\./.exec(name);
    if (numbered === null) return undefined;
    const module = modules[Number(numbered[1])];
    return module === undefined ? undefined : module + name.slice(numbered[0].length);
  };
  if (names.some((name) => rename(name) !== undefined && wanted.has(rename(name)!))) {
    return renamed(source, new Map(names.map((name) => [rename(name) ?? name, name])));
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
  const kept = [...unwrapped.tensors.keys()].filter((name) => wanted.has(name));
  return renamed(unwrapped, new Map(kept.map((name) => [name, name])));
}
