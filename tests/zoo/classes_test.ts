/** Features of crops, k-means, and the stored classes. */
import assert from "node:assert/strict";
import { normals, uniforms } from "../../core/tensor/random.ts";
import { classify, featureCount, featuresOf, fitClasses, kMeans } from "../../zoo/classes.ts";
import { zooRecipes } from "../../zoo/recipes.ts";

const side = 64;

function noise(seed: number): Uint8Array {
  return Uint8Array.from(uniforms(seed, 1, side * side * 3), (u) => u * 256);
}

/** Crops of one colour each with a little noise: `of` names the colour of each. */
function planted(of: readonly number[], colours: readonly (readonly number[])[]): Uint8Array {
  const jitter = uniforms(11, 3, of.length * side * side * 3);
  return Uint8Array.from(jitter, (u, i) => colours[of[Math.floor(i / (side * side * 3))]][i % 3] + 20 * (u - 0.5));
}

Deno.test("featuresOf() of a mirrored crop are the same, of one turned upside down they are not", () => {
  const crop = noise(1);
  // A gradient from top to bottom, so that the bands differ.
  crop.forEach((value, i) => crop[i] = value / 2 + Math.floor(i / (3 * side)));
  const mirrored = crop.slice(), turned = crop.slice();
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      for (let c = 0; c < 3; c++) {
        mirrored[(y * side + x) * 3 + c] = crop[(y * side + side - 1 - x) * 3 + c];
        turned[(y * side + x) * 3 + c] = crop[((side - 1 - y) * side + x) * 3 + c];
      }
    }
  }
  const features = featuresOf(crop, side);
  featuresOf(mirrored, side).forEach((value, k) => assert.ok(Math.abs(value - features[k]) < 1e-9));
  assert.ok(Math.abs(featuresOf(turned, side)[0] - features[0]) > 20);
});

Deno.test("featuresOf() of a plain red crop", () => {
  const red = new Uint8Array(side * side * 3);
  for (let i = 0; i < red.length; i += 3) red[i] = 200;
  const [y, cb, cr, deviation, across, down] = featuresOf(red, side);
  // BT.601: Y = 0.299 R, Cb = 0.564 (B - Y), Cr = 0.713 (R - Y).
  [[y, 59.8], [cb, -33.7272], [cr, 99.9626], [deviation, 0], [across, 0], [down, 0]].forEach(([found, expected]) =>
    assert.ok(Math.abs(found - expected) < 1e-4, `${found} ${expected}`)
  );
  assert.throws(() => featuresOf(red.subarray(3), side), /side 64 expects 12288 bytes, got 12285/);
});

Deno.test("kMeans() recovers planted clusters, the most frequent first, and repeats itself", () => {
  const truth = [[0, 0], [8, 0], [0, 9], [-7, -7]], sizes = [200, 150, 100, 60];
  const jitter = normals(5, 1, 2 * 510);
  const labels = sizes.flatMap((size, c) => new Array(size).fill(c));
  const points = labels.map((c, i) => Float64Array.of(truth[c][0] + jitter[2 * i], truth[c][1] + jitter[2 * i + 1]));
  const { centres, error } = kMeans(points, { count: 4, seed: 1 });
  // The mean of 60 unit normals has a standard deviation of 0.13.
  centres.forEach((centre, c) => centre.forEach((v, k) => assert.ok(Math.abs(v - truth[c][k]) < 0.5, `${centres}`)));
  assert.ok(Math.abs(error - 2) < 0.3, `two dimensions of unit variance, got ${error}`);
  assert.deepEqual(kMeans(points, { count: 4, seed: 1 }), { centres, error });
  assert.throws(() => kMeans(points.slice(0, 3), { count: 4, seed: 1 }), /at least 4 points, got 3/);
});

Deno.test("fitClasses() and classify() recover planted colours", () => {
  const of = Array.from({ length: 60 }, (_, i) => i % 6 < 3 ? 0 : i % 6 < 5 ? 1 : 2);
  const pixels = planted(of, [[200, 60, 50], [60, 200, 50], [60, 50, 200]]);
  assert.deepEqual(Array.from(classify(pixels, side, fitClasses(pixels, side, { count: 3, seed: 3 }))), of);
});

for (const [name, count] of [["tiny", 10], ["matched", 40]] as const) {
  Deno.test(`the classes of the recipe ${name} are ${count}, all different`, () => {
    const { mean, scale, centres } = zooRecipes[name].classes;
    assert.equal(centres.length, count);
    for (const row of [mean, scale, ...centres]) assert.equal(row.length, featureCount);
    assert.equal(new Set(centres.map(String)).size, count);
  });
}

Deno.test("dark, bright, blue, red and noisy crops fall into different ones", () => {
  const dark = new Uint8Array(side * side * 3).fill(20), bright = new Uint8Array(side * side * 3).fill(235);
  const blue = planted([0], [[40, 110, 220]]), red = planted([0], [[220, 60, 20]]);
  const classes = [dark, bright, blue, red, noise(2)].map((pixels) =>
    classify(pixels, side, zooRecipes.tiny.classes)[0]
  );
  assert.equal(new Set(classes).size, 5, classes.join(" "));
});
