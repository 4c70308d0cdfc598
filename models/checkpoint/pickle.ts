/**
 * A reader for Python pickles, protocols 0 to 5, that builds plain data and executes nothing.
 * A pickle may name a global only if it is on the caller's allow-list, where a function of this project stands for it;
 * everything else is refused by name. Opcodes: Lib/pickletools.py of CPython.
 */

import type { ByteCursor } from "./bytes.ts";
import { PickleMachine } from "./pickle_machine.ts";
import { latin1, parseDecimal, parseFloatText, parseQuoted, parseRawUnicode, readInteger } from "./pickle_text.ts";
import {
  describe,
  type PicklePolicy,
  PyDict,
  PyList,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
} from "./pickle_values.ts";

/** A pickle of more opcodes than this is not an index of tensors. */
const MAX_OPCODES = 2_000_000;
/** Longest integer, in bytes; longer ones only serve to burn time. */
const MAX_INTEGER_BYTES = 256;

/**
 * Reads one pickle, from the cursor's position up to and including its STOP opcode.
 *
 * Throws an error that begins with the cursor's label: `pickle: refuses global os.system; only ... are allowed` before
 * anything is built for it, and a description of the damage for anything that is not a well-formed pickle.
 */
export function readPickle(input: ByteCursor, policy: PicklePolicy): PyValue {
  const machine = new PickleMachine(input, policy);
  for (let count = 0; count < MAX_OPCODES; count++) {
    const opcode = input.u8();
    if (opcode === 0x2e /* . STOP */) return machine.pop();
    const run = OPCODES.get(opcode);
    try {
      if (run === undefined) {
        const hex = opcode.toString(16).padStart(2, "0");
        throw machine.error(`damaged: unknown opcode 0x${hex} before offset ${input.position}`);
      }
      run(machine);
    } catch (error) {
      // Errors of the token parsers and of the caller's constructors get the file's name here.
      if (!(error instanceof Error) || error.message.startsWith(`${input.label}: `)) throw error;
      throw machine.error(error.message);
    }
  }
  throw machine.error(`more than ${MAX_OPCODES} opcodes`);
}

type Opcode = readonly [code: number, run: (m: PickleMachine) => void];

const STACK_OPCODES: readonly Opcode[] = [
  [0x80, (m) => { // PROTO
    const protocol = m.input.u8();
    if (protocol > 5) throw m.error(`protocol ${protocol} is not supported; 0 to 5 are`);
  }],
  [0x95, (m) => { // FRAME: a hint for buffering, but its length must be possible
    const length = m.number(8);
    const { remaining } = m.input;
    if (length > remaining) throw m.error(`truncated: a frame expects ${length} bytes, got ${remaining}`);
  }],
  [0x28, (m) => m.mark()], // ( MARK
  [0x30, (m) => void (m.stack.length === 0 ? m.sinceMark() : m.pop())], // 0 POP, of a MARK when nothing is above it
  [0x31, (m) => void m.sinceMark()], // 1 POP_MARK
  [0x32, (m) => m.push(m.top())], // 2 DUP
  [0x67, (m) => m.recall(Number(parseDecimal(m.line())))], // g GET
  [0x68, (m) => m.recall(m.input.u8())], // h BINGET
  [0x6a, (m) => m.recall(m.number(4))], // j LONG_BINGET
  [0x70, (m) => m.remember(Number(parseDecimal(m.line())))], // p PUT
  [0x71, (m) => m.remember(m.input.u8())], // q BINPUT
  [0x72, (m) => m.remember(m.number(4))], // r LONG_BINPUT
  [0x94, (m) => m.remember()], // MEMOIZE
];

const VALUE_OPCODES: readonly Opcode[] = [
  [0x4e, (m) => m.push(null)], // N NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x49, (m) => { // I INT, which also writes truth values
    const text = m.line();
    m.push(text === "00" ? false : text === "01" ? true : parseDecimal(text));
  }],
  [0x4a, (m) => m.push(m.number(4) | 0)], // J BININT
  [0x4b, (m) => m.push(m.input.u8())], // K BININT1
  [0x4d, (m) => m.push(m.number(2))], // M BININT2
  [0x4c, (m) => m.push(parseDecimal(m.line()))], // L LONG
  [0x8a, (m) => pushLong(m, m.input.u8())], // LONG1
  [0x8b, (m) => pushLong(m, m.number(4))], // LONG4
  [0x46, (m) => m.push(parseFloatText(m.line()))], // F FLOAT
  [0x47, (m) => { // G BINFLOAT, big-endian
    const data = m.input.take(8);
    m.push(new DataView(data.buffer, data.byteOffset, 8).getFloat64(0, false));
  }],
  [0x53, (m) => m.push(parseQuoted(m.line()))], // S STRING
  [0x54, (m) => m.push(latin1(m.input.take(m.number(4))))], // T BINSTRING
  [0x55, (m) => m.push(latin1(m.input.take(m.input.u8())))], // U SHORT_BINSTRING
  [0x56, (m) => m.push(parseRawUnicode(m.line()))], // V UNICODE
  [0x58, (m) => m.push(m.text(m.number(4)))], // X BINUNICODE
  [0x8c, (m) => m.push(m.text(m.input.u8()))], // SHORT_BINUNICODE
  [0x8d, (m) => m.push(m.text(m.number(8)))], // BINUNICODE8
  [0x42, (m) => m.push(m.bytes(m.number(4)))], // B BINBYTES
  [0x43, (m) => m.push(m.bytes(m.input.u8()))], // C SHORT_BINBYTES
  [0x8e, (m) => m.push(m.bytes(m.number(8)))], // BINBYTES8
  [0x96, (m) => m.push(m.bytes(m.number(8)))], // BYTEARRAY8
];

function pushLong(m: PickleMachine, length: number): void {
  if (length > MAX_INTEGER_BYTES) throw m.error(`an integer of ${length} bytes; at most ${MAX_INTEGER_BYTES} are read`);
  m.push(readInteger(m.input.take(length)));
}

const CONTAINER_OPCODES: readonly Opcode[] = [
  [0x5d, (m) => m.push(new PyList())], // ] EMPTY_LIST
  [0x6c, (m) => { // l LIST
    const items = m.sinceMark();
    m.push(new PyList(items));
  }],
  [0x61, (m) => { // a APPEND
    const item = m.pop();
    m.append(m.top(), [item]);
  }],
  [0x65, (m) => { // e APPENDS
    const items = m.sinceMark();
    m.append(m.top(), items);
  }],
  [0x29, (m) => m.push(new PyTuple([]))], // ) EMPTY_TUPLE
  [0x74, (m) => { // t TUPLE
    const items = m.sinceMark();
    m.push(new PyTuple(items));
  }],
  [0x85, (m) => m.push(m.popTuple(1))], // TUPLE1
  [0x86, (m) => m.push(m.popTuple(2))], // TUPLE2
  [0x87, (m) => m.push(m.popTuple(3))], // TUPLE3
  [0x7d, (m) => m.push(new PyDict())], // } EMPTY_DICT
  [0x64, (m) => { // d DICT
    const items = m.sinceMark();
    const dict = new PyDict();
    m.setItems(dict, items);
    m.push(dict);
  }],
  [0x73, (m) => { // s SETITEM
    const value = m.pop(), key = m.pop();
    m.setItems(m.top(), [key, value]);
  }],
  [0x75, (m) => { // u SETITEMS
    const items = m.sinceMark();
    m.setItems(m.top(), items);
  }],
  [0x8f, (m) => m.push(new PySet())], // EMPTY_SET
  [0x90, (m) => { // ADDITEMS
    const items = m.sinceMark();
    const target = m.top();
    if (!(target instanceof PySet)) throw m.error(`damaged: adds items to ${describe(target)}`);
    for (const item of items) target.items.add(item);
  }],
  [0x91, (m) => { // FROZENSET
    const set = new PySet();
    for (const item of m.sinceMark()) set.items.add(item);
    m.push(set);
  }],
];

/** Named objects: all of them end in `global` and `construct`. */
const OBJECT_OPCODES: readonly Opcode[] = [
  [0x63, (m) => { // c GLOBAL
    const module = m.nameLine();
    m.push(m.global(module, m.nameLine()));
  }],
  [0x93, (m) => { // STACK_GLOBAL
    const name = m.pop(), module = m.pop();
    m.push(m.global(module, name));
  }],
  [0x69, (m) => { // i INST
    const module = m.nameLine();
    const global = m.global(module, m.nameLine());
    const args = new PyTuple(m.sinceMark());
    m.push(m.construct(global, args));
  }],
  [0x6f, (m) => { // o OBJ
    const [callee, ...args] = m.sinceMark();
    m.push(m.construct(callee, new PyTuple(args)));
  }],
  [0x52, (m) => callNamed(m, m.pop())], // R REDUCE
  [0x81, (m) => callNamed(m, m.pop())], // NEWOBJ
  [0x92, (m) => { // NEWOBJ_EX
    const named = m.pop(), args = m.pop(), callee = m.pop();
    if (!(named instanceof PyDict) || named.entries.size > 0) throw m.error("refuses keyword arguments (NEWOBJ_EX)");
    m.push(m.construct(callee, args));
  }],
  [0x62, (m) => { // b BUILD: attributes (OrderedDict's _metadata, tensor subclasses), which hold no values of tensors
    m.pop();
    const target = m.top();
    if (!(target instanceof PyDict || target instanceof PyObject)) {
      throw m.error(`refuses to set attributes of ${describe(target)} (BUILD)`);
    }
  }],
  [0x51, (m) => { // Q BINPERSID
    const id = m.pop();
    if (m.policy.persistent === undefined) throw m.error("refuses persistent ids here");
    m.push(m.policy.persistent(id));
  }],
  [0x50, (m) => { // P PERSID
    throw m.error("refuses a persistent id written as text (protocol 0), which PyTorch cannot read back either");
  }],
  [0x82, (m) => refuseExtension(m, 1)], // EXT1
  [0x83, (m) => refuseExtension(m, 2)], // EXT2
  [0x84, (m) => refuseExtension(m, 4)], // EXT4
  [0x97, refuseBuffer], // NEXT_BUFFER
  [0x98, refuseBuffer], // READONLY_BUFFER
];

function callNamed(m: PickleMachine, args: PyValue): void {
  m.push(m.construct(m.pop(), args));
}

function refuseExtension(m: PickleMachine, bytes: number): never {
  throw m.error(`refuses extension code ${m.number(bytes)}; only ${m.policy.allowed} are allowed`);
}

function refuseBuffer(m: PickleMachine): never {
  throw m.error("refuses out-of-band buffers (protocol 5); torch.save never writes them");
}

const OPCODES = new Map([...STACK_OPCODES, ...VALUE_OPCODES, ...CONTAINER_OPCODES, ...OBJECT_OPCODES]);
