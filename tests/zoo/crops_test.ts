/** The crops on disk, and the resource files that photographs are read from. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { uniforms } from "../../core/tensor/random.ts";
import { CropsWriter, loadCrops, writeClasses } from "../../zoo/crops.ts";
import { readResource } from "../../zoo/rcc.ts";
import { withFolder } from "../attribution/files.ts";

const side = 64;

const crop = (seed: number) => ({
  scale: 160,
  x: seed,
  y: 2,
  pixels: Uint8Array.from(uniforms(seed, 1, side * side * 3), (u) => u * 256),
});

async function written(dir: string): Promise<void> {
  const writer = await CropsWriter.open(dir, side);
  writer.add("train", 0, crop(1));
  writer.add("val", 1, crop(2));
  writer.add("train", 2, crop(3));
  await writer.close(["a", "b", "c"]);
}

Deno.test("loadCrops() gives back what was written, with photograph and class of each crop", async () => {
  await withFolder(async (dir) => {
    await written(dir);
    await writeClasses(dir, { train: Uint8Array.of(4, 7), val: Uint8Array.of(1), outlier: new Uint8Array(0) });
    const train = await loadCrops(dir, "train");
    assert.equal(train.count, 2);
    assert.equal(train.side, side);
    assert.deepEqual(train.pixels, Uint8Array.from([...crop(1).pixels, ...crop(3).pixels]));
    assert.deepEqual(train.classes, Uint8Array.of(4, 7));
    assert.deepEqual(train.photo, Uint16Array.of(0, 2));
    const val = await loadCrops(dir, "val");
    assert.deepEqual([val.count, val.classes[0], val.photo[0]], [1, 1, 1]);
    assert.notEqual(val.fingerprint, train.fingerprint);
    assert.equal((await loadCrops(dir, "outlier")).count, 0);
  });
});

Deno.test("loadCrops() refuses missing, truncated, changed and foreign files, and says what to do", async () => {
  await withFolder(async (dir) => {
    const refuses = (pattern: RegExp) =>
      assert.rejects(loadCrops(dir, "train"), (error: Error) => {
        assert.match(error.message, pattern);
        assert.match(error.message, /deno task zoo-photos/);
        return true;
      });
    await refuses(/index\.json cannot be read/);
    await written(dir);
    await refuses(/has no classes/);
    await assert.rejects(
      loadCrops(dir, "train", { side: 128 }),
      /expects crops of 128 pixels, got 64; write the folder again with `deno task zoo-photos`/,
    );
    assert.deepEqual((await loadCrops(dir, "train", { withoutClasses: true })).classes, new Uint8Array(2));
    await assert.rejects(
      writeClasses(dir, { train: Uint8Array.of(1), val: Uint8Array.of(1), outlier: new Uint8Array(0) }),
      /train expects 2 classes, got 1/,
    );
    await writeClasses(dir, { train: Uint8Array.of(4, 7), val: Uint8Array.of(1), outlier: new Uint8Array(0) });

    const path = join(dir, "train.u8"), bytes = await Deno.readFile(path);
    await Deno.writeFile(path, bytes.subarray(1));
    await refuses(/train\.u8 expects 24576 bytes, got 24575/);
    const changed = bytes.slice();
    changed[100] ^= 1;
    await Deno.writeFile(path, changed);
    await refuses(/train\.u8 expects sha256/);
    await Deno.remove(path);
    await refuses(/train\.u8 cannot be read/);
    await Deno.writeFile(path, bytes);
    await Deno.writeFile(join(dir, "train.classes.u8"), Uint8Array.of(4, 6));
    await refuses(/train\.classes\.u8 expects sha256/);

    await Deno.writeTextFile(join(dir, "index.json"), `{"format":"other"}`);
    await refuses(/expects format zoo-crops-1 with the side of crops, got other/);
    await Deno.writeTextFile(join(dir, "index.json"), "not json");
    await refuses(/index\.json cannot be read/);
  });
});

Deno.test("CropsWriter refuses a crop of another size", async () => {
  await withFolder(async (dir) => {
    const writer = await CropsWriter.open(dir, side);
    assert.throws(() => writer.add("val", 0, { ...crop(1), pixels: new Uint8Array(9) }), /expects 12288 bytes, got 9/);
    await writer.close([]);
  });
});

/** A resource with `dir/a.bin` stored plainly and `dir/b.bin` with zlib, as version 1 or 2. */
function resource(version: 1 | 2, a: Uint8Array, b: Uint8Array): Uint8Array {
  const names = ["dir", "a.bin", "b.bin"].map((name) => {
    const out = new DataView(new ArrayBuffer(6 + 2 * name.length));
    out.setUint16(0, name.length);
    for (let i = 0; i < name.length; i++) out.setUint16(6 + 2 * i, name.charCodeAt(i));
    return new Uint8Array(out.buffer);
  });
  const packed = deflateSync(b), stored = new Uint8Array(4 + packed.length);
  new DataView(stored.buffer).setUint32(0, b.length);
  stored.set(packed, 4);
  const blobs = [a, stored].map((bytes) => {
    const out = new Uint8Array(4 + bytes.length);
    new DataView(out.buffer).setUint32(0, bytes.length);
    out.set(bytes, 4);
    return out;
  });
  const size = version === 1 ? 14 : 22;
  const tree = new DataView(new ArrayBuffer(4 * size));
  const node = (i: number, name: number, flags: number, low: number, high: number) => {
    tree.setUint32(i * size, name);
    tree.setUint16(i * size + 4, flags);
    tree.setUint32(i * size + 6, low);
    tree.setUint32(i * size + 10, high);
  };
  node(0, 0, 2, 1, 1);
  node(1, 0, 2, 2, 2);
  node(2, names[0].length, 0, 0, 0);
  node(3, names[0].length + names[1].length, 1, 0, blobs[0].length);
  const head = new DataView(new ArrayBuffer(20));
  const dataAt = 20, namesAt = dataAt + blobs[0].length + blobs[1].length;
  const treeAt = namesAt + names.reduce((sum, name) => sum + name.length, 0);
  [0x71726573, version, treeAt, dataAt, namesAt].forEach((value, i) => head.setUint32(4 * i, value));
  const parts = [new Uint8Array(head.buffer), ...blobs, ...names, new Uint8Array(tree.buffer)];
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

Deno.test("readResource() reads plain and compressed files of both layouts, and refuses other or cut files", () => {
  const a = Uint8Array.of(1, 2, 3), b = new Uint8Array(300).fill(7);
  for (const version of [1, 2] as const) {
    const bytes = resource(version, a, b);
    assert.deepEqual(readResource(bytes).map(({ path, bytes }) => [path, Array.from(bytes)]), [
      ["dir/a.bin", Array.from(a)],
      ["dir/b.bin", Array.from(b)],
    ]);
    assert.throws(() => readResource(bytes.subarray(0, bytes.length - 20)), /beyond the end/);
  }
  assert.throws(() => readResource(new Uint8Array(40)), /begins with `qres`/);
});
