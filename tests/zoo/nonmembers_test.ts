/**
 * Outliers of the dataset: photographs smoothed like generated images, images of normal distributions, and which crops
 * are taken.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { decodeImage } from "../../attribution/images/decode.ts";
import type { RgbImage } from "../../attribution/images/image.ts";
import { uniforms } from "../../core/tensor/random.ts";
import {
  generatedSharpness,
  sharpness,
  sharpnessDeciles,
  sharpnessQuantile,
  smoothed,
  type Smoothing,
  smoothings,
} from "../../zoo/blur.ts";
import { CropQueue, type PhotoCrop, shuffled } from "../../zoo/crop_queue.ts";
import type { PhotoCrops } from "../../zoo/crops.ts";
import { gaussianImage } from "../../zoo/gaussian.ts";

const side = 24;
const grey = (level: (x: number, y: number) => number): RgbImage => ({
  width: side,
  height: side,
  data: Uint8Array.from({ length: side * side * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return level(pixel % side, Math.floor(pixel / side));
  }),
});
const noise = uniforms(3, 1, side * side);

Deno.test("sharpness() is 4 for a checkerboard, about 2 for noise, and 0 for a flat image", () => {
  assert.ok(Math.abs(sharpness(grey((x, y) => (x + y) % 2 * 200)) - 4) < 1e-9);
  // 576 pixels: the ratio of two means of squares deviates by some hundredths.
  assert.ok(Math.abs(sharpness(grey((x, y) => noise[y * side + x] * 255)) - 2) < 0.2);
  assert.equal(sharpness(grey(() => 90)), 0);
  // A ramp of n levels: the differences are 1 along x and 0 along y, the variance is (n^2 - 1) / 12.
  assert.ok(Math.abs(sharpness(grey((x) => x)) - 0.5 / ((side ** 2 - 1) / 12)) < 1e-9);
});

Deno.test("generatedSharpness are the deciles of examples/Dataset/train", async () => {
  const train = new URL("../../examples/Dataset/train", import.meta.url).pathname;
  const values: number[] = [];
  for await (const { name: label } of Deno.readDir(train)) {
    for await (const { name } of Deno.readDir(join(train, label))) {
      values.push(sharpness(await decodeImage(await Deno.readFile(join(train, label, name)))));
    }
  }
  const deciles = sharpnessDeciles(values);
  assert.equal(deciles.length, generatedSharpness.length);
  generatedSharpness.forEach((decile, i) => assert.ok(Math.abs(deciles[i] - decile) <= 6e-5, `decile ${i}`));
  assert.equal(sharpnessQuantile(0), generatedSharpness[0]);
  assert.equal(sharpnessQuantile(1), generatedSharpness[10]);
  assert.ok(Math.abs(sharpnessQuantile(0.55) - (generatedSharpness[5] + generatedSharpness[6]) / 2) < 1e-9);
  assert.equal(sharpnessQuantile(0.75, [0, 1, 3]), 2);
});

for (const smoothing of Object.keys(smoothings) as Smoothing[]) {
  Deno.test(`smoothed() by ${smoothing} reaches the wanted sharpness and keeps the mean`, () => {
    const image = grey((x, y) => 40 + 100 * Math.sin(x / 4) ** 2 + 60 * noise[y * side + x]);
    const mean = ({ data }: RgbImage) => data.reduce((sum, v) => sum + v, 0) / data.length;
    for (const target of [0.2, 0.1]) {
      const result = smoothed(image, smoothing, target);
      assert.ok(sharpness(image) > 2 * target && sharpness(result) <= target, `${sharpness(result)}`);
      assert.ok(Math.abs(mean(result) - mean(image)) < 6, `${mean(result)}, ${mean(image)}`);
    }
  });
}

function cropsOf(photo: readonly number[], pixels?: Uint8Array, classes?: Uint8Array): PhotoCrops {
  const size = 4 * 4 * 3, count = photo.length;
  return {
    count,
    side: 4,
    pixels: pixels ?? new Uint8Array(count * size),
    classes: classes ?? new Uint8Array(count),
    photo: Uint16Array.from(photo),
    fingerprint: "",
  };
}

Deno.test("gaussianImage() has the mean and the covariance of its class's crops", () => {
  // Ten classes of three crops; pixels of a crop are its level, so that all pixels of an image are equal, too.
  const levels = [90, 120, 150], size = 4 * 4 * 3;
  const pixels = Uint8Array.from({ length: 30 * size }, (_, i) => levels[Math.floor(i / size) % 3]);
  const classes = Uint8Array.from({ length: 30 }, (_, i) => Math.floor(i / 3));
  const crops = cropsOf(Array(30).fill(0), pixels, classes);
  const values = Array.from({ length: 2000 }, (_, i) => {
    const { data } = gaussianImage(crops, 5, i);
    assert.equal(new Set(data).size, 1);
    return data[0];
  });
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
  // The sample's mean and deviation are those of the crops, 120 and 30, within four standard errors (0.67, 0.47).
  assert.ok(Math.abs(mean - 120) < 2.7, `${mean}`);
  assert.ok(Math.abs(deviation - 30) < 1.9, `${deviation}`);
  assert.deepEqual(gaussianImage(crops, 5, 3), gaussianImage(crops, 5, 3));
});

Deno.test("CropQueue takes a crop of every photograph, then another, never one twice, and none of those taken", () => {
  const splits = [cropsOf([4, 4, 4, 7, 7]), cropsOf([9, 9, 4])];
  const queue = new CropQueue(splits, [4, 7, 9], 1);
  const all = [...queue.take(2), ...queue.take(6)];
  assert.deepEqual(all.map(({ photo }) => photo), [4, 7, 9, 4, 7, 9, 4, 4]);
  assert.equal(new Set(all.map(({ crops, at }) => `${splits.indexOf(crops)} ${at}`)).size, 8);
  for (const { photo, crops, at } of all) assert.equal(crops.photo[at], photo);
  assert.throws(() => queue.take(1), /expected at most the 0 crops left, got 1/);
  const taken = all.slice(0, 3),
    names = (crops: readonly PhotoCrop[]) => crops.map(({ crops, at }) => `${splits.indexOf(crops)} ${at}`);
  const rest = new CropQueue(splits, [9, 4], 2, taken).take(4);
  assert.deepEqual(rest.map(({ photo }) => photo), [9, 4, 4, 4]);
  assert.equal(new Set(names([...rest, ...taken])).size, 7);
});

Deno.test("shuffled() keeps all items and depends on the seed", () => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  assert.deepEqual([...shuffled(items, 1)].sort((a, b) => a - b), items);
  assert.deepEqual(shuffled(items, 1), shuffled(items, 1));
  assert.notDeepEqual(shuffled(items, 1), shuffled(items, 2));
});
