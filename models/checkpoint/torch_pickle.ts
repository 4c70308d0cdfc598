/**
 * The contents of torch.save's pickles: storages (persistent ids), tensors as views of them, and dicts and lists around
 * those. Only descriptions are built; no values are read. Only the names below are accepted.
 * Names and argument orders: torch/_utils.py and torch/serialization.py of PyTorch.
 */

import {
  type PicklePolicy,
  PyDict,
  PyGlobal,
  PyList,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
} from "./pickle_values.ts";
import type { StoredDType } from "./source.ts";

const STORAGE_DTYPES: Readonly<Record<string, StoredDType>> = {
  DoubleStorage: "f64",
  FloatStorage: "f32",
  HalfStorage: "f16",
  BFloat16Storage: "bf16",
  LongStorage: "i64",
  IntStorage: "i32",
  ShortStorage: "i16",
  CharStorage: "i8",
  ByteStorage: "u8",
  BoolStorage: "bool",
  UntypedStorage: "u8",
};

const DTYPE_NAMES = [
  ...["float64", "double", "float32", "float", "float16", "half", "bfloat16", "int64", "long", "int32", "int"],
  ...["int16", "short", "int8", "uint8", "bool", "complex64", "complex128"],
];

/** A span of values in the file, by its key in the container. */
export class TorchStorage extends PyObject {
  readonly kind = "a storage";
  constructor(
    readonly key: string,
    readonly dtype: StoredDType,
    /** Elements of the whole storage. */
    readonly length: number,
    /** Old legacy files cut storages out of others: first element and number of elements. */
    readonly part?: { readonly first: number; readonly length: number },
  ) {
    super();
  }
}

/** A strided view of a storage; offset and strides in elements. */
export class TorchTensor extends PyObject {
  readonly kind = "a tensor";
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    super();
  }
}

/** PyTorch itself has no tensors of more. */
const MAX_DIMENSIONS = 64;

function whole(value: PyValue | undefined, what: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`damaged: ${what} expects a whole number from 0 on, got ${String(value).slice(0, 40)}`);
}

function wholes(value: PyValue | undefined, what: string): number[] {
  if (!(value instanceof PyTuple || value instanceof PyList)) throw new Error(`damaged: ${what} is not a tuple`);
  if (value.items.length > MAX_DIMENSIONS) {
    throw new Error(`${what} has ${value.items.length} dimensions; at most ${MAX_DIMENSIONS} are read`);
  }
  return value.items.map((item) => whole(item, what));
}

/** `_rebuild_tensor(storage, storage_offset, size, stride)`; version 2 has more arguments, which do not matter here. */
function rebuildTensor(args: readonly PyValue[]): TorchTensor {
  const [storage, offset, size, stride] = args;
  if (!(storage instanceof TorchStorage)) throw new Error("damaged: a tensor without a storage");
  return new TorchTensor(
    storage,
    whole(offset, "a tensor's offset"),
    wholes(size, "a tensor's size"),
    wholes(stride, "a tensor's stride"),
  );
}

/** `_rebuild_parameter(data, requires_grad, backward_hooks)`, and with state: a parameter is its tensor. */
function rebuildParameter(args: readonly PyValue[]): TorchTensor {
  if (!(args[0] instanceof TorchTensor)) throw new Error("damaged: a parameter without a tensor");
  return args[0];
}

const TENSOR_BUILDERS = new Map<string, (args: readonly PyValue[]) => PyValue>([
  ["torch._utils._rebuild_tensor", rebuildTensor],
  ["torch._utils._rebuild_tensor_v2", rebuildTensor],
  ["torch._utils._rebuild_parameter", rebuildParameter],
  ["torch._utils._rebuild_parameter_with_state", rebuildParameter],
]);

/** `_rebuild_from_type_v2(func, type, args, state)`: a tensor that carries Python attributes, which are left out. */
function rebuildFromType(args: readonly PyValue[]): PyValue {
  const [func, , inner] = args;
  const build = func instanceof PyGlobal ? TENSOR_BUILDERS.get(func.name) : undefined;
  if (build === undefined || !(inner instanceof PyTuple)) {
    throw new Error("damaged: _rebuild_from_type_v2 of no tensor");
  }
  return build(inner.items);
}

/** `OrderedDict()` or `OrderedDict([(key, value), ...])`. */
function orderedDict(args: readonly PyValue[]): PyDict {
  const dict = new PyDict();
  const pairs = args[0] instanceof PyList || args[0] instanceof PyTuple ? args[0].items : [];
  for (const pair of pairs) {
    if (!(pair instanceof PyTuple || pair instanceof PyList) || pair.items.length !== 2) {
      throw new Error("damaged: an OrderedDict of something other than pairs");
    }
    dict.entries.set(pair.items[0], pair.items[1]);
  }
  return dict;
}

function set(args: readonly PyValue[]): PySet {
  const result = new PySet();
  if (args[0] instanceof PyList) { for (const item of args[0].items) result.items.add(item); }
  return result;
}

/** `_codecs.encode(text, "latin1")`: how protocol 2 writes bytes. */
function encodeLatin1(args: readonly PyValue[]): Uint8Array {
  const [text, encoding] = args;
  if (typeof text !== "string" || (encoding !== "latin1" && encoding !== "latin-1")) {
    throw new Error("refuses _codecs.encode of anything but latin1 text");
  }
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** The only globals that a PyTorch checkpoint may name. */
const GLOBALS: ReadonlyMap<string, ((args: readonly PyValue[]) => PyValue) | null> = new Map([
  ...TENSOR_BUILDERS,
  ["torch._tensor._rebuild_from_type_v2", rebuildFromType],
  ["collections.OrderedDict", orderedDict],
  ["torch.Size", (args: readonly PyValue[]) => new PyTuple(args[0] instanceof PyTuple ? args[0].items : [])],
  ["torch.device", (args: readonly PyValue[]) => new PyTuple(args)],
  ["torch.Tensor", null],
  ["torch.nn.parameter.Parameter", null],
  ["__builtin__.set", set],
  ["builtins.set", set],
  ["__builtin__.frozenset", set],
  ["builtins.frozenset", set],
  ["_codecs.encode", encodeLatin1],
  ...DTYPE_NAMES.map((name) => [`torch.${name}`, null] as const),
  ...Object.keys(STORAGE_DTYPES).flatMap((name) =>
    ["torch", "torch.cuda", "torch.storage"].map((module) => [`${module}.${name}`, null] as const)
  ),
]);

/**
 * `("storage", type, key, location, elements)`, and in legacy files a sixth entry `(view key, offset, size)` or None.
 */
function persistentStorage(id: PyValue): TorchStorage {
  const items = id instanceof PyTuple ? id.items : [];
  const [tag, type, key, , elements, part] = items;
  if (tag !== "storage") {
    throw new Error(
      `refuses persistent id of kind ${JSON.stringify(String(tag ?? "?").slice(0, 40))}; only storages are`,
    );
  }
  const name = type instanceof PyGlobal ? type.name.slice(type.name.lastIndexOf(".") + 1) : "";
  if (!Object.hasOwn(STORAGE_DTYPES, name)) throw new Error("damaged: a storage without a storage type");
  if (typeof key !== "string") throw new Error("damaged: a storage without a key");
  const length = whole(elements, "a storage's length");
  if (!(part instanceof PyTuple)) return new TorchStorage(key, STORAGE_DTYPES[name], length);
  return new TorchStorage(key, STORAGE_DTYPES[name], length, {
    first: whole(part.items[1], "a storage view's offset"),
    length: whole(part.items[2], "a storage view's length"),
  });
}

/** The policy under which checkpoint pickles are read. */
export const TORCH_POLICY: PicklePolicy = {
  globals: GLOBALS,
  allowed: "collections.OrderedDict, set, torch._utils._rebuild_tensor*, torch._utils._rebuild_parameter*, " +
    "torch._tensor._rebuild_from_type_v2, torch.Size, torch.device, torch dtypes, " +
    `torch.{${Object.keys(STORAGE_DTYPES).join(",")}} and _codecs.encode`,
  persistent: persistentStorage,
};

/** Bounds on what a file may ask for by sharing: a few hundred bytes can spell a tree of any size. */
const MAX_DEPTH = 64;
const MAX_VISITS = 4_000_000;
const MAX_NAME = 4096;
/** The largest published network of this kind has fewer than a thousand tensors. */
const MAX_TENSORS = 100_000;
/** Characters of all names together. */
const MAX_NAMES = 16 * 2 ** 20;

/**
 * The tensors inside nested dicts, lists and tuples, in file order. A name joins the keys and indices that lead to the
 * tensor by dots; a bare tensor is named "". Other values are skipped. Throws an error that begins with `label` when
 * the structure is too deep, or has too many entries, tensors or characters of names.
 */
export function collectTensors(root: PyValue, label: string): [name: string, tensor: TorchTensor][] {
  const tensors: [string, TorchTensor][] = [];
  const barren = new Set<PyValue>();
  let visits = 0, characters = 0;
  const visit = (value: PyValue, name: string | undefined, depth: number): void => {
    if (++visits > MAX_VISITS) throw new Error(`${label}: refuses a structure of more than ${MAX_VISITS} entries`);
    if (value instanceof TorchTensor) {
      if (tensors.length === MAX_TENSORS) throw new Error(`${label}: refuses more than ${MAX_TENSORS} tensors`);
      characters += name?.length ?? 0;
      if (characters > MAX_NAMES) {
        throw new Error(`${label}: refuses tensor names of more than ${MAX_NAMES} characters together`);
      }
      return void tensors.push([name ?? "", value]);
    }
    const children: Iterable<[PyValue, PyValue]> | undefined = value instanceof PyDict
      ? value.entries
      : value instanceof PyList || value instanceof PyTuple
      ? value.items.entries()
      : undefined;
    if (children === undefined || barren.has(value)) return;
    if (depth >= MAX_DEPTH) throw new Error(`${label}: refuses a structure nested more than ${MAX_DEPTH} deep`);
    const before = tensors.length;
    let index = 0;
    for (const [key, child] of children) {
      const part = typeof key === "object" && key !== null ? `#${index}` : String(key);
      index++;
      const childName = name === undefined ? part : `${name}.${part}`;
      if (childName.length > MAX_NAME) {
        throw new Error(`${label}: refuses a tensor name of ${childName.length} characters`);
      }
      visit(child, childName, depth + 1);
    }
    if (tensors.length === before) barren.add(value);
  };
  visit(root, undefined, 0);
  return tensors;
}
