import assert from "node:assert/strict";
import { decodeImage } from "../../../attribution/images/decode.ts";
import { type PilFilter, pilResize } from "../../../attribution/images/pil_resize.ts";
import { centerCrop, preprocess, resizeAndCrop, resizeShorterSide } from "../../../attribution/images/preprocess.ts";
import { assertSamePixels, expected, fixture, goldenImage, goldenPixels, manifest } from "./fixtures.ts";

const SOURCES = [["300x200", "img2_300x200.png"], ["199x301", "img3_199x301.png"]];

Deno.test("pilResize() equals Pillow's resize for all filters, shrinking, enlarging and squashing", async () => {
  assert.equal(manifest.resizes.length, 30);
  for (const target of manifest.resizes) {
    const source = await decodeImage(fixture(target.source));
    const name = `${target.filter} to ${target.width}x${target.height}`;
    assertSamePixels(pilResize(source, target.width, target.height, target.filter), expected(target), name);
  }
});

Deno.test("pilResize() equals the golden resizes to and fro and the golden squash", async () => {
  for (const ratio of ["0.5", "0.65", "0.8"]) {
    const image = goldenPixels("image_u8");
    const side = Math.trunc(64 * Number(ratio));
    const there = pilResize(image, side, side, "bicubic");
    assertSamePixels(pilResize(there, 64, 64, "bicubic"), goldenPixels(`pil_resize_${ratio}`), ratio);
  }
  for (const [size, file] of SOURCES) {
    const image = await decodeImage(goldenImage(file));
    assertSamePixels(pilResize(image, 64, 64, "bicubic"), goldenPixels(`pre_${size}_pil_squash_bicubic`), size);
  }
});

Deno.test("pilResize() refuses an empty target and does not share its input's pixels", () => {
  const image = { width: 1, height: 1, data: new Uint8Array([1, 2, 3]) };
  assert.throws(() => pilResize(image, 0, 4, "box"), /pilResize: expected a size of at least 1x1, got 0x4/);
  const same = pilResize(image, 1, 1, "lanczos");
  assertSamePixels(same, image, "same size");
  assert.notEqual(same.data, image.data);
});

Deno.test("resizeAndCrop() equals torchvision's Resize and CenterCrop on Pillow images", async () => {
  for (const [size, file] of SOURCES) {
    const image = await decodeImage(goldenImage(file));
    for (const filter of ["bilinear", "bicubic", "lanczos"] satisfies PilFilter[]) {
      assertSamePixels(
        resizeAndCrop(image, 64, filter),
        goldenPixels(`pre_${size}_pil_${filter}`),
        `${size} ${filter}`,
      );
    }
    assertSamePixels(resizeShorterSide(image, 64), goldenPixels(`pre_${size}_pil_bilinear_nocrop`), `${size}, no crop`);
    const enlarged = centerCrop(resizeShorterSide(image, 320), 100);
    assertSamePixels(enlarged, goldenPixels(`pre_${size}_pil_up`), `${size} enlarged`);
  }
});

Deno.test("preprocess() gives float32(byte / 255) of the bilinear square", async () => {
  const [size, file] = SOURCES[1];
  const pixels = preprocess(await decodeImage(goldenImage(file)), 64);
  assert.deepEqual(pixels, Float32Array.from(goldenPixels(`pre_${size}_pil_bilinear`).data, (byte) => byte / 255));
});

Deno.test("preprocess() does not resample an image of the native size", async () => {
  const image = await decodeImage(goldenImage("img0_64x64.png"));
  assert.deepEqual(preprocess(image, 64), Float32Array.from(image.data, (byte) => byte / 255));
});

Deno.test("preprocess() only crops an image whose shorter side has the size", () => {
  const data = new Uint8Array(3 * 7 * 3).map((_, i) => i);
  const wide = { width: 7, height: 3, data };
  const expected = [0, 1, 2].flatMap((y) => Array.from(data.subarray((y * 7 + 2) * 3, (y * 7 + 5) * 3)));
  assert.deepEqual(Array.from(resizeAndCrop(wide, 3).data), expected);
});

Deno.test("centerCrop() rounds half to even, as Python does", () => {
  const left = (width: number, size: number) => {
    const data = new Uint8Array(width * size * 3).map((_, i) => Math.floor(i / 3) % width);
    return centerCrop({ width, height: size, data }, size).data[0];
  };
  assert.equal(left(5, 4), 0); // 0.5 -> 0
  assert.equal(left(7, 4), 2); // 1.5 -> 2
  assert.equal(left(9, 4), 2); // 2.5 -> 2
  assert.equal(left(11, 4), 4); // 3.5 -> 4
  assert.equal(left(10, 4), 3);
});

Deno.test("centerCrop() refuses an image that is smaller than the square", () => {
  const image = { width: 3, height: 9, data: new Uint8Array(81) };
  assert.throws(() => centerCrop(image, 4), /centerCrop: expected at least 4x4 pixels, got 3x9/);
});
