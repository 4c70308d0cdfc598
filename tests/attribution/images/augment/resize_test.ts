import assert from "node:assert/strict";
import {
  resizeAndBack,
  resizeAndBack8,
  resizeFloat,
  toFloatImage,
} from "../../../../attribution/images/augment/mod.ts";
import { pilResize } from "../../../../attribution/images/pil_resize.ts";
import { assertInRange, distance, pattern } from "./images.ts";

Deno.test("a ratio of 1, or one too close to it to lose a pixel, changes nothing", () => {
  const image = pattern(31, 17), floats = toFloatImage(image);
  assert.equal(distance(resizeAndBack(floats, 1), floats), 0);
  assert.equal(distance(resizeAndBack8(image, 1), image), 0);
});

Deno.test("resizeAndBack() keeps size and range for any ratio, down to a single pixel", () => {
  const image = pattern(31, 17), floats = toFloatImage(image);
  for (const ratio of [0.9, 0.5, 0.33, 0.01]) {
    assertInRange(resizeAndBack(floats, ratio), floats);
    const { width, height, data } = resizeAndBack8(image, ratio);
    assert.deepEqual([width, height, data.length], [31, 17, image.data.length]);
  }
  const { data } = resizeAndBack(floats, 0.01);
  assert.ok(data.every((value, i) => Math.abs(value - data[i % 3]) < 1e-6)); // one pixel, enlarged
});

Deno.test("resizeFloat() agrees with Pillow's fixed-point resizing within its rounding to bytes", () => {
  // Half the contrast: Pillow clips between its passes, where bicubic overshoots.
  const image = pattern(40, 30);
  image.data.forEach((value, i) => image.data[i] = 64 + value / 2);
  const floats = toFloatImage(image);
  for (const [width, height] of [[17, 23], [64, 48], [13, 61]]) {
    for (const filter of ["bilinear", "bicubic"] as const) {
      const { data } = resizeFloat(floats, width, height, filter);
      const expected = pilResize(image, width, height, filter).data;
      // Each of Pillow's two passes rounds to a byte; the second spreads the first's halves by the filter's gain.
      const most = data.reduce(
        (d, v, i) => Math.max(d, Math.abs(v * 255 - expected[i])),
        0,
      );
      assert.ok(most < 1.3, `${filter} to ${width}x${height}: ${most}`);
    }
  }
});

Deno.test("resizeFloat() keeps a constant, and bicubic may leave [0, 1]", () => {
  const constant = { width: 9, height: 7, data: new Float32Array(189).fill(0.6) };
  for (const filter of ["bilinear", "bicubic"] as const) {
    const { data } = resizeFloat(constant, 20, 3, filter);
    assert.ok(data.every((value) => Math.abs(value - 0.6) < 1e-6));
  }
  const edge = { width: 8, height: 1, data: Float32Array.from({ length: 24 }, (_, i) => (i < 12 ? 0 : 1)) };
  assert.ok(Math.max(...resizeFloat(edge, 24, 1, "bicubic").data) > 1.01);
});

Deno.test("resizes throw on a ratio outside (0, 1] and on an empty size", () => {
  const image = pattern(8, 8), floats = toFloatImage(image);
  assert.throws(() => resizeAndBack(floats, 0), /^RangeError: resizeAndBack: expected a ratio in \(0, 1\], got 0$/);
  assert.throws(() => resizeAndBack8(image, 1.5), /^RangeError: resizeAndBack8: .* got 1.5$/);
  assert.throws(() => resizeFloat(floats, 0, 3), /^RangeError: resizeFloat: .* got 0x3$/);
});
