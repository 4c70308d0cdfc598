import assert from "node:assert/strict";
import type { RgbImage } from "../../../../attribution/images/decode.ts";
import { bandwidthOf } from "../../../../attribution/images/facts/bandwidth.ts";
import { imageFacts } from "../../../../attribution/images/facts/image_facts.ts";
import { lumaTiles } from "../../../../attribution/images/facts/luma.ts";
import { edited, generated, photographs } from "./samples.ts";

/** What is found of resampling after edits. */
async function found(images: readonly RgbImage[], edits: string) {
  return (await edited(images, edits)).map(({ image, bytes }) => imageFacts(bytes, image, [64]).resampling);
}

/** In how many images something is found. */
async function count(images: readonly RgbImage[], edits: string): Promise<number> {
  return (await found(images, edits)).filter((resampling) => resampling !== undefined).length;
}

Deno.test("imageFacts() finds no resampling in images as they are, nor after edits that do not resample", async () => {
  for (const edits of ["none", "jpeg:90", "jpeg:75", "webp:80", "noise:2", "brightness:1.1", "mirror", "crop:3"]) {
    assert.equal(await count(generated, edits), 0, edits);
  }
  // Of 60 photographs one has the rhythm of an enlargement by 1.5 before it was cropped.
  assert.ok(await count(photographs, "none") <= 1);
});

Deno.test("imageFacts() finds enlarged images", async () => {
  for (
    const [edits, least] of [["resize:2", 10], ["resize:4", 10], ["resize:4,jpeg:90", 8]] as const
  ) {
    const number = await count(generated, edits);
    assert.ok(number >= least, `${edits}: ${number} of ${generated.length}`);
  }
});

Deno.test("imageFacts() tells the factor of an enlargement by the rhythm of interpolation", async () => {
  for (const factor of [1.5, 3]) {
    const results = await found(generated, `resize:${factor}`);
    const told = results.flatMap((result) => result && result.factor !== null ? [result.factor] : []);
    assert.ok(told.length >= 6, `${factor}: ${told}`);
    for (const value of told) assert.ok(Math.abs(value / factor - 1) < 0.05, `${factor}: ${told}`);
  }
});

Deno.test("bandwidthOf() is near the frequency of a wave, and absent for flat images", () => {
  for (const frequency of [0.1, 0.2, 0.4]) {
    const data = new Uint8Array(64 * 64 * 3);
    for (let i = 0; i < 64 * 64; i++) {
      const [x, y] = [i % 64, Math.floor(i / 64)];
      const value = 128 + 40 * Math.cos(2 * Math.PI * frequency * x) + 40 * Math.cos(2 * Math.PI * frequency * y);
      data.fill(Math.round(value), 3 * i, 3 * i + 3);
    }
    const bandwidth = bandwidthOf(lumaTiles({ width: 64, height: 64, data })[0])!;
    assert.ok(Math.abs(bandwidth - frequency) < 0.03, `${frequency}: ${bandwidth}`);
  }
  assert.equal(
    bandwidthOf(lumaTiles({ width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(9) })[0]),
    undefined,
  );
});
