import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { encodeJpeg } from "../../../../attribution/images/augment/jpeg.ts";
import { encodePng, type RgbImage } from "../../../../attribution/images/decode.ts";
import { fileFacts } from "../../../../attribution/images/facts/container.ts";
import type { FileFacts } from "../../../../attribution/images/facts/facts.ts";
import {
  exactQuality,
  libjpegLuma,
  libjpegTable,
  nearestQuality,
} from "../../../../attribution/images/facts/jpeg_tables.ts";
import { fixture } from "../fixtures.ts";

const odd = (name: string) => Deno.readFileSync(new URL(`../../../fixtures/odd_images/${name}`, import.meta.url));
const text = (value: string) => new TextEncoder().encode(value);
const pattern: RgbImage = {
  ...{ width: 24, height: 16 },
  data: Uint8Array.from({ length: 24 * 16 * 3 }, (_, i) => (i * i * 7 + i) % 256),
};
const plain = { depth: 8, transparency: false, pictures: 1 };

Deno.test("fileFacts() tells the quality of every JPEG that the program writes, 4:2:0", async () => {
  for (let quality = 1; quality <= 100; quality++) {
    const { jpeg, ...rest } = fileFacts(await encodeJpeg(pattern, quality));
    assert.deepEqual(rest, { format: "jpeg", ...plain });
    const { nearestQuality, ...exact } = jpeg!;
    assert.deepEqual(exact, { quality, subsampling: "4:2:0", progressive: false });
    assert.equal(nearestQuality, quality);
  }
});

Deno.test("fileFacts() tells subsampling, channels and progressive JPEGs", () => {
  const jpegs: Record<string, [quality: number | null, subsampling: string, progressive?: true]> = {
    "q30_420.jpg": [30, "4:2:0"],
    "q95_422.jpg": [95, "4:2:2"],
    "q100_444.jpg": [100, "4:4:4"],
    "progressive_420.jpg": [85, "4:2:0", true],
    "410.jpg": [75, "4:1:0"],
    "411.jpg": [75, "4:1:1"],
    "440.jpg": [75, "4:4:0"],
    "grey.jpg": [85, "1"],
    "cmyk.jpg": [90, "1x1,1x1,1x1,1x1"],
  };
  for (const [name, [quality, subsampling, progressive = false]] of Object.entries(jpegs)) {
    const { jpeg } = fileFacts(fixture(name));
    assert.deepEqual([jpeg!.subsampling, jpeg!.progressive], [subsampling, progressive], name);
    assert.equal(jpeg!.quality, quality, name);
  }
});

Deno.test("exactQuality() is null for tables of other programs, and nearestQuality() stays near", () => {
  const table = Uint16Array.from(libjpegTable(80), (step, i) => i === 5 ? step + 1 : step);
  assert.equal(exactQuality(table, undefined), null);
  assert.equal(nearestQuality(table), 80);
  assert.equal(exactQuality(Uint16Array.from(libjpegTable(80)), Uint16Array.from(libjpegTable(81, "chroma"))), null);
  assert.deepEqual(libjpegLuma.map((_, i) => nearestQuality(libjpegTable(i + 1)))[74], 75);
});

Deno.test("fileFacts() tells depth, transparency, number of pictures, orientation and program", async () => {
  const expected: Record<string, Partial<FileFacts>> = {
    "exif-rotated.jpg": { format: "jpeg", orientation: 6, software: "Editor 1.0" },
    "mpo-two-images.jpg": { format: "jpeg", pictures: 2 },
    "apng.png": { format: "png", pictures: 2 },
    "animated.webp": { format: "webp", pictures: 2, lossless: false },
    "lossless.webp": { format: "webp", lossless: true },
    "alpha-half.png": { format: "png", transparency: true },
    "trns-rgb.png": { format: "png", transparency: true },
    "gray16.png": { format: "png", depth: 16 },
    "palette.png": { format: "png" },
    "webp-named.png": { format: "webp", lossless: false },
    "no-eoi.jpg": { format: "jpeg" },
  };
  for (const [name, facts] of Object.entries(expected)) {
    const { jpeg: _, ...rest } = fileFacts(odd(name));
    assert.deepEqual(rest, { ...plain, ...facts }, name);
  }
  assert.deepEqual(fileFacts(await encodePng(pattern)), { format: "png", ...plain });
});

function withChunk(png: Uint8Array, type: string, content: Uint8Array): Uint8Array {
  const body = Buffer.concat([text(type), content]), head = Buffer.alloc(4), tail = Buffer.alloc(4);
  head.writeUInt32BE(content.length);
  tail.writeUInt32BE(crc32(body));
  return Buffer.concat([png.subarray(0, 33), head, body, tail, png.subarray(33)]);
}

Deno.test("fileFacts() names the program of PNG text and XMP data, clean and of at most 80 characters", async () => {
  const png = await encodePng(pattern);
  const software = (bytes: Uint8Array) => fileFacts(bytes).software;
  assert.equal(software(withChunk(png, "tEXt", text("Software\0Paint \x1b[31m 2"))), "Paint .[31m 2");
  assert.equal(software(withChunk(png, "tEXt", text(`Software\0${"a".repeat(5000)}`)))!.length, 80);
  assert.equal(software(withChunk(png, "tEXt", text("Comment\0Paint"))), undefined);
  const xmp = (inner: string) => text(`XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description ${inner}</x:xmpmeta>`);
  assert.equal(software(withChunk(png, "iTXt", xmp('xmp:CreatorTool="Maker 3"/>'))), "Maker 3");
  assert.equal(software(withChunk(png, "iTXt", xmp("/><xmp:CreatorTool>Maker 4</xmp:CreatorTool>"))), "Maker 4");
  const jpeg = await encodeJpeg(pattern, 90);
  const content = Buffer.concat([text("http://ns.adobe.com/xap/1.0/\0"), xmp("xmp:CreatorTool='Maker 5'/>")]);
  const segment = Buffer.concat([new Uint8Array([0xff, 0xe1, 0, content.length + 2]), content]);
  assert.equal(software(Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2)])), "Maker 5");
});
