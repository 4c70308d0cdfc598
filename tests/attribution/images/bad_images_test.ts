import assert from "node:assert/strict";
import { join } from "node:path";
import { Buffer } from "node:buffer";
import { crc32, deflateSync } from "node:zlib";
import {
  decodeImage,
  encodePng,
  readImage,
  UnreadableImageError,
  type UnreadableReason,
} from "../../../attribution/images/decode.ts";
import { testAlone } from "../../alone.ts";
import { assertSamePixels, fixture, manifest } from "./fixtures.ts";

/** The file must be refused for this reason, with a message that says at least this. */
async function refused(bytes: Uint8Array, reason: UnreadableReason, message: RegExp, maxPixels?: number) {
  await assert.rejects(decodeImage(bytes, { maxPixels }), (error) => {
    assert.ok(error instanceof UnreadableImageError, `${error}`);
    assert.match(error.message, message);
    assert.equal(error.reason, reason, error.message);
    return true;
  });
}

const text = (value: string) => new TextEncoder().encode(value);

function chunk(type: string, content: Uint8Array): Uint8Array {
  const body = Buffer.concat([text(type), content]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(content.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG with any header and any image data. */
function png(
  header: { width: number; height: number; depth?: number; colour?: number; interlace?: number },
  idat: Uint8Array,
  ...before: Uint8Array[]
): Uint8Array {
  const ihdr = Buffer.alloc(13);
  ihdr.writeUInt32BE(header.width, 0);
  ihdr.writeUInt32BE(header.height, 4);
  ihdr.set([header.depth ?? 8, header.colour ?? 2, 0, 0, header.interlace ?? 0], 8);
  const signature = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  return Buffer.concat([
    signature,
    chunk("IHDR", ihdr),
    ...before,
    chunk("IDAT", idat),
    chunk("IEND", new Uint8Array()),
  ]);
}

Deno.test("decodeImage() refuses an empty file", async () => {
  await refused(new Uint8Array(0), "empty", /empty \(0 bytes\)/);
});

Deno.test("decodeImage() refuses text renamed to .png and shows how it starts", async () => {
  await refused(
    text("hello, this is not a picture"),
    "not-an-image",
    /expected PNG, JPEG or WebP, got text \("hello, this/,
  );
  await refused(new Uint8Array([1, 2, 3, 250]), "not-an-image", /unknown content \(first bytes 01 02 03 fa\)/);
});

Deno.test("decodeImage() names the formats that it does not read", async () => {
  const files: [string, Uint8Array][] = [
    ["GIF", text("GIF89a............")],
    ["BMP", Buffer.concat([text("BM"), Buffer.alloc(60)])],
    ["TIFF", new Uint8Array([0x49, 0x49, 42, 0, 8, 0, 0, 0])],
    ["TIFF", new Uint8Array([0x4d, 0x4d, 0, 42, 0, 0, 0, 8])],
    ["AVIF", Buffer.concat([new Uint8Array([0, 0, 0, 32]), text("ftypavif"), Buffer.alloc(20)])],
    ["HEIF", Buffer.concat([new Uint8Array([0, 0, 0, 32]), text("ftypheic"), Buffer.alloc(20)])],
    ["JPEG XL", new Uint8Array([0xff, 0x0a, 1, 2])],
    ["SVG", text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')],
    ["PDF", text("%PDF-1.7")],
  ];
  for (const [name, bytes] of files) {
    await refused(bytes, "unsupported", new RegExp(`expected PNG, JPEG or WebP, got ${name}; convert it`));
  }
});

Deno.test("decodeImage() names the flavours of JPEG that it does not read", async () => {
  const whole = fixture("q95_444.jpg");
  const frame = whole.findIndex((byte, i) => byte === 0xff && whole[i + 1] === 0xc0);
  const changed = (at: number, value: number) => Object.assign(whole.slice(), { [frame + at]: value });
  await refused(changed(1, 0xc5), "unsupported", /SOF type 0xc5/); // hierarchical
  await refused(changed(4, 11), "unsupported", /precision 11/);
});

Deno.test("decodeImage() refuses a 20,000 x 20,000 PNG from its header, before decoding", async () => {
  const whole = png({ width: 20000, height: 20000, depth: 1, colour: 0 }, deflateSync(new Uint8Array(20000 * 2501)));
  await refused(whole, "too-large", /^20000x20000 is 400000000 pixels, at most 67108864 are allowed \(--max-pixels\)$/);
  // Image data that no decoder could read: whoever answers "too-large" has not looked at it.
  await refused(png({ width: 20000, height: 20000 }, text("garbage")), "too-large", /20000x20000/);
});

Deno.test("decodeImage() honours maxPixels for every format", async () => {
  for (const name of ["pillow_rgb.png", "q95_420.jpg", "lossy.webp"]) {
    const { width, height } = manifest.files[name];
    await refused(fixture(name), "too-large", /35x29 is 1015 pixels, at most 1014/, width * height - 1);
    await decodeImage(fixture(name), { maxPixels: width * height });
  }
});

testAlone(
  import.meta.filename!,
  "decodeImage() stops inflating a PNG whose data is larger than its header says",
  async () => {
    await refused(png({ width: 4, height: 4 }, deflateSync(new Uint8Array(60))), "corrupt", /Too much image data/);
    const bomb = png({ width: 4, height: 4 }, deflateSync(new Uint8Array(300_000_000)));
    const before = Deno.memoryUsage().rss;
    await refused(bomb, "corrupt", /Too much image data/);
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < 64e6, `300 MB of image data for 4x4 pixels took ${grown} bytes of memory`);
  },
);

Deno.test("decodeImage() refuses every PNG that is cut short, wherever the cut is", async () => {
  for (const name of ["pillow_rgb.png", "colour3_depth4_interlaced.png"]) {
    const whole = fixture(name);
    for (let length = 1; length < whole.length; length++) {
      await refused(whole.subarray(0, length), "truncated", /the file ends/);
    }
  }
});

Deno.test("decodeImage() refuses every JPEG that is cut short, wherever the cut is", async () => {
  for (const name of ["q30_420.jpg", "progressive_420.jpg", "restart_420.jpg"]) {
    const whole = fixture(name);
    // Without the end-of-image marker of 2 bytes, all pixels are there: odd_files_test.ts.
    for (let length = 1; length < whole.length - 2; length++) {
      await refused(whole.subarray(0, length), "truncated", /the file ends/);
    }
  }
});

Deno.test("decodeImage() refuses every WebP that is cut short, wherever the cut is", async () => {
  for (const name of ["lossy.webp", "lossless.webp", "alpha.webp", "animated.webp"]) {
    const whole = fixture(name);
    for (let length = 12; length < whole.length; length++) {
      await refused(whole.subarray(0, length), "truncated", /the file (ends|has)/);
    }
  }
});

Deno.test("decodeImage() refuses a JPEG whose scan was cut and closed with an end marker", async () => {
  const whole = fixture("q95_444.jpg");
  const closed = Buffer.concat([whole.subarray(0, whole.length - 200), new Uint8Array([0xff, 0xd9])]);
  await refused(closed, "corrupt", /premature end of data segment/);
});

Deno.test("decodeImage() refuses a JPEG with a missing restart marker", async () => {
  const bytes = fixture("restart_420.jpg");
  const at = bytes.findIndex((byte, i) => byte === 0xff && bytes[i + 1] === 0xd0);
  assert.ok(at > 0);
  bytes[at + 1] = 0xd5;
  await refused(bytes, "corrupt", /found marker 0xd5 instead of RST0/);
});

Deno.test("decodeImage() refuses a PNG with one flipped bit, wherever it is", async () => {
  // Every byte after the signature lies in a chunk, so either the structure or a checksum shows the change.
  const whole = fixture("colour3_depth8.png");
  for (let at = 8; at < whole.length; at++) {
    const damaged = whole.slice();
    damaged[at] ^= 0x10;
    await assert.rejects(decodeImage(damaged), UnreadableImageError, `byte ${at}`);
  }
  const damaged = whole.slice();
  damaged[whole.length - 30] ^= 1;
  await refused(damaged, "corrupt", /IDAT: (CRC error|incorrect data check)/);
});

Deno.test("decodeImage() answers damaged files with UnreadableImageError or an image of the right size, never a crash", async () => {
  for (
    const name of ["q95_420.jpg", "progressive_444.jpg", "cmyk.jpg", "lossy.webp", "lossless.webp", "animated.webp"]
  ) {
    const whole = fixture(name);
    let refusals = 0;
    for (let at = 2; at < whole.length; at += 5) {
      const damaged = whole.slice();
      damaged[at] ^= 1 << (at % 8);
      try {
        const { width, height, data } = await decodeImage(damaged, { maxPixels: 1 << 20 });
        assert.equal(data.length, width * height * 3);
      } catch (error) {
        assert.ok(error instanceof UnreadableImageError, `${name}, byte ${at}: ${error}`);
        assert.doesNotMatch(error.message, /undefined|not a function|out of bounds/);
        refusals++;
      }
    }
    assert.ok(refusals > 0, `${name}: no damage was noticed`);
  }
  // And the decoders still work afterwards.
  await decodeImage(fixture("lossy.webp"));
});

Deno.test("decodeImage() refuses PNGs that contradict themselves", async () => {
  const data = (bytes: number) => deflateSync(new Uint8Array(bytes));
  const palette = chunk("PLTE", new Uint8Array(6));
  const cases: [Uint8Array, UnreadableReason, RegExp][] = [
    [png({ width: 0, height: 5 }, data(5)), "corrupt", /expected a size of at least 1x1, got 0x5/],
    [png({ width: 2, height: 2, depth: 3, colour: 0 }, data(4)), "corrupt", /Invalid IHDR data/],
    [png({ width: 2, height: 2, depth: 8, colour: 3 }, data(6)), "corrupt", /Missing PLTE/],
    [png({ width: 2, height: 2 }, data(13)), "corrupt", /Not enough image data/],
    [png({ width: 2, height: 2 }, text("no zlib data")), "corrupt", /IDAT: incorrect header check/],
    [png({ width: 2, height: 2, interlace: 2 }, data(14)), "corrupt", /Invalid IHDR data/],
    [
      png({ width: 1, height: 1, depth: 8, colour: 3 }, deflateSync(new Uint8Array([0, 2])), palette),
      "corrupt",
      /InvalidColormapIndex/,
    ],
    [
      png({ width: 1, height: 1, colour: 0 }, deflateSync(new Uint8Array([5, 9]))),
      "corrupt",
      /bad adaptive filter value/,
    ],
    [
      png({ width: 1, height: 1, colour: 0 }, data(2), chunk("NEWC", data(1))),
      "unsupported",
      /NEWC: unhandled critical chunk/,
    ],
  ];
  for (const [bytes, reason, message] of cases) await refused(bytes, reason, message);
});

/** The progressive fixture with `count` stray bytes before its last scan, each followed by an empty comment. */
function withStrayBytes(count: number): Uint8Array {
  const jpeg = fixture("progressive_420.jpg");
  const scan = jpeg.findLastIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xda);
  const stray = Array.from({ length: count }, () => new Uint8Array([0x12, 0xff, 0xfe, 0, 2]));
  return Buffer.concat([jpeg.subarray(0, scan), ...stray, jpeg.subarray(scan)]);
}

Deno.test("decodeImage() reads files whose flaws concern no pixel", async () => {
  const plain = await decodeImage(fixture("progressive_420.jpg"));
  assertSamePixels(await decodeImage(withStrayBytes(2)), plain, "stray bytes");
  const whole = fixture("pillow_rgb.png");
  const profile = chunk("iCCP", Buffer.concat([text("broken\0\0"), deflateSync(new Uint8Array(300))]));
  const profiled = Buffer.concat([whole.subarray(0, 33), profile, whole.subarray(33)]);
  assertSamePixels(await decodeImage(profiled), await decodeImage(whole), "broken colour profile");
});

Deno.test("decodeImage() notices damage that follows a harmless flaw", async () => {
  const whole = fixture("pillow_rgb.png");
  const profile = chunk("iCCP", Buffer.concat([text("broken\0\0"), deflateSync(new Uint8Array(300))]));
  const transparent = chunk("tRNS", new Uint8Array(6));
  transparent[transparent.length - 1] ^= 1;
  const flawed = Buffer.concat([whole.subarray(0, 33), profile, transparent, whole.subarray(33)]);
  await refused(flawed, "corrupt", /tRNS: CRC error/);
  // Stray bytes in a progressive file, then damage. After a thousand warnings the library reports no more of them, but
  // that a file ends early does not depend on its reports.
  for (const count of [2, 1000]) {
    const cut = withStrayBytes(count).subarray(0, -30);
    await refused(cut, "truncated", /the file ends/);
    const closed = Buffer.concat([cut, new Uint8Array([0xff, 0xd9])]);
    if (count === 2) await refused(closed, "corrupt", /premature end of data segment/);
  }
});

Deno.test("decodeImage() needs no permission, encodePng() neither", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const script = join(folder, "script.ts");
    const decoder = new URL("../../../attribution/images/decode.ts", import.meta.url);
    const files = ["pillow_rgb.png", "cmyk.jpg", "lossy.webp"].map((name) => Array.from(fixture(name)));
    await Deno.writeTextFile(
      script,
      `import { decodeImage, encodePng } from ${JSON.stringify(decoder.href)};
for (const file of ${JSON.stringify(files)}) {
  const image = await decodeImage(new Uint8Array(file));
  const again = await decodeImage(await encodePng(image));
  console.log(image.width, image.height, String(image.data) === String(again.data));
}`,
    );
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-lock", "--config", config, script],
    }).output();
    const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assert.equal(read(stdout), "35 29 true\n".repeat(3), read(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("decodeImage() ignores what follows the end of an image", async () => {
  for (const name of ["pillow_rgb.png", "q95_420.jpg", "lossy.webp"]) {
    const longer = Buffer.concat([fixture(name), text("appended")]);
    assertSamePixels(await decodeImage(longer), await decodeImage(fixture(name)), name);
  }
});

Deno.test("decodeImage() begins its messages with the name of the image", async () => {
  await assert.rejects(
    decodeImage(new Uint8Array(0), { name: "folder/x.png" }),
    { reason: "empty", message: "folder/x.png: the file is empty (0 bytes)" },
  );
});

Deno.test("readImage() reads a file, and reports paths that it cannot read as io", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const image = { width: 3, height: 2, data: new Uint8Array(18).map((_, i) => i * 14) };
    await Deno.writeFile(join(folder, "good"), await encodePng(image));
    assertSamePixels(await readImage(join(folder, "good")), image, "good");
    await Deno.mkdir(join(folder, "x.png"));
    await assert.rejects(readImage(join(folder, "x.png")), { reason: "io", message: /x\.png: .*got a folder/ });
    await assert.rejects(readImage(join(folder, "missing.png")), {
      reason: "io",
      message: /missing\.png: .*os error 2/,
    });
    await assert.rejects(readImage("/dev/null"), { reason: "io", message: /a device or pipe/ });
    await Deno.truncate(await sparse(join(folder, "huge.png")), 1e10);
    await assert.rejects(readImage(join(folder, "huge.png")), { reason: "too-large", message: /10000000000 bytes/ });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function sparse(path: string): Promise<string> {
  await Deno.writeFile(path, new Uint8Array([0x89]));
  return path;
}
