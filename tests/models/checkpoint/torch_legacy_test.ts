import assert from "node:assert/strict";
import { openCheckpoint } from "../../../models/checkpoint/mod.ts";
import { bytes, f32Bytes, le, op, tensorsPickle, torchLegacy, withFile } from "./build.ts";

const rejects = (content: Uint8Array, message: RegExp): Promise<void> =>
  withFile("old.pth", content, (path) =>
    assert.rejects(openCheckpoint(path), (error: Error) => {
      assert.ok(error.message.startsWith("old.pth: "), error.message);
      assert.match(error.message, message);
      return true;
    }));

Deno.test("openCheckpoint() reads legacy storages of several types, also views of storages", async () => {
  const pickle = tensorsPickle([
    { name: "a", shape: [2, 2], length: 4, key: "7" },
    { name: "last", shape: [2], offset: 1, length: 4, key: "7", part: ["view", 1, 3] },
    { name: "bytes", shape: [3], length: 3, key: "x", storage: "ByteStorage" },
    { name: "flags", shape: [2], length: 2, key: "b", storage: "BoolStorage" },
  ], true);
  const file = torchLegacy(pickle, {
    "x": { length: 3, data: bytes(1, 2, 255) },
    "7": { length: 4, data: f32Bytes(1, 2, 3, 4) },
    "b": { length: 2, data: bytes(0, 1) },
  });
  await withFile("old.pth", file, async (path) => {
    const source = await openCheckpoint(path);
    assert.deepEqual(await source.readF32("a"), Float32Array.of(1, 2, 3, 4));
    assert.deepEqual(await source.readF32("last"), Float32Array.of(3, 4));
    assert.deepEqual(await source.readI32("bytes"), Int32Array.of(1, 2, 255));
    assert.deepEqual(await source.readF32("flags"), Float32Array.of(0, 1));
    assert.deepEqual(source.tensors.get("flags")!.dtype, "bool");
    source.close();
  });
});

Deno.test("openCheckpoint() refuses legacy files that contradict themselves", async () => {
  const data = { "0": { length: 4, data: f32Bytes(1, 2, 3, 4) } };
  const tensor = { name: "w", shape: [4], length: 4 };
  await rejects(torchLegacy(tensorsPickle([tensor], true), data, false), /byte order expects little, got big/);
  await rejects(
    torchLegacy(tensorsPickle([{ ...tensor, length: 3 }], true), data),
    /storage 0 expects 3 elements, got 4/,
  );
  await rejects(
    torchLegacy(tensorsPickle([{ ...tensor, key: "1" }], true), data),
    /no tensor says what type storage "0" has/,
  );
  await rejects(torchLegacy(tensorsPickle([tensor], true), {}), /tensor "w" has no storage 0/);
  await rejects(
    torchLegacy(tensorsPickle([tensor, { ...tensor, name: "v", storage: "IntStorage" }], true), data),
    /storage 0 is described in two ways/,
  );
  await rejects(
    torchLegacy(tensorsPickle([{ ...tensor, part: ["v", 2, 4] }], true), data),
    /truncated or damaged: expected 16 bytes at offset 8, got 8/,
  );
  await rejects(
    torchLegacy(tensorsPickle([tensor], true), { "0": { length: 4, data: f32Bytes(1, 2) } }),
    /truncated or damaged: expected 16 bytes at offset \d+, got 8/,
  );
  const magic = [op.proto(2), 0x8a, 10, le(0x1950a86a20f9469cfc6cn, 10), "."];
  await rejects(bytes(magic, "M", le(1002, 2), "."), /legacy format expects protocol 1001, got 1002/);
  await rejects(bytes(magic), /truncated or damaged: expected 1 bytes/);
});

Deno.test("openCheckpoint() recognises legacy files of protocol 0, whose magic number is text", async () => {
  const file = bytes("L119547037146038801333356L\n.", "I1001\n.", "(d.", "(d.", "(l.");
  await withFile("text.pth", file, async (path) => {
    const source = await openCheckpoint(path);
    assert.equal(source.tensors.size, 0);
    source.close();
  });
});
