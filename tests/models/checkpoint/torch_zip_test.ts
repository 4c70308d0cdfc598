import assert from "node:assert/strict";
import { openCheckpoint } from "../../../models/checkpoint/mod.ts";
import {
  bytes,
  f32Bytes,
  le,
  op,
  type Part,
  tensorParts,
  tensorsPickle,
  torchZip,
  withFile,
  zipFile,
} from "./build.ts";

const rejects = (name: string, content: Uint8Array, message: RegExp): Promise<void> =>
  withFile(name, content, (path) =>
    assert.rejects(openCheckpoint(path), (error: Error) => {
      assert.ok(error.message.startsWith(`${name}: `), error.message);
      assert.match(error.message, message);
      return true;
    }));

const COUNT = 300_000; // more than one chunk of the conversions
const ramp = Float32Array.from({ length: COUNT }, (_, i) => Math.sin(i));

Deno.test("openCheckpoint() reads deflated zip members, entry by entry", async () => {
  const pickle = tensorsPickle([
    { name: "a", shape: [COUNT / 100, 100], length: COUNT },
    { name: "part", shape: [3], offset: COUNT - 3, length: COUNT },
    { name: "b", shape: [2, 2], strides: [1, 2], key: "1", length: 4 },
    { name: "half", shape: [3], key: "2", storage: "HalfStorage", length: 3 },
  ]);
  const half = bytes(le(0x3c00, 2), le(0xc000, 2), le(0x7c00, 2));
  const file = await torchZip(pickle, { "0": new Uint8Array(ramp.buffer), "1": f32Bytes(1, 2, 3, 4), "2": half }, 6);
  await withFile("deflated.pth", file, async (path) => {
    const source = await openCheckpoint(path);
    assert.deepEqual(await source.readF32("a"), ramp);
    assert.deepEqual(await source.readF16("a"), new Uint16Array(new Float16Array(ramp).buffer));
    assert.deepEqual(await source.readF32("part"), ramp.slice(-3));
    assert.deepEqual(await source.readF32("b"), Float32Array.of(1, 3, 2, 4));
    assert.deepEqual(await source.readF32("half"), Float32Array.of(1, -2, Infinity));
    assert.deepEqual(await source.readF16("half"), Uint16Array.of(0x3c00, 0xc000, 0x7c00));
    source.close();
  });
});

Deno.test("a deflated member that inflates to another size, or not at all, is an error that names it", async () => {
  const pickle = tensorsPickle([{ name: "a", shape: [COUNT], length: COUNT }]);
  const file = await torchZip(pickle, { "0": new Uint8Array(ramp.buffer) }, 6);
  const text = new TextDecoder("latin1").decode(file);
  const start = text.indexOf("archive/data/0") + 14;
  file.fill(0xff, start + 1000, start + 1100); // inside the compressed data
  await withFile("bad.pth", file, async (path) => {
    const source = await openCheckpoint(path);
    await assert.rejects(
      source.readF32("a"),
      /^Error: bad\.pth: readF32: tensor "a": zip member "archive\/data\/0": (damaged|truncated): /,
    );
    source.close();
  });
});

Deno.test("tensors share storages, start inside them, and have any strides", async () => {
  const pickle = tensorsPickle([
    { name: "all", shape: [2, 3, 4], length: 24 },
    { name: "permuted", shape: [4, 2, 3], strides: [1, 12, 4], length: 24 },
    { name: "column", shape: [6], strides: [4], offset: 3, length: 24 },
    { name: "expanded", shape: [2, 3], strides: [0, 1], offset: 5, length: 24 },
    { name: "scalar", shape: [], offset: 23, length: 24 },
    { name: "empty", shape: [0, 7], length: 24 },
    { name: "odd strides of ones", shape: [1, 3, 1], strides: [99, 1, 5], length: 24 },
  ]);
  const values = Float32Array.from({ length: 24 }, (_, i) => i);
  await withFile("views.pth", await torchZip(pickle, { "0": new Uint8Array(values.buffer) }), async (path) => {
    const source = await openCheckpoint(path);
    const read = async (name: string) => Array.from(await source.readF32(name));
    assert.deepEqual(await read("all"), Array.from(values));
    const permuted = [];
    for (let k = 0; k < 4; k++) {
      for (let i = 0; i < 2; i++) for (let j = 0; j < 3; j++) permuted.push(i * 12 + j * 4 + k);
    }
    assert.deepEqual(await read("permuted"), permuted);
    assert.deepEqual(await read("column"), [3, 7, 11, 15, 19, 23]);
    assert.deepEqual(await read("expanded"), [5, 6, 7, 5, 6, 7]);
    assert.deepEqual(await read("scalar"), [23]);
    assert.deepEqual(await read("empty"), []);
    assert.deepEqual(await read("odd strides of ones"), [0, 1, 2]);
    await assert.rejects(source.readF32("nothing"), /^Error: views\.pth: readF32: no tensor is named "nothing"$/);
    source.close();
  });
});

Deno.test("views that pick little out of much are read in pieces", async () => {
  // 24 MiB of values, of which the views touch a few: beyond the window of 4 MiB, by one axis and by several.
  const length = 6 * 2 ** 20;
  const values = Float32Array.from({ length }, (_, i) => i);
  const views = [
    { name: "column", shape: [6000], strides: [1001], offset: 3 },
    { name: "wide", shape: [5], strides: [2 ** 20 + 1], offset: 1 },
    { name: "block", shape: [4, 3, 2], strides: [1_500_000, 1001, 3], offset: 11 },
    { name: "turned", shape: [2, 3, 4], strides: [3, 1001, 1_500_000], offset: 11 },
  ];
  const pickle = tensorsPickle(views.map((view) => ({ ...view, length })));
  await withFile("views.pth", await torchZip(pickle, { "0": new Uint8Array(values.buffer) }), async (path) => {
    const source = await openCheckpoint(path);
    for (const { name, shape, strides, offset } of views) {
      let expected = [offset];
      shape.forEach((size, axis) => {
        expected = expected.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * strides[axis]));
      });
      assert.deepEqual(Array.from(await source.readF32(name)), expected, name);
    }
    source.close();
  });
});

Deno.test("integers are rounded to float32 once, also beyond 2^53", async () => {
  const pickle = tensorsPickle([{ name: "n", shape: [4], storage: "LongStorage", length: 4 }]);
  // 2^60 + 2^36 is half way between two float32; one more is not, but float64 cannot tell them apart.
  const values = BigInt64Array.of(
    2n ** 60n + 2n ** 36n,
    2n ** 60n + 2n ** 36n + 1n,
    -(2n ** 60n + 2n ** 36n + 1n),
    -7n,
  );
  await withFile("long.pth", await torchZip(pickle, { "0": new Uint8Array(values.buffer) }), async (path) => {
    const source = await openCheckpoint(path);
    assert.deepEqual(Array.from(await source.readF32("n")), [2 ** 60, 2 ** 60 + 2 ** 37, -(2 ** 60 + 2 ** 37), -7]);
    await assert.rejects(
      source.readI32("n"),
      /readI32: tensor "n": expects values that fit 32 bits, got 1152921573326323712/,
    );
    source.close();
  });
});

Deno.test("a byteorder record other than little is refused by name", async () => {
  const pickle = tensorsPickle([{ name: "a", shape: [1], length: 1 }]);
  const members = (order: string) => ({
    "m/data.pkl": pickle,
    "m/byteorder": bytes(order),
    "m/data/0": f32Bytes(1),
  });
  await rejects("big.pth", await zipFile(members("big")), /byte order expects little, got "big"/);
  await withFile("little.pth", await zipFile(members("little")), async (path) => {
    const source = await openCheckpoint(path);
    assert.deepEqual(await source.readF32("a"), Float32Array.of(1));
    source.close();
  });
});

Deno.test("a tensor that does not fit its storage is refused when the file is opened", async () => {
  const make = (recipe: Omit<Parameters<typeof tensorsPickle>[0][number], "name">) =>
    torchZip(tensorsPickle([{ name: "w", ...recipe }]), { "0": f32Bytes(1, 2, 3, 4) });
  await rejects("a.pth", await make({ shape: [5], length: 4 }), /"w": needs 5 elements of its storage, got 4/);
  await rejects("b.pth", await make({ shape: [2], offset: 3, length: 4 }), /needs 5 elements of its storage, got 4/);
  await rejects("c.pth", await make({ shape: [2, 2], strides: [3, 1], length: 4 }), /needs 5 elements/);
  await rejects("d.pth", await make({ shape: [8], length: 8 }), /"w" expects 32 bytes in data\/0, got 16/);
  await rejects("e.pth", await make({ shape: [1], key: "9", length: 1 }), /bytes in data\/9, got no such member/);
  await rejects(
    "f.pth",
    await make({ shape: [-1], length: 4 }),
    /a tensor's size expects a whole number from 0 on, got -1/,
  );
  await rejects("g.pth", await make({ shape: [2], strides: [-1], offset: 3, length: 4 }), /a tensor's stride expects/);
  await rejects("h.pth", await make({ shape: [2, 2], strides: [1], length: 4 }), /expects 2 strides, got 1/);
  await rejects(
    "i.pth",
    await make({ shape: [2 ** 20, 2 ** 20], strides: [0, 0], length: 4 }),
    /repeats 4 stored elements to/,
  );
  await rejects(
    "j.pth",
    await make({ shape: [2 ** 30, 2 ** 30], strides: [0, 0], length: 4 }),
    /\[1073741824,1073741824\] has too many elements/,
  );
  await rejects("k.pth", await make({ shape: Array(40).fill(1), length: 4 }), /has 40 dimensions; at most 32/);
  const twice = tensorsPickle([{ name: "w", shape: [1], length: 1 }]);
  const duplicated = bytes(
    op.proto(2),
    "}(",
    op.text("a.b"),
    tensorParts({ name: "", shape: [1], length: 1 }),
    op.text("a"),
    ["}", op.text("b"), tensorParts({ name: "", shape: [1], length: 1 }), "s"],
    "u.",
  );
  await rejects("l.pth", await torchZip(duplicated, { "0": f32Bytes(1) }), /"a\.b": two have this name/);
  await withFile(
    "ok.pth",
    await torchZip(twice, { "0": f32Bytes(1) }),
    async (path) => (await openCheckpoint(path)).close(),
  );
});

Deno.test("the same containers over and over do not make a file of a few hundred bytes endless", async () => {
  // Each list holds the one before it twice: 2^40 leaves.
  const doubling = (leaf: Part) => {
    const levels = Array.from({ length: 40 }, () => ["q", 0, "0]h", 0, "ah", 0, "a"]);
    return bytes(op.proto(2), leaf, levels, ".");
  };
  const tensor = tensorParts({ name: "", shape: [1], length: 1 });
  const data = { "0": f32Bytes(1) };
  await rejects("laughs.pth", await torchZip(doubling(tensor), data), /refuses more than 100000 tensors/);
  await withFile("barren.pth", await torchZip(doubling("N"), data), async (path) => {
    const source = await openCheckpoint(path); // no tensor in it: seen once, passed over ever after
    assert.equal(source.tensors.size, 0);
    source.close();
  });
  const nested = bytes(op.proto(2), tensor, Array.from({ length: 100_000 }, () => ["q", 0, "0]h", 0, "a"]), ".");
  await rejects("deep.pth", await torchZip(nested, data), /nested more than 64 deep/);
  const itself = bytes(op.proto(2), "]q", 0, "h", 0, "a.");
  await rejects("loop.pth", await torchZip(itself, data), /nested more than 64 deep/);
  const longNames = bytes(op.proto(2), "}", op.text("x".repeat(5000)), tensor, "s.");
  await rejects("name.pth", await torchZip(longNames, data), /a tensor name of 5000 characters/);
});

Deno.test("tensors, names and arguments that a small file multiplies by sharing are bounded", async () => {
  const tensor = tensorParts({ name: "", shape: [1], length: 1 });
  const data = { "0": f32Bytes(1) };
  /** Dicts within dicts, each with the one before it under 12 keys. */
  const tree = (levels: number, key: string) => {
    const dict = (i: number): Part => ["}(", Array.from({ length: 12 }, (_, j) => [op.text(key + j), "h", i]), "u"];
    return bytes(op.proto(2), tensor, Array.from({ length: levels }, (_, i) => ["q", i, "0", dict(i)]), ".");
  };
  await withFile("shared.pth", await torchZip(tree(3, ""), data, 9), async (path) => {
    const source = await openCheckpoint(path);
    assert.equal(source.tensors.size, 12 ** 3);
    source.close();
  });
  await rejects("bomb.pth", await torchZip(tree(6, ""), data, 9), /refuses more than 100000 tensors/);
  const names = await torchZip(tree(5, "x".repeat(300)), data, 9);
  assert.ok(names.length < 8192, `${names.length} bytes`);
  await rejects("names.pth", names, /refuses tensor names of more than 16777216 characters/);

  const many = Array.from({ length: 10_000 }, () => "N");
  const set = [op.global("builtins", "set"), "h", 0, 0x85, "R"];
  const sets = bytes(op.proto(2), "](", many, "eq", 0, "0](", Array.from({ length: 1000 }, () => set), "e.");
  await rejects("sets.pth", await torchZip(sets, data, 9), /refuses calls with more than 8000000 values/);
  const dimensions = bytes(op.proto(2), tensorParts({ name: "", shape: Array(65).fill(1), length: 1 }), ".");
  await rejects("dimensions.pth", await torchZip(dimensions, data), /65 dimensions; at most 64 are read/);
});

Deno.test("a zip archive that is no checkpoint is refused", async () => {
  await rejects("pictures.zip", await zipFile({ "a.png": bytes("png") }), /expected one <name>\/data\.pkl, got 0/);
  const pickle = bytes("N.");
  await rejects("two.zip", await zipFile({ "a/data.pkl": pickle, "b/data.pkl": pickle }), /expected one .*, got 2/);
  await rejects("empty.zip", await zipFile({}), /expected one <name>\/data\.pkl, got 0/);
});

Deno.test("a zip member cannot claim more than its bytes can hold", async () => {
  const pickle = tensorsPickle([{ name: "a", shape: [4], length: 4 }]);
  const file = await torchZip(pickle, { "0": f32Bytes(1, 2, 3, 4) }, 6);
  // The size in the central directory of data/0 becomes 3 GiB.
  const view = new DataView(file.buffer);
  const text = new TextDecoder("latin1").decode(file);
  const name = text.lastIndexOf("archive/data/0");
  assert.equal(view.getUint32(name - 46, true), 0x02014b50);
  view.setUint32(name - 46 + 24, 3 * 2 ** 30, true);
  await rejects("bomb.pth", file, /"archive\/data\/0": damaged: \d+ bytes cannot hold 3221225472/);
});
