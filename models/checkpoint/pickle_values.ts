/**
 * The plain data that a pickle may hold, and the allow-list of names in it.
 */

/** A Python list. */
export class PyList {
  constructor(readonly items: PyValue[] = []) {}
}

/** A Python tuple. */
export class PyTuple {
  constructor(readonly items: readonly PyValue[]) {}
}

/**
 * A Python dict or OrderedDict, in insertion order. Keys other than text, numbers, booleans and None compare by
 * identity.
 */
export class PyDict {
  readonly entries: Map<PyValue, PyValue> = new Map();
}

/** A Python set or frozenset. */
export class PySet {
  readonly items: Set<PyValue> = new Set();
}

/** A global on the allow-list, named but not called. */
export class PyGlobal {
  /** @param name module and name joined by a dot */
  constructor(readonly name: string) {}
}

/** Base class of objects that the allow-list's functions build (tensors, storages). */
export abstract class PyObject {
  abstract readonly kind: string;
}

/** Any value of a pickle. */
export type PyValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PyList
  | PyTuple
  | PyDict
  | PySet
  | PyGlobal
  | PyObject;

/** Which globals a pickle may name, and the functions that stand for them. */
export interface PicklePolicy {
  /** By qualified name: builds the data for `name(*args)`; `null` for names that may be mentioned but not called. */
  readonly globals: ReadonlyMap<string, ((args: readonly PyValue[]) => PyValue) | null>;
  /** The allow-list in words, for the message that refuses a name. */
  readonly allowed: string;
  /** Builds the object behind a persistent id; without it persistent ids are refused. */
  readonly persistent?: (id: PyValue) => PyValue;
}

/** A value in a few words, for messages. */
export function describe(value: PyValue | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "None";
  if (value instanceof PyGlobal) return value.name;
  if (value instanceof PyObject) return value.kind;
  if (typeof value === "object") return value.constructor.name.replace(/^Py/, "").toLowerCase();
  return typeof value;
}
