import assert from "node:assert/strict";
import {
  gaussianBlur,
  gaussianBlur8,
  gaussianKernel,
  toFloatImage,
} from "../../../../attribution/images/augment/mod.ts";
import { assertInRange, distance, pattern, sha } from "./images.ts";

Deno.test("gaussianKernel() gives PyTorch's float32 weights, bit for bit", () => {
  const cases: [number, number, string][] = [
    [3, 0.7, "8206de9bece878b5"],
    [5, 0.7, "8cac9e3d3e647264"],
    [7, 1.3, "078cb381ab04d281"],
    [7, 0.91, "1e5662f16a79f3f3"],
    [9, 1.3, "faf2a3c7ff8654a3"],
    [15, 1.9, "d9838b6b294d6c04"],
    [17, 1.9, "8912c9ae60edb5a3"],
    [33, 2.0, "8d467109ad757541"],
    [33, 1.57, "ae3fe13c4ecaeb6c"],
    [41, 1.9, "badac11b6f54900b"],
  ];
  for (const [size, sigma, hash] of cases) assert.equal(sha(gaussianKernel(size, sigma)), hash, `${size} ${sigma}`);
});

Deno.test("gaussianKernel() is symmetric, falls away from its middle and sums to 1", () => {
  for (const size of [1, 3, 7, 9, 19, 33]) {
    for (const sigma of [0.1, 0.3, 1, 2]) {
      const weights = gaussianKernel(size, sigma);
      assert.deepEqual(weights.toReversed(), weights);
      const right = weights.subarray((size - 1) / 2);
      assert.ok(right.every((weight, i) => i === 0 || weight <= right[i - 1]));
      assert.ok(Math.abs(weights.reduce((sum, weight) => sum + weight, 0) - 1) < 3e-7);
    }
  }
});

Deno.test("gaussianBlur8() gives torchvision's bytes, where the order of a float32 sum decides", () => {
  const cases: [number, number, number, number, string][] = [
    [160, 120, 15, 1.4, "2417447a0737d21c"], // three bytes differ without fused multiply-adds
    [160, 120, 15, 1.9, "8ba88c6986fee838"], // one byte
    [256, 256, 9, 1.0, "426be163261463bd"],
    [200, 150, 7, 0.77, "8ff30e650c970493"],
    [31, 40, 15, 1.93, "a2ae3332ac1c78f0"],
    [9, 12, 17, 1.234, "bb2c1cee0e8e2b16"],
    [64, 64, 3, 0.1, "a6af842403c3904a"],
  ];
  for (const [width, height, size, sigma, hash] of cases) {
    assert.equal(sha(gaussianBlur8(pattern(width, height), size, sigma).data), hash, `${width}x${height} ${size}`);
  }
});

Deno.test("a kernel of size 1, and one far narrower than a pixel, change nothing", () => {
  const image = pattern(20, 10), floats = toFloatImage(image);
  for (const [size, sigma] of [[1, 1.5], [9, 0.05]]) {
    assert.equal(distance(gaussianBlur(floats, size, sigma), floats), 0);
    assert.equal(distance(gaussianBlur8(image, size, sigma), image), 0);
  }
});

Deno.test("gaussianBlur() keeps a constant image, and turns a point into its kernel", () => {
  const constant = { width: 12, height: 12, data: new Float32Array(432).fill(0.37) };
  assert.ok(distance(gaussianBlur(constant, 9, 1.4), constant) < 1e-6);
  const spike = { width: 9, height: 9, data: new Float32Array(243) };
  spike.data[(4 * 9 + 4) * 3 + 1] = 1;
  const { data } = gaussianBlur(spike, 5, 1.1);
  const weights = gaussianKernel(5, 1.1);
  for (let y = 0; y < 9; y++) {
    for (let column = 0; column < 9; column++) {
      const inside = Math.abs(y - 4) <= 2 && Math.abs(column - 4) <= 2;
      const expected = inside ? Math.fround(weights[y - 2] * weights[column - 2]) : 0;
      assert.deepEqual([...data.subarray((y * 9 + column) * 3, (y * 9 + column) * 3 + 3)], [0, expected, 0]);
    }
  }
});

Deno.test("gaussianBlur() throws on an even kernel, no sigma, and an image that its border cannot be mirrored in", () => {
  const x = toFloatImage(pattern(4, 8));
  assert.throws(() => gaussianBlur(x, 4, 1), /^RangeError: gaussianKernel: expected an odd size of at least 1, got 4$/);
  assert.throws(() => gaussianBlur(x, 3, 0), /^RangeError: gaussianKernel: expected sigma above 0, got 0$/);
  assert.throws(() => gaussianBlur(x, 9, 1), /a 9x9 kernel needs more than 4 pixels on each side, got 4x8$/);
  assertInRange(gaussianBlur(x, 7, 1), x);
});
