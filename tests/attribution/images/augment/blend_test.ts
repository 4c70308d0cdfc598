import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  brightness,
  brightness8,
  contrast,
  contrast8,
  saturation,
  saturation8,
  toFloatImage,
  toRgbImage,
} from "../../../../attribution/images/augment/mod.ts";
import { assertInRange, distance, pattern, sha } from "./images.ts";

const image = pattern(50, 40);
const floats = toFloatImage(image);

Deno.test("brightness8(), contrast8() and saturation8() give Pillow's bytes", () => {
  const expected = {
    brightness8: [brightness8, "a6bedce1e512d653", "1706fccbe1c4da74", "8e342236f19daa79", "078b9d3aa9eaee6a"],
    contrast8: [contrast8, "77b054087943c006", "1e006b2a28b663d6", "8ebc774388f05fa9", "34714ced01a782b1"],
    saturation8: [saturation8, "1ff4a7c5913f18d9", "0efb189093f6b2e1", "8952d93c4b469519", "22b941b88a67c911"],
  } as const;
  for (const [name, [transform, ...hashes]] of Object.entries(expected)) {
    assert.deepEqual([0, 0.37, 1.3, 2.9].map((factor) => sha(transform(image, factor).data)), hashes, name);
  }
});

Deno.test("brightness() and saturation() give torchvision's floats, bit for bit", () => {
  const expected = {
    brightness: [brightness, "151ff79f29e96d21", "0a7ae8b2fe82a2c9", "411968380dc57c0d", "67b486730ec966cc"],
    saturation: [saturation, "09ab5c2f633d9945", "678b3b029346c239", "80ef55c4b0089461", "b9988de164ff65a0"],
  } as const;
  for (const [name, [transform, ...hashes]] of Object.entries(expected)) {
    assert.deepEqual([0, 0.37, 1.3, 2.9].map((factor) => sha(transform(floats, factor).data)), hashes, name);
  }
});

Deno.test("contrast() at 0 is the mean grey, and mixes linearly from there", () => {
  // Per value 0.2989 R + 0.587 G + 0.114 B in float64, against float32: a few units in the last place.
  const { data } = floats;
  let mean = 0;
  for (let i = 0; i < data.length; i += 3) mean += 0.2989 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
  mean /= data.length / 3;
  assert.ok(contrast(floats, 0).data.every((value) => Math.abs(value - mean) < 3e-7));
  const half = contrast(floats, 0.5).data;
  assert.ok(half.every((value, i) => Math.abs(value - (data[i] + mean) / 2) < 3e-7));
});

Deno.test("a factor of 1 changes nothing, in either form", () => {
  for (const transform of [brightness, contrast, saturation]) {
    assert.equal(distance(transform(floats, 1), floats), 0, transform.name);
  }
  for (const transform of [brightness8, contrast8, saturation8]) {
    assert.equal(distance(transform(image, 1), image), 0, transform.name);
  }
});

Deno.test("a grey image has no saturation to change: floats keep within rounding, bytes within one level", () => {
  const grey = pattern(20, 20, true);
  // The float weights add up to 0.9999, so grey differs by 1e-4 of the value; bytes use weights that add up to 1.
  assert.ok(distance(saturation(toFloatImage(grey), 2.5), toFloatImage(grey)) < 2e-4);
  assert.ok(distance(saturation8(grey, 2.5), grey) <= 1);
});

Deno.test("blends of any image with any factor keep size and range, and leave their input alone", () => {
  const anyImage = fc.integer({ min: 1, max: 12 }).chain((side) =>
    fc.uint8Array({ minLength: side * 15, maxLength: side * 15 }).map((data) => ({ width: side, height: 5, data }))
  );
  fc.assert(
    fc.property(anyImage, fc.double({ min: 0, max: 4, noNaN: true }), (bytes, factor) => {
      const x = toFloatImage(bytes), before = x.data.slice();
      for (const transform of [brightness, contrast, saturation]) assertInRange(transform(x, factor), x);
      assert.deepEqual(x.data, before);
      // The forms differ by the rounding of the mean or the grey (half a level, times |1 - factor|) and by being cut off.
      const forms = [[brightness, brightness8], [contrast, contrast8], [saturation, saturation8]] as const;
      for (const [float, eight] of forms) {
        const most = 1.1 + Math.abs(1 - factor) * 0.6;
        assert.ok(distance(toRgbImage(float(x, factor)), eight(bytes, factor)) <= most, `${float.name} ${factor}`);
      }
    }),
    { numRuns: 60, seed: 1 },
  );
});

Deno.test("blends throw on a negative factor and on none", () => {
  assert.throws(
    () => brightness(floats, -0.1),
    /^RangeError: brightness: expected a factor of at least 0 .* got -0.1$/,
  );
  assert.throws(() => saturation8(image, NaN), /^RangeError: saturation8: .* got NaN$/);
});
