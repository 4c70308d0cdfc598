import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { ByteCursor } from "../../../models/checkpoint/bytes.ts";
import { readPickle } from "../../../models/checkpoint/pickle.ts";
import {
  type PicklePolicy,
  PyDict,
  PyGlobal,
  PyList,
  PySet,
  PyTuple,
  type PyValue,
} from "../../../models/checkpoint/pickle_values.ts";
import { bytes, le, op, type Part } from "./build.ts";

const policy: PicklePolicy = {
  globals: new Map<string, ((args: readonly PyValue[]) => PyValue) | null>([
    ["collections.OrderedDict", () => new PyDict()],
    ["torch.float32", null],
  ]),
  allowed: "collections.OrderedDict and torch.float32",
};

const read = (...parts: Part[]): PyValue => readPickle(ByteCursor.overBytes("x.pkl", bytes(...parts)), policy);

/** As plain JavaScript data: lists and tuples as arrays, dicts as arrays of pairs. */
function plain(value: PyValue): unknown {
  if (value instanceof PyList || value instanceof PyTuple) return value.items.map(plain);
  if (value instanceof PyDict) return [...value.entries].map(([key, item]) => [plain(key), plain(item)]);
  if (value instanceof PySet) return new Set([...value.items].map(plain));
  if (value instanceof PyGlobal) return `<${value.name}>`;
  return value;
}

// Python 3's pickle.dumps({"a": [1, -2, 3.5, None, True, False, "é", 2**40, -(2**70), (1,), (1, 2), (1, 2, 3),
// (1, 2, 3, 4), [], {}, 70000, 300, "€\\n"]}, protocol) for protocols 0 to 5, in base64.
const BY_PROTOCOL = [
  "KGRwMApWYQpwMQoobHAyCkkxCmFJLTIKYUYzLjUKYU5hSTAxCmFJMDAKYVbpCnAzCmFMMTA5OTUxMTYyNzc3NkwKYUwtMTE4MDU5MTYyMDcxNzQxMTMwMzQyNEwKYShJMQp0cDQKYShJMQpJMgp0cDUKYShJMQpJMgpJMwp0cDYKYShJMQpJMgpJMwpJNAp0cDcKYShscDgKYShkcDkKYUk3MDAwMAphSTMwMAphVlx1MjBhY1x1MDAwYQpwMTAKYXMu",
  "fXEAWAEAAABhcQFdcQIoSwFK/v///0dADAAAAAAAAE5JMDEKSTAwClgCAAAAw6lxA0wxMDk5NTExNjI3Nzc2TApMLTExODA1OTE2MjA3MTc0MTEzMDM0MjRMCihLAXRxBChLAUsCdHEFKEsBSwJLA3RxBihLAUsCSwNLBHRxB11xCH1xCUpwEQEATSwBWAQAAADigqwKcQplcy4=",
  "gAJ9cQBYAQAAAGFxAV1xAihLAUr+////R0AMAAAAAAAAToiJWAIAAADDqXEDigYAAAAAAAGKCQAAAAAAAAAAwEsBhXEESwFLAoZxBUsBSwJLA4dxBihLAUsCSwNLBHRxB11xCH1xCUpwEQEATSwBWAQAAADigqwKcQplcy4=",
  "gAN9cQBYAQAAAGFxAV1xAihLAUr+////R0AMAAAAAAAAToiJWAIAAADDqXEDigYAAAAAAAGKCQAAAAAAAAAAwEsBhXEESwFLAoZxBUsBSwJLA4dxBihLAUsCSwNLBHRxB11xCH1xCUpwEQEATSwBWAQAAADigqwKcQplcy4=",
  "gASVZwAAAAAAAAB9lIwBYZRdlChLAUr+////R0AMAAAAAAAAToiJjALDqZSKBgAAAAAAAYoJAAAAAAAAAADASwGFlEsBSwKGlEsBSwJLA4eUKEsBSwJLA0sEdJRdlH2USnARAQBNLAGMBOKCrAqUZXMu",
  "gAWVZwAAAAAAAAB9lIwBYZRdlChLAUr+////R0AMAAAAAAAAToiJjALDqZSKBgAAAAAAAYoJAAAAAAAAAADASwGFlEsBSwKGlEsBSwJLA4eUKEsBSwJLA0sEdJRdlH2USnARAQBNLAGMBOKCrAqUZXMu",
];

Deno.test("readPickle() reads what Python's pickle writes in protocols 0 to 5", () => {
  const numbers = [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]];
  const values = [1, -2, 3.5, null, true, false, "é", 2 ** 40, -(2n ** 70n), ...numbers, [], [], 70000, 300, "€\n"];
  for (const text of BY_PROTOCOL) assert.deepEqual(plain(read(Uint8Array.fromBase64(text))), [["a", values]]);
});

Deno.test("readPickle() reads every value opcode", () => {
  const cases: [string, Part, unknown][] = [
    ["None", "N.", null],
    ["NEWTRUE", [0x88, "."], true],
    ["NEWFALSE", [0x89, "."], false],
    ["INT", "I-12\n.", -12],
    ["INT true", "I01\n.", true],
    ["INT false", "I00\n.", false],
    ["BININT", ["J", le(-5, 4), "."], -5],
    ["BININT1", ["K", 200, "."], 200],
    ["BININT2", ["M", le(60000, 2), "."], 60000],
    ["LONG", "L12L\n.", 12],
    ["LONG big", "L1180591620717411303424L\n.", 2n ** 70n],
    ["LONG1", [0x8a, 2, le(-300n & 0xffffn, 2), "."], -300],
    ["LONG1 empty", [0x8a, 0, "."], 0],
    ["LONG4", [0x8b, le(9, 4), le(2n ** 70n, 9), "."], 2n ** 70n],
    ["FLOAT", "F-2.5e-3\n.", -2.5e-3],
    ["FLOAT inf", "F-inf\n.", -Infinity],
    ["FLOAT nan", "Fnan\n.", NaN],
    ["BINFLOAT", ["G", 0xc0, 0x04, 0, 0, 0, 0, 0, 0, "."], -2.5],
    ["STRING", "S'a\\x41\\n\\101\\'\\\\'\n.", "aA\nA'\\"],
    ["BINSTRING", ["T", le(2, 4), "ab."], "ab"],
    ["SHORT_BINSTRING", ["U", 2, "ab."], "ab"],
    ["UNICODE", "V\xe9\\u20ac\\U0001f600\n.", "é€😀"],
    ["BINUNICODE", ["X", le(2, 4), 0xc3, 0xa9, "."], "é"],
    ["SHORT_BINUNICODE", [0x8c, 2, 0xc3, 0xa9, "."], "é"],
    ["BINUNICODE8", [0x8d, le(2, 8), 0xc3, 0xa9, "."], "é"],
    ["BINBYTES", ["B", le(2, 4), 0, 255, "."], Uint8Array.of(0, 255)],
    ["SHORT_BINBYTES", ["C", 2, 0, 255, "."], Uint8Array.of(0, 255)],
    ["BINBYTES8", [0x8e, le(2, 8), 0, 255, "."], Uint8Array.of(0, 255)],
    ["BYTEARRAY8", [0x96, le(2, 8), 0, 255, "."], Uint8Array.of(0, 255)],
    ["EMPTY_LIST, APPEND", ["]", "N", "a", "."], [null]],
    ["APPENDS", ["](", "NK", 1, "e."], [null, 1]],
    ["LIST", ["(K", 1, "K", 2, "l."], [1, 2]],
    ["EMPTY_TUPLE", ").", []],
    ["TUPLE", "(NNNNt.", [null, null, null, null]],
    ["TUPLE1", ["N", 0x85, "."], [null]],
    ["TUPLE2", ["NK", 7, 0x86, "."], [null, 7]],
    ["TUPLE3", ["NNK", 7, 0x87, "."], [null, null, 7]],
    ["DICT", ["(", op.text("k"), "Nd."], [["k", null]]],
    ["SETITEM", ["}", op.text("k"), "Ns."], [["k", null]]],
    ["SETITEMS", ["}(", op.text("k"), "NK", 1, "Nu."], [["k", null], [1, null]]],
    ["EMPTY_SET, ADDITEMS", [0x8f, "(NK", 1, 0x90, "."], new Set([null, 1])],
    ["FROZENSET", ["(NK", 1, 0x91, "."], new Set([null, 1])],
    ["POP", "NI5\n0.", null],
    ["POP a MARK", "N(0.", null],
    ["POP_MARK", "N(NN1.", null],
    ["DUP", ["]N2", 0x86, "a."], [[null, null]]],
    ["PUT, GET", ["Np3\n0g3\n."], null],
    ["BINPUT, BINGET", ["K", 9, "q", 3, "0h", 3, "."], 9],
    ["LONG_BINPUT, LONG_BINGET", ["K", 9, "r", le(70000, 4), "0j", le(70000, 4), "."], 9],
    ["MEMOIZE", ["K", 9, 0x94, "0h", 0, "."], 9],
    ["FRAME", [op.proto(4), 0x95, le(2, 8), "N."], null],
    ["GLOBAL", [op.global("torch", "float32"), "."], "<torch.float32>"],
    ["STACK_GLOBAL", [op.stackGlobal("torch", "float32"), "."], "<torch.float32>"],
    ["REDUCE", [op.global("collections", "OrderedDict"), ")R."], []],
    ["NEWOBJ", [op.global("collections", "OrderedDict"), ")", 0x81, "."], []],
    ["NEWOBJ_EX", [op.global("collections", "OrderedDict"), ")}", 0x92, "."], []],
    ["INST", "(icollections\nOrderedDict\n.", []],
    ["OBJ", ["(", op.global("collections", "OrderedDict"), "o."], []],
    ["BUILD", [op.global("collections", "OrderedDict"), ")R}b."], []],
  ];
  for (const [name, parts, expected] of cases) assert.deepEqual(plain(read(parts)), expected, name);
});

Deno.test("readPickle() leaves the cursor behind STOP", () => {
  const cursor = ByteCursor.overBytes("x", bytes("N.K", 5, ".rest"));
  assert.equal(readPickle(cursor, policy), null);
  assert.equal(readPickle(cursor, policy), 5);
  assert.equal(cursor.remaining, 4);
});

Deno.test("readPickle() refuses a global that is not on the allow-list, by name, whatever opcode names it", () => {
  const refused =
    /^Error: x\.pkl: pickle: refuses global (os|posix)\.system; only collections\.OrderedDict and torch\.float32 are allowed$/;
  const payload = [op.text("touch marker"), 0x85];
  const attacks: Record<string, Part> = {
    "GLOBAL + REDUCE": [op.global("os", "system"), payload, "R."],
    "STACK_GLOBAL + REDUCE": [op.proto(4), op.stackGlobal("posix", "system"), payload, "R."],
    "GLOBAL + NEWOBJ": [op.global("os", "system"), payload, 0x81, "."],
    "GLOBAL + NEWOBJ_EX": [op.global("os", "system"), payload, "}", 0x92, "."],
    "INST": ["(", op.text("touch marker"), "ios\nsystem\n."],
    "OBJ": ["(", op.global("os", "system"), op.text("touch marker"), "o."],
    "GLOBAL + BUILD": [op.global("os", "system"), "}b."],
    "only named": [op.global("os", "system"), "."],
    "named and dropped": [op.global("os", "system"), "0N."],
    "names from the memo": [op.text("os"), "q", 0, op.text("system"), "q", 1, "00h", 0, "h", 1, 0x93, payload, "R."],
  };
  for (const [name, parts] of Object.entries(attacks)) assert.throws(() => read(parts), refused, name);
  for (const [module, name] of [["builtins", "eval"], ["__builtin__", "getattr"], ["torch", "load"], ["", ""]]) {
    assert.throws(() => read(op.global(module, name), "."), new RegExp(`refuses global ${module}\\.${name};`));
  }
  // Neither dotted lookups nor JavaScript's own properties are names on the list.
  assert.throws(
    () => read(op.stackGlobal("collections.OrderedDict", "clear"), "."),
    /refuses global collections\.OrderedDict\.clear/,
  );
  assert.throws(() => read(op.global("constructor", "prototype"), "."), /refuses global constructor\.prototype/);
});

Deno.test("readPickle() refuses extension codes, persistent ids, buffers and newer protocols", () => {
  assert.throws(() => read(0x82, 7, "."), /refuses extension code 7; only/);
  assert.throws(() => read(0x83, le(700, 2), "."), /refuses extension code 700; only/);
  assert.throws(() => read(0x84, le(70000, 4), "."), /refuses extension code 70000; only/);
  assert.throws(() => read("NQ."), /refuses persistent ids here/);
  assert.throws(() => read("Pid\n."), /persistent id written as text/);
  assert.throws(() => read(0x97, "."), /out-of-band buffers/);
  assert.throws(() => read("N", 0x98, "."), /out-of-band buffers/);
  assert.throws(() => read(op.proto(6), "N."), /protocol 6 is not supported/);
});

Deno.test("readPickle() calls nothing but what the allow-list has a builder for", () => {
  assert.throws(
    () => read(op.global("torch", "float32"), ")R."),
    /refuses to call torch\.float32; it may only be named/,
  );
  assert.throws(() => read(op.text("os.system"), ")R."), /refuses to call string/);
  assert.throws(() => read("])R."), /refuses to call list/);
  assert.throws(() => read(op.global("collections", "OrderedDict"), ")R)R."), /refuses to call dict/);
  assert.throws(() => read(op.global("torch", "float32"), "}b."), /refuses to set attributes of torch\.float32/);
  assert.throws(() => read("]}b."), /refuses to set attributes of list/);
  assert.throws(
    () => read(op.global("collections", "OrderedDict"), ")}", op.text("k"), "Ns", 0x92, "."),
    /refuses keyword arguments/,
  );
});

Deno.test("readPickle() checks every length before it makes anything of that length", () => {
  const huge = [le(2n ** 40n, 8), "x"];
  assert.throws(() => read(0x8d, huge), /truncated or damaged: expected 1099511627776 bytes at offset 9, got 1/);
  assert.throws(() => read(0x8e, huge), /truncated or damaged/);
  assert.throws(() => read(0x96, huge), /truncated or damaged/);
  assert.throws(() => read(0x95, huge), /truncated: a frame expects 1099511627776 bytes, got 1/);
  for (const opcode of ["X", "T", "B"]) {
    assert.throws(() => read(opcode, le(0xffffffff, 4), "x"), /truncated or damaged/);
  }
  assert.throws(() => read(0x8b, le(0x7fffffff, 4), "x"), /an integer of 2147483647 bytes; at most 256/);
  assert.throws(() => read("L" + "9".repeat(100_000) + "L\n."), /is not an integer/);
  assert.throws(() => read("V" + "x".repeat(2 ** 20 + 1) + "\n."), /text line of more than 1048576 bytes/);
});

Deno.test("readPickle() stops a pickle of endless opcodes", () => {
  assert.throws(() => read(new Uint8Array(2_100_000).fill(0x5d /* ] */)), /more than 2000000 opcodes/);
  assert.throws(() => read(new Uint8Array(2_100_000).fill(0x28 /* ( */)), /more than 2000000 opcodes/);
});

Deno.test("readPickle() names the damage of malformed pickles", () => {
  const cases: [Part, RegExp][] = [
    [".", /empty stack/],
    ["R.", /empty stack/],
    ["t.", /finds no MARK/],
    ["0.", /finds no MARK/],
    [["h", 3, "."], /memo entry 3 is used before it is set/],
    ["Na.", /empty stack/],
    ["NNa.", /appends to None/],
    ["NNNs.", /sets items of None/],
    ["}(Nu.", /a key without a value/],
    [["N", 0x87, "."], /a tuple of 3 finds 1 values/],
    ["NN\x93.", /a global is named by None and None/],
    ["Iabc\n.", /"abc" is not an integer/],
    ["Fabc\n.", /"abc" is not a number/],
    ["FtoString\n.", /"toString" is not a number/],
    ["Sabc\n.", /not quoted/],
    ["V\\Uffffffff\n.", /is not a character/],
    [["X", le(1, 4), 0xff, "."], /not UTF-8/],
    ["\xff.", /unknown opcode 0xff before offset 1/],
    ["(((", /expected 1 bytes at offset 3, got 0/],
  ];
  for (const [parts, message] of cases) {
    assert.throws(() => read(parts), (error: Error) => {
      assert.ok(error.message.startsWith("x.pkl: "), error.message);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("readPickle() reads a value or throws an Error for any bytes at all", () => {
  const opcodes = "()tuaesbRcCQ}]NKXq\x80\x81\x85\x86\x87\x88\x93\x94.0123lodig";
  const anyBytes = fc.array(
    fc.oneof(fc.nat(255), fc.constantFrom(...opcodes).map((character) => character.charCodeAt(0))),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(anyBytes, (data) => {
      try {
        read(Uint8Array.from(data));
      } catch (error) {
        assert.ok(error instanceof Error && error.message.startsWith("x.pkl: "), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
