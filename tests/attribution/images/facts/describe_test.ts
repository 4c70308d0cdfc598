/** What happened to an image, in words. */
import assert from "node:assert/strict";
import { describeFacts } from "../../../../attribution/images/facts/describe.ts";
import type { FileFacts, ImageFacts } from "../../../../attribution/images/facts/facts.ts";

const plain: FileFacts = { format: "png", depth: 8, transparency: false, pictures: 1 };
const words = (facts: Partial<ImageFacts>) => describeFacts({ colours: 5000, noise: 0.4, contrast: 30, ...facts });
const fileWords = (file: Partial<FileFacts>) => words({ file: { ...plain, ...file } });

Deno.test("describeFacts() has nothing to say of a plain PNG, nor of pixels", () => {
  assert.deepEqual(fileWords({ orientation: 1 }), []);
  assert.deepEqual(words({}), []);
});

Deno.test("describeFacts() says how a file stores its image", () => {
  const jpeg = { quality: 75, subsampling: "4:2:0", progressive: false };
  assert.deepEqual(fileWords({ format: "jpeg", jpeg }), ["JPEG of quality 75, 4:2:0"]);
  assert.deepEqual(fileWords({ format: "jpeg", jpeg: { ...jpeg, quality: null, nearestQuality: 82 } }), [
    "JPEG of quality near 82, 4:2:0",
  ]);
  assert.deepEqual(fileWords({ format: "jpeg", jpeg: { ...jpeg, quality: null, subsampling: "1" } }), ["JPEG, grey"]);
  assert.deepEqual(fileWords({ format: "webp", lossless: false }), ["WebP with loss"]);
  assert.deepEqual(fileWords({ format: "webp", lossless: true }), ["WebP without loss"]);
  assert.deepEqual(fileWords({ depth: 16, transparency: true, pictures: 3, orientation: 6, software: "GIMP" }), [
    ...["16 bits per channel", "transparency", "3 pictures in the file", "EXIF orientation 6", "written by GIMP"],
  ]);
});

Deno.test("describeFacts() says what happened to the pixels", () => {
  assert.deepEqual(words({ earlierJpeg: { quality: 60, strength: 1 }, earlierWebp: { strength: 0.5 } }), [
    ...["earlier JPEG of quality 60", "earlier WebP with loss"],
  ]);
  assert.deepEqual(words({ earlierJpeg: { quality: null, strength: 1 } }), ["earlier JPEG"]);
  const resampled = (factor: number | null) => words({ resampling: { factor, strength: 1 } });
  assert.deepEqual([resampled(2), resampled(0.75), resampled(null)].flat(), [
    ...["enlarged 2 times", "reduced to 75 %", "resampled"],
  ]);
  const changed = (gain: number, offset: number) => words({ levels: { gain, offset, rounded: true } });
  assert.deepEqual([changed(1.1, 0), changed(1, -5), changed(0.9, 12.75)].flat(), [
    "brightness or contrast changed by +10 %",
    "brightness or contrast changed by -5 levels",
    "brightness or contrast changed by -10 % and +12.8 levels",
  ]);
  const picture = { left: 64, top: 0, width: 64, height: 64 };
  assert.deepEqual(words({ picture, colours: 64 }), ["canvas of one colour around 64x64 pixels", "64 colours"]);
  assert.deepEqual(words({ resampling: { factor: null, strength: 1, kind: "no-detail" } }), [
    "no fine detail: enlarged or blurred",
  ]);
  assert.deepEqual(words({ earlierJpeg: { quality: 80, strength: 1, grid: { left: 5, top: 0 } } }), [
    "earlier JPEG of quality 80, cropped since",
  ]);
  assert.deepEqual(words({ noise: 2.04 }), ["noise of 2.0 levels"]);
  assert.deepEqual([words({ colours: 1 }), words({ colours: 257 })].flat(), ["one colour"]);
});
