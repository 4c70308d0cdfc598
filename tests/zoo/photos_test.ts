/** The table of photographs, its splits, and which crops are taken. */
import assert from "node:assert/strict";
import type { RgbImage } from "../../attribution/images/image.ts";
import { uniforms } from "../../core/tensor/random.ts";
import {
  cropsOf,
  hashDistance,
  packages,
  perceptualHash,
  photos,
  sameHash,
  splitOf,
  splits,
} from "../../zoo/photos.ts";

const side = 64;

/** Smooth random waves with some noise: not flat anywhere, and different for every seed. */
function picture(seed: number, width: number, height: number): RgbImage {
  const u = uniforms(seed, 1, 24), noise = uniforms(seed, 2, width * height * 3);
  const wave = (size: number, from: number) =>
    Array.from(
      { length: 6 },
      (_, k) =>
        Float64Array.from({ length: size }, (_, i) =>
          Math.sin(30 * (u[from + k] - 0.5) * i / size + 6 * u[from + k + 6])),
    );
  const across = wave(width, 0), down = wave(height, 12);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let value = 128;
      for (let k = 0; k < 6; k++) value += 25 * across[k][x] * down[k][y];
      for (let c = 0; c < 3; c++, i++) data[i] = Math.max(0, Math.min(255, value + 20 * c + 60 * (noise[i] - 0.5)));
    }
  }
  return { width, height, data };
}

const taken = (id: string) => ({ id, held: false });

Deno.test("photos: every photograph belongs to a package, and has a licence, an author and the split of its name", () => {
  const names = new Set(packages.map(({ name }) => name));
  const byId = new Map(photos.map((photo) => [photo.id, photo]));
  assert.equal(byId.size, photos.length, "names are unique");
  for (const photo of photos) {
    assert.ok(names.has(photo.package), photo.id);
    assert.match(photo.licence, /^(CC0|CC-BY-(SA-)?\d|public-domain|L?GPL)/, photo.id);
    assert.notEqual(photo.author, "", photo.id);
    assert.equal(photo.split, splitOf(photo.sameAs ?? photo.id), photo.id);
    if (photo.sameAs !== undefined) assert.equal(byId.get(photo.sameAs)?.sameAs, undefined, photo.id);
  }
  assert.deepEqual(photos.map(({ id }) => id), photos.map(({ id }) => id).toSorted());
});

Deno.test("photos: no file is in two splits, and each split has its share", () => {
  const files = photos.map((photo) => `${photo.package} ${photo.file} ${photo.entry ?? ""}`);
  assert.equal(new Set(files).size, photos.length);
  for (const photo of photos) {
    const head = photos.find(({ id }) => id === photo.sameAs);
    if (head !== undefined) assert.equal(head.split, photo.split, `${photo.id} and ${head.id}`);
  }
  const shares = splits.map((split) => photos.filter((photo) => photo.split === split).length / photos.length);
  assert.ok(shares[0] > 0.75 && shares[1] > 0.06 && shares[2] > 0.06, shares.join(" "));
});

Deno.test("splitOf() is about 80, 10 and 10 per cent of names, and the same every time", () => {
  const counts = { train: 0, val: 0, outlier: 0 };
  for (let i = 0; i < 4000; i++) counts[splitOf(`name ${i}`)]++;
  // Binomial: standard deviations of 25 and 19.
  assert.ok(Math.abs(counts.train - 3200) < 125 && Math.abs(counts.val - 400) < 95, JSON.stringify(counts));
  assert.deepEqual(["a", "b", "f", "p"].map(splitOf), ["val", "train", "val", "outlier"]);
});

Deno.test("perceptualHash() stays nearly the same when a picture is scaled or darkened, not for another picture", () => {
  const one = picture(3, 320, 200), other = perceptualHash(picture(4, 320, 200));
  const hash = perceptualHash(one);
  const dark = { ...one, data: one.data.map((value) => value * 0.8) };
  const small = { width: 160, height: 100, data: new Uint8Array(160 * 100 * 3) };
  for (let i = 0; i < small.data.length; i++) {
    const c = i % 3, x = Math.floor(i / 3) % 160, y = Math.floor(i / 480);
    small.data[i] = one.data[(2 * y * 320 + 2 * x) * 3 + c];
  }
  assert.ok(hashDistance(hash, perceptualHash(dark)) <= sameHash);
  assert.ok(hashDistance(hash, perceptualHash(small)) <= sameHash);
  assert.ok(hashDistance(hash, other) > sameHash);
});

Deno.test("cropsOf() gives the same crops every time, inside the reduced photograph, for its name only", () => {
  const image = picture(5, 600, 420);
  const crops = cropsOf(image, taken("a"), side);
  assert.deepEqual(crops, cropsOf(image, taken("a"), side));
  assert.notDeepEqual(crops.map(({ x, y }) => [x, y]), cropsOf(image, taken("b"), side).map(({ x, y }) => [x, y]));
  assert.deepEqual([...new Set(crops.map(({ scale }) => scale))], [96, 160, 256, 400]);
  assert.equal(crops.length, 6 + 15 + 24 + 40);
  for (const { scale, x, y, pixels } of crops) {
    assert.equal(pixels.length, side * side * 3);
    assert.ok(x >= 0 && y >= 0 && y + side <= scale && x + side <= Math.round(600 * scale / 420));
  }
});

Deno.test("cropsOf() takes crops of twice the size at scales of twice the size", () => {
  const crops = cropsOf(picture(5, 1200, 840), taken("a"), 128);
  assert.deepEqual([...new Set(crops.map(({ scale }) => scale))], [192, 320, 512, 800]);
  assert.ok(crops.every(({ pixels }) => pixels.length === 128 * 128 * 3));
});

Deno.test("cropsOf() cuts the pixels that its position names", () => {
  const size = 96; // used at its own size at the coarsest scale, so nothing is resampled
  const image = picture(6, size, size);
  for (const { scale, x, y, pixels } of cropsOf(image, taken("c"), side)) {
    assert.equal(scale, size);
    for (const [row, column] of [[0, 0], [13, 40], [63, 63]]) {
      const from = ((y + row) * size + x + column) * 3, at = (row * side + column) * 3;
      assert.deepEqual(pixels.subarray(at, at + 3), image.data.subarray(from, from + 3));
    }
  }
});

Deno.test("cropsOf() takes the long side's cells along the height of an upright photograph", () => {
  const crops = cropsOf(picture(7, 200, 800), taken("d"), side).filter(({ scale }) => scale === 96);
  assert.equal(crops.length, 6);
  assert.ok(Math.max(...crops.map(({ y }) => y)) > 200 && Math.max(...crops.map(({ x }) => x)) <= 32);
});

Deno.test("cropsOf() leaves out flat crops, never enlarges, and thins the splits that measure", () => {
  const grey = { width: 500, height: 500, data: new Uint8Array(500 * 500 * 3).fill(90) };
  assert.equal(cropsOf(grey, taken("e"), side).length, 0);
  assert.deepEqual([...new Set(cropsOf(picture(8, 300, 130), taken("f"), side).map(({ scale }) => scale))], [96, 130]);
  assert.equal(cropsOf(picture(8, 90, 60), taken("g"), side).length, 0);
  const image = picture(9, 400, 300);
  assert.deepEqual(
    cropsOf(image, { id: "h", held: true }, side),
    cropsOf(image, taken("h"), side).filter((_, i) => i % 2 === 0),
  );
});
