/**
 * The machine that a pickle drives: a stack of values, marks, a memo, and the tokens of the input.
 * pickle.ts says what each opcode does with it. Nothing from the file is ever executed: `construct` calls functions of
 * the caller's allow-list only.
 */

import type { ByteCursor } from "./bytes.ts";
import { latin1 } from "./pickle_text.ts";
import { describe, type PicklePolicy, PyDict, PyGlobal, PyList, PyTuple, type PyValue } from "./pickle_values.ts";

/** Longest text line of protocol 0 (names, numbers), in bytes. */
const MAX_LINE = 1 << 20;

/**
 * Values and characters that all calls of the allow-list's functions may be given: they copy them, and arguments are
 * shared.
 */
const MAX_ARGUMENTS = 8_000_000;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** State of one reading. Every method throws an error that begins with the input's label when the pickle is damaged. */
export class PickleMachine {
  readonly input: ByteCursor;
  readonly policy: PicklePolicy;
  /** Values since the last mark. */
  stack: PyValue[] = [];
  /** The stacks below each mark. */
  readonly #marked: PyValue[][] = [];
  readonly #memo = new Map<number, PyValue>();
  /** Values and characters given to the allow-list's functions so far. */
  #given = 0;

  constructor(input: ByteCursor, policy: PicklePolicy) {
    this.input = input;
    this.policy = policy;
  }

  /** An error that begins with the input's label. */
  error(message: string): Error {
    return new Error(`${this.input.label}: pickle: ${message}`);
  }

  push(value: PyValue): void {
    this.stack.push(value);
  }

  pop(): PyValue {
    const value = this.stack.pop();
    if (value === undefined) throw this.#emptyError();
    return value;
  }

  top(): PyValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw this.#emptyError();
    return value;
  }

  /** The last `length` values, first one first. */
  popTuple(length: number): PyTuple {
    const { stack } = this;
    if (stack.length < length) throw this.error(`damaged: a tuple of ${length} finds ${stack.length} values`);
    return new PyTuple(stack.splice(stack.length - length));
  }

  #emptyError(): Error {
    return this.error(`damaged: an opcode before offset ${this.input.position} finds an empty stack`);
  }

  /** Starts a new stack above the current one. */
  mark(): void {
    this.#marked.push(this.stack);
    this.stack = [];
  }

  /** The values since the last mark, which is removed. */
  sinceMark(): PyValue[] {
    const items = this.stack;
    const outer = this.#marked.pop();
    if (outer === undefined) throw this.error(`damaged: an opcode before offset ${this.input.position} finds no MARK`);
    this.stack = outer;
    return items;
  }

  /** Stores the top of the stack in the memo, in the next free entry when there is no index. */
  remember(index: number = this.#memo.size): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.error(`damaged: memo entry ${index} is used before it is set`);
    this.stack.push(value);
  }

  /** A little-endian unsigned integer. */
  number(bytes: number): number {
    const data = this.input.take(bytes);
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + data[i];
    return value;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return this.input.take(length).slice();
  }

  /** UTF-8. Python's "surrogatepass" text cannot name anything useful, so invalid UTF-8 is damage. */
  text(length: number): string {
    return this.#utf8(this.input.take(length), "text");
  }

  /** A line of protocol 0, as latin-1. */
  line(): string {
    return latin1(this.input.line(MAX_LINE));
  }

  /** A name line of GLOBAL or INST, which Python 3 writes as UTF-8. */
  nameLine(): string {
    return this.#utf8(this.input.line(MAX_LINE), "a global's name");
  }

  #utf8(bytes: Uint8Array<ArrayBuffer>, what: string): string {
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw this.error(`damaged: ${what} before offset ${this.input.position} is not UTF-8`);
    }
  }

  /** A global by name. Refuses names that are not on the allow-list. */
  global(module: PyValue, name: PyValue): PyGlobal {
    if (typeof module !== "string" || typeof name !== "string") {
      throw this.error(`damaged: a global is named by ${describe(module)} and ${describe(name)}, not by text`);
    }
    const qualified = `${module}.${name}`;
    if (!this.policy.globals.has(qualified)) {
      throw this.error(`refuses global ${qualified.slice(0, 200)}; only ${this.policy.allowed} are allowed`);
    }
    return new PyGlobal(qualified);
  }

  /** The data that stands for `callee(*args)`, built by the allow-list's function. */
  construct(callee: PyValue, args: PyValue): PyValue {
    if (!(callee instanceof PyGlobal)) {
      throw this.error(`refuses to call ${describe(callee)}; only allowed globals build data`);
    }
    if (!(args instanceof PyTuple)) {
      throw this.error(`damaged: ${callee.name} gets ${describe(args)} instead of a tuple`);
    }
    const build = this.policy.globals.get(callee.name);
    if (!build) throw this.error(`refuses to call ${callee.name}; it may only be named`);
    for (const arg of args.items) this.#given += 1 + lengthOf(arg);
    if (this.#given > MAX_ARGUMENTS) {
      throw this.error(`refuses calls with more than ${MAX_ARGUMENTS} values and characters together`);
    }
    return build(args.items);
  }

  /** Sets items of a dict: keys and values alternate. */
  setItems(target: PyValue, items: readonly PyValue[]): void {
    if (!(target instanceof PyDict)) throw this.error(`damaged: sets items of ${describe(target)}`);
    if (items.length % 2 !== 0) throw this.error("damaged: a dict gets a key without a value");
    for (let i = 0; i < items.length; i += 2) target.entries.set(items[i], items[i + 1]);
  }

  /** Appends to a list. */
  append(target: PyValue, items: readonly PyValue[]): void {
    if (!(target instanceof PyList)) throw this.error(`damaged: appends to ${describe(target)}`);
    for (const item of items) target.items.push(item);
  }
}

/** Values in a list or tuple, characters of a text. */
function lengthOf(value: PyValue): number {
  if (value instanceof PyList || value instanceof PyTuple) return value.items.length;
  return typeof value === "string" ? value.length : 0;
}
