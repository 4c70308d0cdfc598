import assert from "node:assert/strict";
import { decodeImage, type RgbImage, sniff } from "../../../../attribution/images/decode.ts";
import { applyEdits, type Edit, parseEdits } from "../../../../attribution/images/edits/mod.ts";
import { distance, pattern } from "../augment/images.ts";

/** Grey pixels, row by row: each text is a row, each character a pixel. */
function picture(...rows: string[]): RgbImage {
  const data = Uint8Array.from(rows.join(""), (character) => character.charCodeAt(0));
  return {
    width: rows[0].length,
    height: rows.length,
    data: Uint8Array.from({ length: 3 * data.length }, (_, i) => data[Math.trunc(i / 3)]),
  };
}

function rows({ width, height, data }: RgbImage): string[] {
  const row = (y: number) => String.fromCharCode(...Array.from({ length: width }, (_, x) => data[(y * width + x) * 3]));
  return Array.from({ length: height }, (_, y) => row(y));
}

async function edited(image: RgbImage, text: string): Promise<RgbImage> {
  return (await applyEdits(image, parseEdits(text))).image;
}

function colourCount({ data }: RgbImage): number {
  const colours = new Set<number>();
  for (let i = 0; i < data.length; i += 3) colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
  return colours.size;
}

Deno.test("edits that move pixels put each where it belongs", async () => {
  const abcdef = picture("abc", "def");
  const cases: [text: string, expected: string[]][] = [
    ["none", ["abc", "def"]],
    ["mirror", ["cba", "fed"]],
    ["turn:90", ["da", "eb", "fc"]],
    ["turn:180", ["fed", "cba"]],
    ["turn:270", ["cf", "be", "ad"]],
    ["mirror,turn:90", ["fc", "eb", "da"]],
    ["crop:1:0:0:0", ["bc", "ef"]],
    ["crop:0:1:2:0", ["d"]],
    ["shift:1:0", ["aab", "dde"]],
    ["shift:-1:0", ["bcc", "eff"]],
    ["shift:0:1", ["abc", "abc"]],
    ["shift:-9:-9", ["fff", "fff"]],
    ["resize:2:nearest", ["aabbcc", "aabbcc", "ddeeff", "ddeeff"]],
    ["resize:0.5:nearest", ["df"]],
    ["canvas:5x4:#303030", ["00000", "0abc0", "0def0", "00000"]],
    ["canvas:4x3+0+1:#303030", ["0000", "abc0", "def0"]],
    ["canvas:2x2-1-1:#303030", ["ef", "00"]],
    ["canvas:2x2+5+0:#303030", ["00", "00"]],
    ["canvas:2:#303030", ["000000", "0abc00", "0def00", "000000"]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(rows(await edited(abcdef, text)), expected, text);
});

Deno.test("turning four times and mirroring twice give the image; all three channels move", async () => {
  const image = pattern(7, 5);
  assert.deepEqual(await edited(image, "turn:90,turn:90,turn:90,turn:90"), image);
  assert.deepEqual(await edited(image, "turn:90,turn:270"), image);
  assert.deepEqual(await edited(image, "turn:180,turn:180"), image);
  assert.deepEqual(await edited(image, "mirror,mirror"), image);
  assert.deepEqual(await edited(image, "canvas:3,crop:7:5:7:5"), image);
});

Deno.test("canvas:3 has nine times the pixels, the image in its middle, white around it", async () => {
  const image = pattern(6, 4);
  const { width, height, data } = await edited(image, "canvas:3");
  assert.deepEqual([width, height], [18, 12]);
  const outside = [...data].filter((_, i) => {
    const x = Math.trunc(i / 3) % 18, y = Math.trunc(i / 54);
    return x < 6 || x >= 12 || y < 4 || y >= 8;
  });
  assert.equal(outside.length, (18 * 12 - 24) * 3);
  assert.ok(outside.every((value) => value === 255));
});

Deno.test("sizes after crop and resize", async () => {
  const sizes: [text: string, width: number, height: number][] = [
    ["crop:3", 14, 4],
    ["resize:2", 40, 20],
    ["resize:1.25:lanczos", 25, 13],
    ["resize:0.02", 1, 1],
    ["resizeBack:0.75", 20, 10],
    ["shift:3:2", 20, 10],
    ["canvas:640x480", 640, 480],
  ];
  for (const [text, width, height] of sizes) {
    const image = await edited(pattern(20, 10), text);
    assert.deepEqual([image.width, image.height, image.data.length], [width, height, width * height * 3], text);
  }
});

Deno.test("edits of bytes: brightness, contrast, saturation, grey as Pillow computes them", async () => {
  const image: RgbImage = { width: 2, height: 1, data: Uint8Array.of(100, 150, 250, 0, 10, 20) };
  const bytes = async (text: string) => [...(await edited(image, text)).data];
  assert.deepEqual(await bytes("brightness:1.1"), [110, 165, 255, 0, 11, 22]);
  assert.deepEqual(await bytes("brightness:1"), [...image.data]);
  // Grey values: .299 R + .587 G + .114 B = 146.45 and 8.15; their mean is 77.
  assert.deepEqual(await bytes("grey"), [146, 146, 146, 8, 8, 8]);
  assert.deepEqual(await bytes("saturation:0.5"), [123, 148, 198, 4, 9, 14]);
  assert.deepEqual(await bytes("contrast:0.5"), [88, 113, 163, 38, 43, 48]);
});

Deno.test("noise has the standard deviation that it names, no bias, and is another for another seed", async () => {
  const flat: RgbImage = { width: 100, height: 100, data: new Uint8Array(30000).fill(128) };
  for (const levels of [0.5, 2, 4]) {
    const { data } = await edited(flat, `noise:${levels}`);
    const mean = data.reduce((sum, value) => sum + value - 128, 0) / data.length;
    const square = data.reduce((sum, value) => sum + (value - 128 - mean) ** 2, 0) / data.length;
    const expected = Math.sqrt(levels ** 2 + 1 / 12); // rounding adds a uniform error
    assert.ok(Math.abs(mean) < 4 * levels / Math.sqrt(data.length), `${levels}: mean ${mean}`);
    assert.ok(Math.abs(Math.sqrt(square) / expected - 1) < 0.03, `${levels}: deviation ${Math.sqrt(square)}`);
  }
  assert.deepEqual(await edited(flat, "noise:2:7"), await edited(flat, "noise:2:7"));
  assert.ok(distance(await edited(flat, "noise:2:7"), await edited(flat, "noise:2:8")) > 0);
  const white: RgbImage = { ...flat, data: flat.data.map(() => 255) };
  assert.ok((await edited(white, "noise:2")).data.every((value) => value > 240), "bytes must not wrap around");
});

Deno.test("blur keeps flat images and spreads a point by its sigma", async () => {
  const point: RgbImage = { width: 21, height: 21, data: new Uint8Array(21 * 21 * 3) };
  point.data.fill(250, (10 * 21 + 10) * 3, (10 * 21 + 10) * 3 + 3);
  const { data } = await edited(point, "blur:1");
  const at = (x: number, y: number) => data[(y * 21 + x) * 3];
  // The discrete Gaussian of sigma 1 has 0.3991 in the middle and 0.2420 beside it.
  assert.deepEqual([at(10, 10), at(11, 10), at(9, 9)], [40, 24, 15]);
  const flat = { ...point, data: point.data.map(() => 77) };
  assert.deepEqual(await edited(flat, "blur:2"), flat);
  const small = { ...flat, width: 1, height: 1, data: flat.data.slice(0, 3) };
  assert.deepEqual(await edited(small, "blur:3"), small);
});

Deno.test("palette leaves at most so many colours, the same ones each time", async () => {
  const image = pattern(64, 64);
  for (const colours of [2, 16, 64, 256]) {
    const once = await edited(image, `palette:${colours}`);
    const count = colourCount(once);
    assert.ok(count <= colours && count > colours / 4, `${colours}: ${count} colours`);
    assert.deepEqual(await edited(image, `palette:${colours}`), once);
    assert.ok(colourCount(await edited(image, `palette:${colours}:dither`)) <= colours);
  }
  const few = picture("aab", "bba");
  assert.deepEqual(await edited(few, "palette:4"), few);
});

Deno.test("a last JPEG gives a file with the tables of its quality and subsampling", async () => {
  const image = pattern(40, 24);
  // The standard's first luminance steps are 16 11 10; quality 90 scales them to 20 %, quality 75 to 50 %.
  const cases: [text: string, steps: number[], sampling: number][] = [
    ["jpeg:90", [3, 2, 2], 0x22],
    ["jpeg:75", [8, 6, 5], 0x22],
    ["jpeg:90:444", [3, 2, 2], 0x11],
  ];
  for (const [text, steps, sampling] of cases) {
    const { image: pixels, bytes } = await applyEdits(image, parseEdits(`mirror,${text}`));
    assert.ok(bytes);
    assert.deepEqual(sniff(bytes), { format: "jpeg", width: 40, height: 24 });
    assert.deepEqual(await decodeImage(bytes), pixels);
    const dqt = find(bytes, 0xff, 0xdb), sof = find(bytes, 0xff, 0xc0);
    const zigzag = [0, 1, 5].map((k) => bytes[dqt + 5 + k]); // first row of the table
    assert.deepEqual(zigzag, steps, text);
    assert.equal(bytes[sof + 11], sampling, text);
  }
  assert.ok(distance(await edited(image, "jpeg:90"), await edited(image, "jpeg:90:444")) > 0);
});

Deno.test("a last WebP gives a lossy file that decodes to the pixels; earlier files are not kept", async () => {
  const image = pattern(40, 24);
  for (const quality of [1, 50, 80, 100]) {
    const { image: pixels, bytes } = await applyEdits(image, [{ name: "webp", quality }]);
    assert.ok(bytes);
    assert.deepEqual(sniff(bytes), { format: "webp", width: 40, height: 24 });
    assert.equal(new TextDecoder().decode(bytes.subarray(12, 16)), "VP8 ", `quality ${quality}`);
    assert.deepEqual(await decodeImage(bytes), pixels);
    assert.ok(distance(pixels, image) > 0);
  }
  const both = await applyEdits(image, parseEdits("webp:80,jpeg:90"));
  assert.equal(sniff(both.bytes!).format, "jpeg");
  assert.equal((await applyEdits(image, parseEdits("webp:80,brightness:1.1"))).bytes, undefined);
  assert.equal((await applyEdits(image, [])).bytes, undefined);
});

Deno.test("an edit out of range is refused by parameter, range and value", async () => {
  const image = pattern(6, 4);
  const cases: [edit: object, message: RegExp][] = [
    [{ name: "jpeg", quality: 0 }, /^jpeg: expected quality as a whole number of 1 to 100, got 0$/],
    [
      { name: "jpeg", quality: 90, subsampling: "4:1:1" },
      /^jpeg: expected subsampling one of 4:2:0, 4:4:4, got "4:1:1"$/,
    ],
    [{ name: "webp", quality: 80.5 }, /^webp: expected quality as a whole number of 1 to 100, got 80.5$/],
    [{ name: "resize", factor: 0 }, /^resize: expected factor of 0.015625 to 64, got 0$/],
    [{ name: "resizeBack", ratio: 1.5 }, /ratio of 0.015625 to 1, got 1.5/],
    [{ name: "turn", degrees: 45 }, /degrees one of 90, 180, 270, got 45/],
    [{ name: "canvas", times: 3, colour: "white" }, /colour #rrggbb in lower case, got "white"/],
    [{ name: "mirror", degrees: 90, axis: 1 }, /^mirror: expected axis not to be given, got 1$/],
    [{ name: "crop", left: 3, top: 0, right: 3, bottom: 0 }, /^crop: expected an image larger than 6x0, got 6x4$/],
  ];
  for (const [edit, message] of cases) {
    await assert.rejects(applyEdits(image, [edit as Edit]), (error: Error) => {
      assert.match(error.message, message);
      return error instanceof RangeError;
    });
  }
});

/** Index of two bytes. */
function find(bytes: Uint8Array, first: number, second: number): number {
  return bytes.findIndex((byte, i) => byte === first && bytes[i + 1] === second);
}
