/**
 * The plain data that a pickle may hold, and the allow-list that says what it may name.
 * It is deliberately not a model of Python: there are no classes, no methods and no attributes.
 */

/** A Python list. */
export class PyList {
  constructor(readonly items: PyValue[] = []) {}
}

/** A Python tuple. */
export class PyTuple {
  constructor(readonly items: readonly PyValue[]) {}
}

/** A Python dict or OrderedDict, in insertion order; keys that are not text, numbers, truth values or None compare by identity. */
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

/** Base class of what the caller's constructors build (tensors, storages). */
export abstract class PyObject {
  abstract readonly kind: string;
}

/** Everything that a pickle can hold here. */
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

/** What a pickle may name, and what is built for it. */
export interface PicklePolicy {
  /** Qualified name -> what `name(*args)` builds; `null` for names that may be mentioned but not called. */
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
