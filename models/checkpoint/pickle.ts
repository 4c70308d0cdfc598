/**
 * A reader for Python pickles, protocols 0 to 5, that builds plain data.
 * It is deliberately not an interpreter of Python: a global may only be named if it is on the caller's allow-list, what
 * stands behind a name is a function of this project, and everything else is refused by name.
 */

import type { ByteCursor } from "./bytes.ts";
import { latin1, parseDecimal, parseFloatText, parseQuoted, parseRawUnicode, readInteger } from "./pickle_text.ts";
import {
  describe,
  type PicklePolicy,
  PyDict,
  PyGlobal,
  PyList,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
} from "./pickle_values.ts";

export * from "./pickle_values.ts";

/** A pickle of more opcodes than this is not an index of tensors. */
const MAX_OPCODES = 2_000_000;
/** Longest text line of protocol 0 (names, numbers), in bytes. */
const MAX_LINE = 1 << 20;
/** Longest integer, in bytes; longer ones only serve to burn time. */
const MAX_INTEGER_BYTES = 256;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads one pickle, from the cursor's position up to and including its STOP opcode.
 *
 * Throws an error that begins with the cursor's label: `pickle: refuses global os.system; only ... are allowed` before
 * anything is built for it, and a description of the damage for anything that is not a well-formed pickle.
 */
export function readPickle(input: ByteCursor, policy: PicklePolicy): PyValue {
  return new PickleReader(input, policy).run();
}

class PickleReader {
  readonly #input: ByteCursor;
  readonly #policy: PicklePolicy;
  #stack: PyValue[] = [];
  /** The stacks that MARK put aside. */
  readonly #marked: PyValue[][] = [];
  readonly #memo = new Map<number, PyValue>();

  constructor(input: ByteCursor, policy: PicklePolicy) {
    this.#input = input;
    this.#policy = policy;
  }

  #fail(message: string): never {
    throw new Error(`${this.#input.label}: pickle: ${message}`);
  }

  run(): PyValue {
    for (let count = 0; count < MAX_OPCODES; count++) {
      const opcode = this.#input.u8();
      if (opcode === 0x2e /* . STOP */) return this.#pop();
      try {
        this.#step(opcode);
      } catch (error) {
        // Everything from the token parsers and the caller's constructors gets the file's name here, once.
        if (!(error instanceof Error) || error.message.startsWith(`${this.#input.label}: `)) throw error;
        this.#fail(error.message);
      }
    }
    this.#fail(`more than ${MAX_OPCODES} opcodes`);
  }

  #pop(): PyValue {
    const value = this.#stack.pop();
    if (value === undefined) {
      this.#fail(`damaged: an opcode before offset ${this.#input.position} finds an empty stack`);
    }
    return value;
  }

  #top(): PyValue {
    const value = this.#stack.at(-1);
    if (value === undefined) {
      this.#fail(`damaged: an opcode before offset ${this.#input.position} finds an empty stack`);
    }
    return value;
  }

  /** Values since the last MARK; the stack goes back to what it was then. */
  #sinceMark(): PyValue[] {
    const items = this.#stack;
    const outer = this.#marked.pop();
    if (outer === undefined) this.#fail(`damaged: an opcode before offset ${this.#input.position} finds no MARK`);
    this.#stack = outer;
    return items;
  }

  #number(bytes: number): number {
    const data = this.#input.take(bytes);
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + data[i];
    return value;
  }

  #bytes(length: number): Uint8Array<ArrayBuffer> {
    return this.#input.take(length).slice();
  }

  #text(length: number): string {
    // "surrogatepass" text cannot name anything useful, so invalid UTF-8 is damage.
    const bytes = this.#input.take(length);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      this.#fail(`damaged: text before offset ${this.#input.position} is not UTF-8`);
    }
  }

  #line(): string {
    return latin1(this.#input.line(MAX_LINE));
  }

  /** A name line of GLOBAL or INST is UTF-8 in Python 3. */
  #nameLine(): string {
    const bytes = this.#input.line(MAX_LINE);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      this.#fail(`damaged: a global's name before offset ${this.#input.position} is not UTF-8`);
    }
  }

  #global(module: PyValue, name: PyValue): PyGlobal {
    if (typeof module !== "string" || typeof name !== "string") {
      this.#fail(`damaged: a global is named by ${describe(module)} and ${describe(name)}, not by text`);
    }
    const qualified = `${module}.${name}`;
    if (!this.#policy.globals.has(qualified)) {
      this.#fail(`refuses global ${qualified.slice(0, 200)}; only ${this.#policy.allowed} are allowed`);
    }
    return new PyGlobal(qualified);
  }

  /** What `callee(*args)` stands for, from the allow-list's own table; nothing from the file is ever called. */
  #construct(callee: PyValue, args: PyValue): PyValue {
    if (!(callee instanceof PyGlobal)) {
      this.#fail(`refuses to call ${describe(callee)}; only allowed globals build data`);
    }
    if (!(args instanceof PyTuple)) this.#fail(`damaged: ${callee.name} gets ${describe(args)} instead of a tuple`);
    const build = this.#policy.globals.get(callee.name);
    if (!build) this.#fail(`refuses to call ${callee.name}; it may only be named`);
    return build(args.items);
  }

  #remember(index: number): void {
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) this.#fail(`damaged: memo entry ${index} is used before it is set`);
    this.#stack.push(value);
  }

  #setItems(target: PyValue, items: readonly PyValue[]): void {
    if (!(target instanceof PyDict)) this.#fail(`damaged: sets items of ${describe(target)}`);
    if (items.length % 2 !== 0) this.#fail("damaged: a dict gets a key without a value");
    for (let i = 0; i < items.length; i += 2) target.entries.set(items[i], items[i + 1]);
  }

  #append(target: PyValue, items: readonly PyValue[]): void {
    if (!(target instanceof PyList)) this.#fail(`damaged: appends to ${describe(target)}`);
    for (const item of items) target.items.push(item);
  }

  #step(opcode: number): void {
    const stack = this.#stack;
    switch (opcode) {
      case 0x80: { // PROTO
        const protocol = this.#input.u8();
        if (protocol > 5) this.#fail(`protocol ${protocol} is not supported; 0 to 5 are`);
        return;
      }
      case 0x95: { // FRAME: only a hint for buffering, but its length must be possible
        const length = this.#number(8);
        if (length > this.#input.remaining) {
          this.#fail(`truncated: a frame expects ${length} bytes, got ${this.#input.remaining}`);
        }
        return;
      }

      // The stack and the memo.
      case 0x28: // ( MARK
        this.#marked.push(stack);
        this.#stack = [];
        return;
      case 0x30: // 0 POP: of a MARK when nothing stands above it
        if (stack.length === 0) this.#sinceMark();
        else stack.pop();
        return;
      case 0x31: // 1 POP_MARK
        this.#sinceMark();
        return;
      case 0x32: // 2 DUP
        stack.push(this.#top());
        return;
      case 0x67: // g GET
        return this.#recall(Number(parseDecimal(this.#line())));
      case 0x68: // h BINGET
        return this.#recall(this.#input.u8());
      case 0x6a: // j LONG_BINGET
        return this.#recall(this.#number(4));
      case 0x70: // p PUT
        return this.#remember(Number(parseDecimal(this.#line())));
      case 0x71: // q BINPUT
        return this.#remember(this.#input.u8());
      case 0x72: // r LONG_BINPUT
        return this.#remember(this.#number(4));
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);

      // Plain values.
      case 0x4e: // N
        return void stack.push(null);
      case 0x88: // NEWTRUE
        return void stack.push(true);
      case 0x89: // NEWFALSE
        return void stack.push(false);
      case 0x49: { // I INT, which also writes truth values
        const text = this.#line();
        return void stack.push(text === "00" ? false : text === "01" ? true : parseDecimal(text));
      }
      case 0x4a: // J BININT
        return void stack.push(this.#number(4) | 0);
      case 0x4b: // K BININT1
        return void stack.push(this.#input.u8());
      case 0x4d: // M BININT2
        return void stack.push(this.#number(2));
      case 0x4c: // L LONG
        return void stack.push(parseDecimal(this.#line()));
      case 0x8a: // LONG1
      case 0x8b: { // LONG4
        const length = opcode === 0x8a ? this.#input.u8() : this.#number(4);
        if (length > MAX_INTEGER_BYTES) {
          this.#fail(`an integer of ${length} bytes; at most ${MAX_INTEGER_BYTES} are read`);
        }
        return void stack.push(readInteger(this.#input.take(length)));
      }
      case 0x46: // F FLOAT
        return void stack.push(parseFloatText(this.#line()));
      case 0x47: { // G BINFLOAT, big-endian
        const data = this.#input.take(8);
        return void stack.push(new DataView(data.buffer, data.byteOffset, 8).getFloat64(0, false));
      }
      case 0x53: // S STRING
        return void stack.push(parseQuoted(this.#line()));
      case 0x54: // T BINSTRING
        return void stack.push(latin1(this.#input.take(this.#number(4))));
      case 0x55: // U SHORT_BINSTRING
        return void stack.push(latin1(this.#input.take(this.#input.u8())));
      case 0x56: // V UNICODE
        return void stack.push(parseRawUnicode(this.#line()));
      case 0x58: // X BINUNICODE
        return void stack.push(this.#text(this.#number(4)));
      case 0x8c: // SHORT_BINUNICODE
        return void stack.push(this.#text(this.#input.u8()));
      case 0x8d: // BINUNICODE8
        return void stack.push(this.#text(this.#number(8)));
      case 0x42: // B BINBYTES
        return void stack.push(this.#bytes(this.#number(4)));
      case 0x43: // C SHORT_BINBYTES
        return void stack.push(this.#bytes(this.#input.u8()));
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return void stack.push(this.#bytes(this.#number(8)));

      // Containers.
      case 0x5d: // ] EMPTY_LIST
        return void stack.push(new PyList());
      case 0x6c: { // l LIST
        const items = this.#sinceMark();
        return void this.#stack.push(new PyList(items));
      }
      case 0x61: { // a APPEND
        const item = this.#pop();
        return this.#append(this.#top(), [item]);
      }
      case 0x65: { // e APPENDS
        const items = this.#sinceMark();
        return this.#append(this.#top(), items);
      }
      case 0x29: // ) EMPTY_TUPLE
        return void stack.push(new PyTuple([]));
      case 0x74: { // t TUPLE
        const items = this.#sinceMark();
        return void this.#stack.push(new PyTuple(items));
      }
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: { // TUPLE3
        const length = opcode - 0x84;
        if (stack.length < length) this.#fail(`damaged: a tuple of ${length} finds ${stack.length} values`);
        return void stack.push(new PyTuple(stack.splice(stack.length - length)));
      }
      case 0x7d: // } EMPTY_DICT
        return void stack.push(new PyDict());
      case 0x64: { // d DICT
        const items = this.#sinceMark();
        const dict = new PyDict();
        this.#setItems(dict, items);
        return void this.#stack.push(dict);
      }
      case 0x73: { // s SETITEM
        const value = this.#pop(), key = this.#pop();
        return this.#setItems(this.#top(), [key, value]);
      }
      case 0x75: { // u SETITEMS
        const items = this.#sinceMark();
        return this.#setItems(this.#top(), items);
      }
      case 0x8f: // EMPTY_SET
        return void stack.push(new PySet());
      case 0x90: { // ADDITEMS
        const items = this.#sinceMark();
        const target = this.#top();
        if (!(target instanceof PySet)) this.#fail(`damaged: adds items to ${describe(target)}`);
        for (const item of items) target.items.add(item);
        return;
      }
      case 0x91: { // FROZENSET
        const set = new PySet();
        for (const item of this.#sinceMark()) set.items.add(item);
        return void this.#stack.push(set);
      }

      // Named objects: all of them end in #global and #construct.
      case 0x63: { // c GLOBAL
        const module = this.#nameLine();
        return void stack.push(this.#global(module, this.#nameLine()));
      }
      case 0x93: { // STACK_GLOBAL
        const name = this.#pop(), module = this.#pop();
        return void stack.push(this.#global(module, name));
      }
      case 0x69: { // i INST
        const module = this.#nameLine();
        const global = this.#global(module, this.#nameLine());
        const args = new PyTuple(this.#sinceMark());
        return void this.#stack.push(this.#construct(global, args));
      }
      case 0x6f: { // o OBJ
        const [callee, ...args] = this.#sinceMark();
        return void this.#stack.push(this.#construct(callee, new PyTuple(args)));
      }
      case 0x52: // R REDUCE
      case 0x81: { // NEWOBJ
        const args = this.#pop();
        return void stack.push(this.#construct(this.#pop(), args));
      }
      case 0x92: { // NEWOBJ_EX
        const named = this.#pop(), args = this.#pop(), callee = this.#pop();
        if (!(named instanceof PyDict) || named.entries.size > 0) this.#fail("refuses keyword arguments (NEWOBJ_EX)");
        return void stack.push(this.#construct(callee, args));
      }
      case 0x62: { // b BUILD: attributes, as of OrderedDict's _metadata or a tensor subclass; no tensor's value is in them
        this.#pop();
        const target = this.#top();
        if (!(target instanceof PyDict || target instanceof PyObject)) {
          this.#fail(`refuses to set attributes of ${describe(target)} (BUILD)`);
        }
        return;
      }
      case 0x51: { // Q BINPERSID
        const id = this.#pop();
        if (this.#policy.persistent === undefined) this.#fail("refuses persistent ids here");
        return void stack.push(this.#policy.persistent(id));
      }
      case 0x50: // P PERSID
        return this.#fail(
          "refuses a persistent id written as text (protocol 0), which PyTorch cannot read back either",
        );
      case 0x82: // EXT1
      case 0x83: // EXT2
      case 0x84: { // EXT4
        const code = this.#number([1, 2, 4][opcode - 0x82]);
        return this.#fail(`refuses extension code ${code}; only ${this.#policy.allowed} are allowed`);
      }
      case 0x97: // NEXT_BUFFER
      case 0x98: // READONLY_BUFFER
        return this.#fail("refuses out-of-band buffers (protocol 5); torch.save never writes them");
    }
    this.#fail(
      `damaged: unknown opcode 0x${opcode.toString(16).padStart(2, "0")} before offset ${this.#input.position}`,
    );
  }
}
