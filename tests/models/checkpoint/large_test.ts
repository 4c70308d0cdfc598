// Files beyond 4 GiB: sparse, so that they take no space on disk, with values at a few places only. Reading those must
// use the right 64-bit positions and must not need memory in proportion to the file.

import assert from "node:assert/strict";
import { describeCheckpoint, openCheckpoint } from "../../../models/checkpoint/mod.ts";
import { testAlone } from "../../alone.ts";
import { bytes, f32Bytes, le, type Part, tensorsPickle, torchLegacy } from "./build.ts";

const GIB = 2 ** 30;
/** Bytes of the large tensor: 5 GiB and a bit. */
const LARGE = 5 * GIB + 64;

/** Writes pieces at their positions, leaving holes between them. */
async function withSparseFile(
  name: string,
  pieces: readonly [position: number, data: Uint8Array][],
  use: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "checkpoint-test-" });
  try {
    const path = `${folder}/${name}`;
    const file = await Deno.open(path, { write: true, createNew: true });
    for (const [position, data] of pieces) {
      await file.seek(position, Deno.SeekMode.Start);
      for (let done = 0; done < data.length;) done += await file.write(data.subarray(done) as Uint8Array<ArrayBuffer>);
    }
    file.close();
    await use(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs `use` and returns by how many bytes the process grew meanwhile. */
async function growth(use: () => Promise<void>): Promise<number> {
  const before = Deno.memoryUsage().rss;
  await use();
  return Deno.memoryUsage().rss - before;
}

const MIB = 2 ** 20;
const MAX_GROWTH = 256 * MIB;

testAlone(
  import.meta.filename!,
  "a safetensors file of 5 GiB is read tensor by tensor, beyond 4 GiB, in little memory",
  async () => {
    const header = JSON.stringify({
      large: { dtype: "F32", shape: [LARGE / 4], data_offsets: [0, LARGE] },
      after: { dtype: "F32", shape: [2, 2], data_offsets: [LARGE, LARGE + 16] },
      longs: { dtype: "I64", shape: [1], data_offsets: [LARGE + 16, LARGE + 24] },
    });
    const text = bytes(header.padEnd(Math.ceil(header.length / 8) * 8));
    const start = 8 + text.length;
    const pieces: [number, Uint8Array][] = [
      [0, bytes(le(text.length, 8), text)],
      [start + LARGE, bytes(f32Bytes(1, 2, 3, 4), le(-5n & 0xffffffffffffffffn, 8))],
    ];
    await withSparseFile("large.safetensors", pieces, async (path) => {
      const grown = await growth(async () => {
        const source = await openCheckpoint(path);
        assert.deepEqual(source.tensors.get("large")!.shape, [LARGE / 4]);
        assert.deepEqual(await source.readF32("after"), Float32Array.of(1, 2, 3, 4));
        assert.deepEqual(await source.readI32("longs"), Int32Array.of(-5));
        source.close();
      });
      assert.ok(grown < MAX_GROWTH, `grew by ${grown / MIB} MiB`);
      assert.equal((await describeCheckpoint(path)).bytes, start + LARGE + 24);
    });
  },
);

/** Local header of a stored zip64 member, as torch writes it. */
function localHeader(name: string, size: number): Uint8Array {
  const extra = size >= 0xffffffff ? [le(1, 2), le(16, 2), le(size, 8), le(size, 8)] : [];
  const short = size >= 0xffffffff ? 0xffffffff : size;
  return bytes(
    [le(0x04034b50, 4), le(45, 2), le(0x0800, 2), le(0, 2), le(0, 4), le(0, 4), le(short, 4), le(short, 4)],
    [le(name.length, 2), le(extra.length === 0 ? 0 : 20, 2), name, extra],
  );
}

/** Central directory entry; sizes and offset that do not fit 32 bits go to the zip64 field. */
function directoryEntry(name: string, size: number, offset: number): Part {
  const extra: Part[] = [];
  if (size >= 0xffffffff) extra.push(le(size, 8), le(size, 8));
  if (offset >= 0xffffffff) extra.push(le(offset, 8));
  const field = extra.length === 0 ? [] : bytes(le(1, 2), le(bytes(extra).length, 2), extra);
  const short = (value: number) => le(Math.min(value, 0xffffffff), 4);
  return [
    [le(0x02014b50, 4), le(45, 2), le(45, 2), le(0x0800, 2), le(0, 2), le(0, 4), le(0, 4), short(size), short(size)],
    [le(name.length, 2), le(field.length, 2), le(0, 2), le(0, 2), le(0, 2), le(0, 4), short(offset), name, field],
  ];
}

testAlone(import.meta.filename!, "a zip64 PyTorch file of 5 GiB is read beyond 4 GiB, in little memory", async () => {
  const pickle = tensorsPickle([
    { name: "large", shape: [LARGE / 4], length: LARGE / 4 },
    { name: "tail of large", shape: [4], offset: LARGE / 4 - 4, length: LARGE / 4 },
    { name: "column of large", shape: [2], strides: [GIB], offset: 7, length: LARGE / 4 },
    { name: "after", shape: [2, 2], key: "1", length: 4 },
  ]);
  const members: [name: string, size: number, data: [number, Uint8Array][]][] = [
    ["big/data.pkl", pickle.length, [[0, pickle]]],
    // the two values of the column, 4 GiB apart, and the last four values
    ["big/data/0", LARGE, [[28, f32Bytes(70)], [28 + 4 * GIB, f32Bytes(71)], [LARGE - 16, f32Bytes(5, 6, 7, 8)]]],
    ["big/data/1", 16, [[0, f32Bytes(1, 2, 3, 4)]]],
    ["big/byteorder", 6, [[0, bytes("little")]]],
  ];
  const pieces: [number, Uint8Array][] = [];
  const directory: Part[] = [];
  let position = 0;
  for (const [name, size, data] of members) {
    const header = localHeader(name, size);
    pieces.push([position, header]);
    directory.push(directoryEntry(name, size, position));
    for (const [at, values] of data) pieces.push([position + header.length + at, values]);
    position += header.length + size;
  }
  const entries = bytes(directory);
  const count = members.length;
  const end = position + entries.length;
  pieces.push([
    position,
    bytes(
      entries,
      [le(0x06064b50, 4), le(44, 8), le(45, 2), le(45, 2), le(0, 4), le(0, 4), le(count, 8), le(count, 8)],
      [le(entries.length, 8), le(position, 8)],
      [le(0x07064b50, 4), le(0, 4), le(end, 8), le(1, 4)],
      [
        le(0x06054b50, 4),
        le(0, 2),
        le(0, 2),
        le(count, 2),
        le(count, 2),
        le(entries.length, 4),
        le(0xffffffff, 4),
        le(0, 2),
      ],
    ),
  ]);
  await withSparseFile("large.pth", pieces, async (path) => {
    const grown = await growth(async () => {
      const source = await openCheckpoint(path);
      assert.deepEqual(source.tensors.get("large")!.shape, [LARGE / 4]);
      assert.deepEqual(await source.readF32("tail of large"), Float32Array.of(5, 6, 7, 8));
      assert.deepEqual(await source.readF32("after"), Float32Array.of(1, 2, 3, 4));
      assert.deepEqual(await source.readF32("column of large"), Float32Array.of(70, 71));
      source.close();
    });
    assert.ok(grown < MAX_GROWTH, `grew by ${grown / MIB} MiB`);
  });
});

testAlone(import.meta.filename!, "a legacy PyTorch file of 5 GiB is read beyond 4 GiB, in little memory", async () => {
  const pickle = tensorsPickle([
    { name: "large", shape: [LARGE / 4], length: LARGE / 4 },
    { name: "tail of large", shape: [4], offset: LARGE / 4 - 4, length: LARGE / 4 },
    { name: "after", shape: [4], key: "1", length: 4, storage: "HalfStorage" },
  ], true);
  const front = torchLegacy(pickle, {
    "0": { length: LARGE / 4, data: new Uint8Array(0) },
    "1": { length: 4, data: new Uint8Array(0) },
  });
  const data = front.length - 8; // the second storage's length comes after the first one's values
  const pieces: [number, Uint8Array][] = [
    [0, front.subarray(0, data)],
    [data + LARGE - 16, f32Bytes(5, 6, 7, 8)],
    [data + LARGE, bytes(le(4, 8), [0x3c00, 0x4000, 0x4200, 0x4400].map((half) => le(half, 2)))],
  ];
  await withSparseFile("large_legacy.pth", pieces, async (path) => {
    const grown = await growth(async () => {
      const source = await openCheckpoint(path);
      assert.deepEqual(await source.readF32("tail of large"), Float32Array.of(5, 6, 7, 8));
      assert.deepEqual(await source.readF32("after"), Float32Array.of(1, 2, 3, 4));
      source.close();
    });
    assert.ok(grown < MAX_GROWTH, `grew by ${grown / MIB} MiB`);
  });
});
