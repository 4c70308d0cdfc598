import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  openCheckpoint,
  openSafetensors,
  type SafetensorsEntry,
  type StoredDType,
  writeSafetensors,
} from "../../../models/checkpoint/mod.ts";
import { bytes, GOLDEN, le, withFile } from "./build.ts";

/** Runs `use` with an empty folder that is removed afterwards. */
async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "checkpoint-test-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function rawFile(header: unknown, data: Uint8Array | number): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  return bytes(le(text.length, 8), text, typeof data === "number" ? new Uint8Array(data) : data);
}

const rejects = (content: Uint8Array, message: RegExp): Promise<void> =>
  withFile("m.safetensors", content, (path) =>
    assert.rejects(openSafetensors(path), (error: Error) => {
      assert.ok(error.message.startsWith("m.safetensors: "), error.message);
      assert.match(error.message, message);
      return true;
    }));

Deno.test("writeSafetensors() and openSafetensors() round-trip every element type", () =>
  withFolder(async (folder) => {
    const path = `${folder}/all.safetensors`;
    const data: Record<StoredDType, ArrayBufferView> = {
      bool: Uint8Array.of(0, 1, 1),
      u8: Uint8Array.of(0, 1, 255),
      i8: Int8Array.of(-128, 0, 127),
      i16: Int16Array.of(-32768, 0, 32767),
      bf16: Uint16Array.of(0x3f80, 0xc000, 0x7f80),
      f16: Uint16Array.of(0x3c00, 0xc000, 0x0001),
      i32: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1),
      f32: Float32Array.of(-1.5, Infinity, 1e-45),
      i64: BigInt64Array.of(-1n, 0n, 123456n),
      f64: Float64Array.of(-1.5, 1e300, 0.1),
    };
    const entries: SafetensorsEntry[] = Object.entries(data).map(([dtype, values]) => ({
      name: `t.${dtype}`,
      shape: [3, 1],
      dtype: dtype as StoredDType,
      data: () => values,
    }));
    await writeSafetensors(path, entries, { format: "pt", note: 'é "quoted"' });
    const source = await openSafetensors(path);
    assert.equal(source.label, "all.safetensors");
    assert.deepEqual([...source.metadata], [["format", "pt"], ["note", 'é "quoted"']]);
    const read = async (dtype: StoredDType) => Array.from(await source.readF32(`t.${dtype}`));
    assert.deepEqual(await read("bool"), [0, 1, 1]);
    assert.deepEqual(await read("u8"), [0, 1, 255]);
    assert.deepEqual(await read("i8"), [-128, 0, 127]);
    assert.deepEqual(await read("i16"), [-32768, 0, 32767]);
    assert.deepEqual(await read("bf16"), [1, -2, Infinity]);
    assert.deepEqual(await read("f16"), [1, -2, 2 ** -24]);
    assert.deepEqual(await read("i32"), [-(2 ** 31), 0, 2 ** 31]);
    assert.deepEqual(await source.readI32("t.i32"), data.i32);
    assert.deepEqual(await read("f32"), [-1.5, Infinity, 2 ** -149]);
    assert.deepEqual(await read("i64"), [-1, 0, 123456]);
    assert.deepEqual(await source.readI32("t.i64"), Int32Array.of(-1, 0, 123456));
    assert.deepEqual(await read("f64"), [-1.5, Infinity, Math.fround(0.1)]);
    assert.deepEqual(await source.readF16("t.f16"), data.f16);
    assert.deepEqual(await source.readF16("t.bf16"), Uint16Array.of(0x3c00, 0xc000, 0x7c00));
    source.close();
    assert.deepEqual(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["all.safetensors"]);
  }));

Deno.test("writeSafetensors() aligns every tensor and writes what the format demands", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    async function* entries(): AsyncGenerator<SafetensorsEntry> {
      yield { name: "bytes", shape: [3], dtype: "u8", data: () => Uint8Array.of(1, 2, 3) };
      await Promise.resolve();
      yield { name: "__proto__", shape: [], dtype: "f64", data: () => Promise.resolve(Float64Array.of(7)) };
      yield { name: "half", shape: [1], dtype: "f16", data: () => Uint16Array.of(5) };
      yield { name: "nothing", shape: [0, 4], dtype: "f32", data: () => new Float32Array(0) };
      // a part of a larger buffer: only the part is written
      yield { name: "part", shape: [2], dtype: "f32", data: () => Float32Array.of(0, 1, 2, 3).subarray(1, 3) };
    }
    await writeSafetensors(path, entries());
    const content = await Deno.readFile(path);
    const length = Number(new DataView(content.buffer).getBigUint64(0, true));
    assert.equal(length % 8, 0);
    const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
      new TextDecoder().decode(content.subarray(8, 8 + length)),
    );
    assert.deepEqual(Object.entries(header).map(([name, { data_offsets }]) => [name, ...data_offsets]), [
      ["__proto__", 0, 8],
      ["nothing", 8, 8],
      ["part", 8, 16],
      ["half", 16, 18],
      ["bytes", 18, 21],
    ]);
    assert.equal(content.length, 8 + length + 21);
    const source = await openCheckpoint(path);
    assert.deepEqual(await source.readF32("part"), Float32Array.of(1, 2));
    assert.deepEqual(await source.readF32("__proto__"), Float32Array.of(7));
    assert.deepEqual(source.tensors.get("nothing")!.shape, [0, 4]);
    source.close();
  }));

Deno.test("writeSafetensors() holds one tensor at a time and leaves nothing behind when it fails", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    await Deno.writeTextFile(path, "what was there before");
    const asked: string[] = [];
    const entry = (name: string, length: number): SafetensorsEntry => ({
      name,
      shape: [2],
      dtype: "f32",
      data: () => {
        asked.push(name);
        return new Float32Array(length);
      },
    });
    await assert.rejects(
      writeSafetensors(path, [entry("a", 2), entry("b", 3), entry("c", 2)]),
      /^Error: a\.safetensors: writeSafetensors: tensor "b": \[2\] of f32 expects 8 bytes, got 12$/,
    );
    assert.deepEqual(asked, ["a", "b"]);
    await assert.rejects(writeSafetensors(path, [entry("a", 2), entry("a", 2)]), /two tensors are named "a"/);
    await assert.rejects(writeSafetensors(path, [entry("__metadata__", 2)]), /two tensors are named "__metadata__"/);
    await assert.rejects(writeSafetensors(path, [{ ...entry("a", 2), shape: [-2] }]), /impossible shape \[-2\]/);
    assert.deepEqual(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["a.safetensors"]);
    assert.equal(await Deno.readTextFile(path), "what was there before");
    await writeSafetensors(path, [entry("a", 2)]);
    (await openSafetensors(path)).close();
  }));

Deno.test("tensors come in file order, also when their names are numbers", () =>
  withFolder(async (folder) => {
    const names = ["b", "10", "a", "2"];
    const path = `${folder}/n.safetensors`;
    await writeSafetensors(
      path,
      names.map((name) => ({ name, shape: [1], dtype: "f32", data: () => new Float32Array(1) })),
    );
    const source = await openSafetensors(path);
    assert.deepEqual([...source.tensors.keys()], names);
    source.close();
  }));

Deno.test("writeSafetensors() of any tensors gives back names, shapes, types and bits", () =>
  withFolder(async (folder) => {
    const tensor = fc.record({
      shape: fc.array(fc.nat(4), { maxLength: 4 }),
      dtype: fc.constantFrom<StoredDType>("f32", "f16", "i32", "u8"),
      seed: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string({ unit: "grapheme" }), tensor, { maxKeys: 8 }), async (tensors) => {
        const make = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u8: Uint8Array };
        const entries = Object.entries(tensors).filter(([name]) => name !== "__metadata__").map(
          ([name, { shape, dtype, seed }]) => {
            const values = new make[dtype as keyof typeof make](shape.reduce((a, b) => a * b, 1));
            values.forEach((_, i) => values[i] = (seed + i * 37) % 200);
            return { name, shape, dtype, values, data: () => values };
          },
        );
        const path = `${folder}/p.safetensors`;
        await writeSafetensors(path, entries);
        const source = await openCheckpoint(path);
        assert.deepEqual(new Set(source.tensors.keys()), new Set(entries.map(({ name }) => name)));
        for (const { name, shape, dtype, values } of entries) {
          assert.deepEqual(source.tensors.get(name)!.shape, shape);
          assert.equal(source.tensors.get(name)!.dtype, dtype);
          const read = dtype === "f32"
            ? await source.readF32(name)
            : dtype === "f16"
            ? await source.readF16(name)
            : await source.readI32(name);
          assert.deepEqual(Array.from(read), Array.from(values));
        }
        source.close();
      }),
      { numRuns: 60 },
    );
  }));

Deno.test("openSafetensors() refuses headers that cannot be", async () => {
  await rejects(bytes(1, 2, 3), /truncated or damaged: expected 8 bytes at offset 0, got 3/);
  await rejects(bytes(le(1000, 8), "{}"), /truncated: expected a header of 1000 bytes, got 2/);
  await rejects(bytes(le(2n ** 40n, 8), "{}"), /header expects at most 100000000 bytes, got 1099511627776/);
  await rejects(rawFile("{not json", 0), /damaged: the header is not JSON/);
  await rejects(rawFile("[]", 0), /damaged: the header is not a JSON object/);
  await rejects(rawFile({ a: 3 }, 0), /damaged: the entry of "a" is not an object/);
  await rejects(rawFile({ __metadata__: { a: 3 } }, 0), /metadata "a" is not text/);
  await rejects(
    rawFile({ a: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } }, 1),
    /tensor "a": element type F8_E4M3 is not supported; F64, F32,/,
  );
  await rejects(rawFile({ a: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }, 4), /shape is not a list of sizes/);
  await rejects(rawFile({ a: { dtype: "F32", shape: "x", data_offsets: [0, 4] } }, 4), /shape is not a list of sizes/);
  await rejects(rawFile({ a: { dtype: "F32", shape: [1], data_offsets: [0] } }, 4), /data_offsets is not a pair/);
  await rejects(rawFile({ a: { dtype: "F32", shape: [1], data_offsets: [8, 4] } }, 8), /expects 4 bytes, got -4/);
  await rejects(
    rawFile({ a: { dtype: "F32", shape: [2], data_offsets: [0, 4] } }, 4),
    /\[2\] of f32 expects 8 bytes, got 4/,
  );
});

Deno.test("openSafetensors() refuses overlaps, holes and another file size, saying expected and got", async () => {
  const tensor = (begin: number, end: number) => ({
    dtype: "F32",
    shape: [(end - begin) / 4],
    data_offsets: [begin, end],
  });
  await rejects(
    rawFile({ a: tensor(0, 8), b: tensor(4, 12) }, 12),
    /"b" overlaps the tensor before it: expected to begin at 8, got 4/,
  );
  await rejects(
    rawFile({ b: tensor(12, 16), a: tensor(0, 8) }, 16),
    /"b" leaves a hole before it: expected to begin at 8, got 12/,
  );
  await rejects(rawFile({ a: tensor(0, 400) }, 100), /truncated: expected 400 bytes of values, got 100/);
  await rejects(rawFile({ a: tensor(0, 4) }, 100), /damaged: expected 4 bytes of values, got 100/);
  await rejects(
    rawFile({ a: { dtype: "F32", shape: [2 ** 30, 2 ** 30], data_offsets: [0, 2 ** 52] } }, 8),
    /tensor "a": .*expects/,
  );
});

Deno.test("a safetensors copy of a PyTorch file has the same tensors in the same order", async () => {
  await withFolder(async (folder) => {
    const torch = await openCheckpoint(`${GOLDEN}checkpoints/vqvae_tiny.pth`);
    const path = `${folder}/copy.safetensors`;
    await writeSafetensors(
      path,
      [...torch.tensors.values()].map(({ name, shape, dtype }) => ({
        name,
        shape,
        dtype,
        data: () => torch.readF32(name),
      })),
    );
    const copy = await openCheckpoint(path);
    assert.deepEqual([...copy.tensors.keys()], [...torch.tensors.keys()]);
    for (const name of torch.tensors.keys()) {
      assert.deepEqual(await copy.readF32(name), await torch.readF32(name), name);
    }
    copy.close();
    torch.close();
  });
});
