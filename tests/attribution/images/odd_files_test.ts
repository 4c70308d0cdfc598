import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { crc32, deflateSync } from "node:zlib";
import {
  decodeImage,
  imageNotes,
  type RgbImage,
  UnreadableImageError,
  type UnreadableReason,
} from "../../../attribution/images/decode.ts";
import { readSegments } from "../../../attribution/images/jpeg_segments.ts";
import { sha256Hex } from "../../../util/hash.ts";
import { assertSamePixels, fixture, manifest } from "./fixtures.ts";

const folder = new URL("../../fixtures/odd_images/", import.meta.url);
const odd = (name: string) => Deno.readFileSync(new URL(name, folder));
const text = (value: string) => new TextEncoder().encode(value);

const pillow: Record<string, { size?: [number, number]; mean?: number; sha?: string }> = JSON.parse(
  Deno.readTextFileSync(new URL("pillow.json", folder)),
);

async function refused(bytes: Uint8Array, reason: UnreadableReason, message: RegExp, name: string) {
  await assert.rejects(decodeImage(bytes), (error) => {
    assert.ok(error instanceof UnreadableImageError, `${name}: ${error}`);
    assert.match(error.message, message, name);
    assert.equal(error.reason, reason, `${name}: ${error.message}`);
    return true;
  }, name);
}

async function same(bytes: Uint8Array, plain: RgbImage, notes: readonly string[], name: string) {
  assertSamePixels(await decodeImage(bytes), plain, name);
  assert.deepEqual(imageNotes(bytes), notes, name);
}

/** Files whose pixels are Pillow's, and their notes. */
const decoded: Record<string, readonly string[]> = {
  "no-eoi.jpg": ["no end-of-image marker"],
  "no-eoi-trailer.jpg": ["no end-of-image marker"],
  "stray-zero-between-segments.jpg": ["3 stray bytes between segments"],
  "stray-text-between-segments.jpg": ["5 stray bytes between segments"],
  "bad-crc-text.png": ["wrong checksum of the chunk tEXt, which pixels do not depend on"],
  "exif-rotated.jpg": ["EXIF orientation 6 is not applied", "EXIF software: Editor 1.0"],
  "mpo-two-images.jpg": ["the first of 2 images"],
  "apng.png": ["the first of 2 frames"],
  "animated.webp": ["the first of 2 frames"],
  "alpha-half.png": ["transparency is dropped"],
  "trns-rgb.png": ["transparency is dropped"],
  "fill-ff-between-segments.jpg": [],
  "trailing-zip.jpg": [],
  "trailing-junk.png": [],
  "progressive.jpg": [],
  "restart-markers.jpg": [],
  "gray.jpg": [],
  "cmyk.jpg": [],
  "bad-iccp.png": [],
  "duplicate-iccp.png": [],
  "interlaced-like.png": [],
  "palette.png": [],
  "lossless.webp": [],
  "webp-named.png": [],
};

Deno.test("decodeImage() gives Pillow's pixels of odd files, and imageNotes() says what is odd", async () => {
  for (const [name, notes] of Object.entries(decoded)) {
    const { width, height, data } = await decodeImage(odd(name), { name });
    const sha = (await sha256Hex(new Uint8Array(data))).slice(0, 16);
    assert.deepEqual({ size: [width, height], sha }, { size: pillow[name].size, sha: pillow[name].sha }, name);
    assert.deepEqual(imageNotes(odd(name)), notes, name);
  }
});

Deno.test("decodeImage() takes the high byte of grey of 16 bits, where Pillow clips, and a note says so", async () => {
  const bytes = odd("gray16.png");
  assertSamePixels(await decodeImage(bytes), await decodeImage(asBytes(bytes)), "gray16.png");
  assert.ok(new Set((await decodeImage(bytes)).data).size > 100, "a white image");
  assert.deepEqual(imageNotes(bytes), ["16 bits per sample, of which the high byte is taken"]);
});

Deno.test("imageNotes() says what is not applied to the pixels of a fixture, and nothing of most", () => {
  for (const name of Object.keys(manifest.files)) {
    const notes: string[] = [];
    if (name.includes("depth16")) notes.push("16 bits per sample, of which the high byte is taken");
    if (/^colour[46]|rgba|grey_alpha|trns|^alpha|animated_offset/.test(name)) notes.push("transparency is dropped");
    if (name === "orientation6.jpg") notes.push("EXIF orientation 6 is not applied");
    if (name.startsWith("animated")) {
      notes.push(...imageNotes(fixture(name)).filter((note) => /^the first of [23] frames$/.test(note)));
      assert.ok(notes.length > 0, name);
    }
    assert.deepEqual(imageNotes(fixture(name)), notes, name);
  }
});

Deno.test("imageNotes() survives EXIF data of any content", () => {
  const jpeg = fixture("orientation6.jpg");
  const start = Buffer.from(jpeg).indexOf("Exif");
  const end = start - 2 + Buffer.from(jpeg).readUInt16BE(start - 2);
  assert.ok(end >= start + 26, `${end - start} bytes`);
  for (let at = start; at < end; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      assert.ok(Array.isArray(imageNotes(Object.assign(jpeg.slice(), { [at]: value }))), `byte ${at}: ${value}`);
    }
  }
});

/** Files that are refused, why, and what the message says. */
const refusals: Record<string, [UnreadableReason, RegExp]> = {
  "cgbi.png": ["unsupported", /optimised for iOS .*CgBI.*export it again as an ordinary PNG/],
  "lfs-pointer.png": ["not-an-image", /a Git LFS pointer .*git lfs pull/],
  "html-error.jpg": ["not-an-image", /a web page \(HTML\).*download the image again/],
  "svg.png": ["unsupported", /got SVG; convert it to PNG/],
};

Deno.test("decodeImage() names files that are no images of ours, and says what to do", async () => {
  for (const [name, [reason, message]] of Object.entries(refusals)) await refused(odd(name), reason, message, name);
  const others: [string, Uint8Array, RegExp][] = [
    ["zip", Buffer.concat([text("PK\x03\x04"), Buffer.alloc(40)]), /a zip archive; unzip it first/],
    ["empty zip", Buffer.concat([text("PK\x05\x06"), Buffer.alloc(18)]), /a zip archive; unzip it first/],
    ["gzip", new Uint8Array([0x1f, 0x8b, 8, 0]), /gzip; unpack it first/],
    ["7z", new Uint8Array([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]), /a 7z archive; unpack it first/],
    ["tar", Buffer.concat([Buffer.alloc(257, "a"), text("ustar"), Buffer.alloc(250)]), /a tar archive; unpack it/],
    ["webm", new Uint8Array([0x1a, 0x45, 0xdf, 0xa3, 1]), /a video \(Matroska or WebM\); save the frames/],
    ["avi", text("RIFF\0\0\0\0AVI LIST"), /a video \(AVI\); save the frames/],
    ...["isom", "mp42", "avc1", "qt  ", "M4V ", "3gp5", "iso6"].map((brand): [string, Uint8Array, RegExp] => [
      brand,
      Buffer.concat([new Uint8Array([0, 0, 0, 32]), text(`ftyp${brand}`), Buffer.alloc(20)]),
      new RegExp(`a video \\(${brand.trim()}\\); save the frames to attribute as PNG files$`),
    ]),
  ];
  for (const [name, bytes, message] of others) await refused(bytes, "unsupported", message, name);
  assert.deepEqual(
    new Set([...Object.keys(decoded), ...Object.keys(refusals), "gray16.png"]),
    new Set(Object.keys(pillow)),
    "a file of the folder has no test",
  );
});

/** Offsets of the segments of a JPEG, up to the scan header. */
function segmentsOf(jpeg: Uint8Array): number[] {
  const offsets = [];
  for (let at = 2;; at += 2 + 256 * jpeg[at + 2] + jpeg[at + 3]) {
    offsets.push(at);
    if (jpeg[at + 1] === 0xda) return offsets;
  }
}

function inserted(bytes: Uint8Array, at: number, more: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]);
}

Deno.test("decodeImage() skips stray bytes before any segment of a JPEG but the first", async () => {
  for (const name of ["q95_420.jpg", "progressive_444.jpg", "restart_420.jpg", "cmyk.jpg"]) {
    const whole = fixture(name);
    const plain = await decodeImage(whole);
    const [, ...offsets] = segmentsOf(whole);
    for (const at of offsets) {
      for (const stray of ["\0", "stray text", "a\xff\0b"]) {
        const bytes = Uint8Array.from(stray, (char) => char.charCodeAt(0));
        const count = bytes.filter((byte) => byte !== 0xff).length;
        const note = `${count} stray bytes between segments`;
        await same(inserted(whole, at, bytes), plain, [note], `${name}, ${JSON.stringify(stray)} at ${at}`);
      }
    }
    const everywhere = offsets.toReversed().reduce(
      (bytes, at) => inserted(bytes, at, text("xyz")),
      whole as Uint8Array,
    );
    await same(everywhere, plain, [`${3 * offsets.length} stray bytes between segments`], `${name}, everywhere`);
  }
});

Deno.test("decodeImage() reads a JPEG without its end-of-image marker if its scans are complete", async () => {
  const names = ["q30_420.jpg", "q95_444.jpg", "progressive_420.jpg", "restart_420.jpg", "restart_progressive.jpg"];
  for (const name of [...names, "restart_blocks_422.jpg", "grey.jpg", "cmyk.jpg", "410.jpg"]) {
    const whole = fixture(name);
    assert.deepEqual([...whole.subarray(-2)], [0xff, 0xd9], name);
    const plain = await decodeImage(whole);
    for (const end of [-2, -1]) await same(whole.subarray(0, end), plain, ["no end-of-image marker"], `${name} ${end}`);
    for (const end of [-3, -4, -40]) {
      await refused(whole.subarray(0, end), "truncated", /the file ends/, `${name} ${end}`);
    }
    // Bytes of a vendor behind the scan: without markers, with one that no image has, and another image.
    const foreign = [
      text("vendor"),
      new Uint8Array([1, 2, 0xff, 0x37, 0, 9]),
      new Uint8Array([0xff, 0xd8, 0xff, 0xe0]),
    ];
    for (const trailer of foreign) {
      const bytes = Buffer.concat([whole.subarray(0, -2), trailer]);
      await same(bytes, plain, ["no end-of-image marker"], `${name} with ${trailer}`);
    }
  }
});

Deno.test("decodeImage() refuses a JPEG that ends between its scans", async () => {
  for (const name of ["progressive_420.jpg", "progressive_444.jpg"]) {
    const whole = fixture(name);
    const starts = [...whole].flatMap((byte, at) => byte === 0xff && whole[at + 1] === 0xda ? [at] : []);
    assert.ok(starts.length >= 10, `${name}: ${starts.length} scans`);
    for (const start of starts) {
      // The scan's table comes before it, so the file ends in or before a segment.
      await refused(whole.subarray(0, start), "truncated", /the file ends/, `${name} at ${start}`);
    }
  }
});

Deno.test("decodeImage() refuses arithmetic coding without an end: its decoder adds zeros without a warning", async () => {
  await refused(fixture("arithmetic.jpg").subarray(0, -2), "truncated", /the file ends/, "arithmetic.jpg");
});

function chunk(type: string, content: Uint8Array, isIntact = true): Uint8Array {
  const body = Buffer.concat([text(type), content]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(content.length, 0);
  frame.writeUInt32BE((crc32(body) ^ Number(!isIntact)) >>> 0, 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

const afterHeader = 33;

/**
 * The same data read as 8 bits per sample: grey of 16 bits is then grey with alpha, and grey with alpha is RGBA. Their
 * first channel, which libpng decodes, is the high byte of grey.
 */
function asBytes(deep: Uint8Array): Uint8Array {
  const header = deep.slice(16, 29), isGrey = header[9] === 0;
  header[8] = 8;
  header[9] = isGrey ? 4 : 6;
  return Buffer.concat([deep.subarray(0, 8), chunk("IHDR", header), deep.subarray(afterHeader)]);
}

/** A PNG with 16 bits per sample of any content; rows have the filters 0 to 4 in turns. */
function deepPng(width: number, height: number, colourType: number, interlace = 0, more = 0): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([16, colourType, 0, 0, interlace], 8);
  const pixelBytes = colourType === 0 ? 2 : 4;
  const steps = interlace === 0 ? [[0, 0, 1, 1]] : [
    ...[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]],
  ];
  const rows = steps.flatMap(([x, y, dx, dy], pass) => {
    const columns = Math.ceil((width - x) / dx), count = Math.ceil((height - y) / dy);
    return columns <= 0
      ? []
      : Array.from({ length: Math.max(0, count) }, (_, j) =>
        Uint8Array.from({ length: 1 + columns * pixelBytes }, (_, i) =>
          i === 0 ? (pass + j) % 5 : 37 * i * i + 91 * j));
  });
  const data = deflateSync(
    Buffer.concat([...rows, new Uint8Array(Math.max(0, more))]).subarray(0, more < 0 ? more : undefined),
  );
  const signature = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const half = data.length >> 1;
  // A Buffer's slice() would share its memory.
  return new Uint8Array(Buffer.concat([
    ...[signature, chunk("IHDR", header), chunk("IDAT", data.subarray(0, half)), chunk("IDAT", data.subarray(half))],
    chunk("IEND", new Uint8Array()),
  ]));
}

Deno.test("decodeImage() reads 16 bits of any size, filter and interlacing as libpng reads their bytes", async () => {
  for (const [width, height] of [[1, 1], [3, 2], [5, 9], [17, 16], [40, 33]]) {
    for (const colourType of [0, 4]) {
      for (const interlace of [0, 1]) {
        const deep = deepPng(width, height, colourType, interlace);
        const { data } = await decodeImage(asBytes(deep));
        const high = data.map((_, i) => data[i - i % 3]);
        assertSamePixels(
          await decodeImage(deep),
          { width, height, data: high },
          `${width}x${height} ${colourType} ${interlace}`,
        );
      }
    }
  }
});

Deno.test("decodeImage() refuses 16 bits with damaged, missing or too much data", async () => {
  const whole = deepPng(17, 16, 0), at = Buffer.from(whole).indexOf("IDAT");
  await refused(Object.assign(whole.slice(), { [at + 6]: whole[at + 6] ^ 1 }), "corrupt", /IDAT: CRC error/, "IDAT");
  await refused(Object.assign(whole.slice(), { 30: whole[30] ^ 1 }), "corrupt", /IHDR: CRC error/, "IHDR");
  await refused(deepPng(17, 16, 0, 0, 1), "corrupt", /Too much image data/, "one byte more");
  await refused(deepPng(17, 16, 0, 0, 300_000_000), "corrupt", /Too much image data/, "300 MB more");
  await refused(deepPng(17, 16, 0, 0, -1), "corrupt", /Not enough image data/, "one byte less");
  await refused(inserted(whole, at - 4, chunk("ABCD", text("x"))), "unsupported", /critical chunk ABCD/, "a new chunk");
  await refused(whole.subarray(0, -12), "truncated", /before the chunk IEND/, "no end");
  const note = "wrong checksum of the chunk tEXt, which pixels do not depend on";
  const notes = ["16 bits per sample, of which the high byte is taken", note];
  await same(inserted(whole, at - 4, chunk("tEXt", text("a"), false)), await decodeImage(whole), notes, "tEXt");
});

Deno.test("decodeImage() ignores a wrong checksum of any chunk that pixels do not depend on", async () => {
  const whole = fixture("pillow_rgb.png");
  const plain = await decodeImage(whole);
  const contents: Record<string, Uint8Array> = {
    ...{ gAMA: new Uint8Array([0, 0, 0xb1, 0x8f]), pHYs: new Uint8Array(9), tIME: new Uint8Array(7) },
    ...{ iCCP: text("x\0\0"), sRGB: new Uint8Array(1), bKGD: new Uint8Array(6), prVt: text("private") },
  };
  const end = whole.length - 12;
  for (const [type, content] of Object.entries(contents)) {
    const note = `wrong checksum of the chunk ${type}, which pixels do not depend on`;
    await same(inserted(whole, afterHeader, chunk(type, content, false)), plain, [note], type);
    await same(inserted(whole, end, chunk(type, content, false)), plain, [note], `${type} at the end`);
    await same(inserted(whole, afterHeader, chunk(type, content)), plain, [], `${type}, intact`);
  }
});

Deno.test("decodeImage() refuses a wrong checksum of IHDR, PLTE, IDAT and tRNS", async () => {
  const damaged = (bytes: Uint8Array, type: string) => {
    const at = Buffer.from(bytes).indexOf(type);
    assert.ok(at > 0, type);
    const length = Buffer.from(bytes).readUInt32BE(at - 4);
    return Object.assign(bytes.slice(), { [at + 4 + length]: bytes[at + 4 + length] ^ 1 });
  };
  const palette = fixture("pillow_palette_trns.png");
  for (const type of ["IHDR", "PLTE", "IDAT", "tRNS"]) {
    await refused(damaged(palette, type), "corrupt", /CRC error/, type);
  }
  await refused(damaged(odd("trns-rgb.png"), "tRNS"), "corrupt", /tRNS: CRC error/, "tRNS of RGB");
});

Deno.test("decodeImage() refuses a PNG with a chunk between its chunks IDAT", async () => {
  const whole = fixture("colour2_depth8.png"); // several chunks IDAT
  const second = Buffer.from(whole).indexOf("IDAT", Buffer.from(whole).indexOf("IDAT") + 4) - 4;
  await refused(inserted(whole, second, chunk("teXt", text("x"))), "corrupt", /between chunks IDAT/, "teXt");
});

Deno.test("decodeImage() does not inflate text and profiles: 1000 chunks of 8 MB each", async () => {
  const whole = fixture("pillow_rgb.png");
  const plain = await decodeImage(whole);
  const zeros = deflateSync(new Uint8Array(8 << 20));
  for (const [type, head] of [["zTXt", "key\0\0"], ["iTXt", "key\0\x01\0\0\0"], ["iCCP", "key\0\0"]]) {
    const bomb = Buffer.concat(Array<Uint8Array>(1000).fill(chunk(type, Buffer.concat([text(head), zeros]))));
    await same(inserted(whole, afterHeader, bomb), plain, [], type);
  }
});

Deno.test("decodeImage() does not gather metadata of a JPEG: 300,000 segments", async () => {
  const whole = fixture("q95_420.jpg");
  const plain = await decodeImage(whole);
  // ImageMagick joins these, in a time that grows with the square of their number: 80,000 profiles took 14 s.
  const kinds: [number, string][] = [
    ...[[0xe2, "ICC_PROFILE\0\x01\x01"], [0xed, "Photoshop 3.0\0"]] as [number, string][],
    ...[[0xe1, "http://ns.adobe.com/xap/1.0/\0"], [0xfe, "a comment"]] as [number, string][],
  ];
  for (const [marker, head] of kinds) {
    const segment = new Uint8Array(104).fill(65);
    segment.set([0xff, marker, 0, 102]);
    segment.set(text(head), 4);
    const many = Buffer.concat(Array<Uint8Array>(300_000).fill(segment));
    await same(inserted(whole, segmentsOf(whole)[1], many), plain, [], head);
  }
});

Deno.test("decodeImage() refuses a JPEG with more than 64 scans before it decodes any", async () => {
  const whole = fixture("progressive_420.jpg");
  const last = whole.findLastIndex((byte, at) => byte === 0xff && whole[at + 1] === 0xda);
  const scan = whole.subarray(last, -2);
  const scans = whole.filter((byte, at) => byte === 0xff && whole[at + 1] === 0xda).length;
  const withScans = (count: number) =>
    inserted(whole, last, Buffer.concat(Array<Uint8Array>(count - scans).fill(scan)));
  await refused(withScans(65), "too-large", /^JPEG: more than 64 scans$/, "65 scans");
  assert.equal(readSegments(withScans(64)).hasEnd, true);
});
