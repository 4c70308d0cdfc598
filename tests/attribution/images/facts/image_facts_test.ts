import assert from "node:assert/strict";
import * as v from "npm:valibot@1.5.0";
import type { RgbImage } from "../../../../attribution/images/decode.ts";
import { imageFactsSchema } from "../../../../attribution/images/facts/facts.ts";
import { imageFacts } from "../../../../attribution/images/facts/image_facts.ts";
import { countColours } from "../../../../attribution/images/facts/statistics.ts";
import { edited, generated, photographs } from "./samples.ts";

function filled(width: number, height: number, value: (i: number) => number): RgbImage {
  return { width, height, data: Uint8Array.from({ length: width * height * 3 }, (_, i) => value(i)) };
}

const busy = (i: number) => Math.imul(i + 1, 2654435761) >>> 24;

Deno.test("imageFacts() says why nothing can be measured of an image", async () => {
  const reason = (image: RgbImage) => imageFacts(undefined, image, [64, 256]).unsuitable;
  assert.equal(reason(filled(1, 1, () => 7)), "too-small");
  assert.equal(reason(filled(16, 16, busy)), "too-small");
  assert.equal(reason(filled(8000, 10, busy)), "too-small");
  assert.equal(reason(filled(64, 64, () => 0)), "no-texture");
  assert.equal(reason(filled(64, 64, (i) => 100 + busy(i) % 4)), "no-texture");
  assert.equal(reason(filled(8000, 64, busy)), "too-elongated");
  assert.equal(reason(filled(48, 48, busy)), undefined);
  for (const image of [...generated, ...photographs]) assert.equal(reason(image), undefined);
  for (const edits of ["crop:3", "crop:8", "canvas:3", "canvas:600x64", "resize:0.75", "brightness:0.5"]) {
    for (const { image } of await edited(generated, edits)) assert.equal(reason(image), undefined, edits);
  }
});

Deno.test("imageFacts() works on images of every small size, and its facts fit the schema", () => {
  for (const [width, height] of [[1, 1], [1, 40], [3, 2], [7, 9], [15, 33], [64, 5], [65, 63], [700, 20]]) {
    for (const value of [() => 0, () => 255, busy, (i: number) => i % 256]) {
      const facts = imageFacts(undefined, filled(width, height, value), [64]);
      assert.ok(v.is(imageFactsSchema, facts), `${width}x${height}: ${JSON.stringify(facts)}`);
      assert.ok(Number.isFinite(facts.noise) && Number.isFinite(facts.contrast), JSON.stringify(facts));
    }
  }
});

Deno.test("imageFacts() measures colours, contrast and noise", async () => {
  const wide = filled(256, 256, (i) => [i % 256, (i >> 8) % 256, (i >> 3) % 256][i % 3]);
  const colours = new Set(Array.from({ length: 256 * 256 }, (_, i) => wide.data.subarray(3 * i, 3 * i + 3).join()));
  assert.equal(countColours(wide), Math.min(65536, colours.size));
  const halves = filled(64, 64, (i) => i < 64 * 64 * 3 / 2 ? 100 : 140);
  assert.deepEqual([imageFacts(undefined, halves, [64]).colours, imageFacts(undefined, halves, [64]).contrast], [
    2,
    20,
  ]);
  for (const { image } of await edited(generated, "palette:64")) {
    assert.ok(imageFacts(undefined, image, [64]).colours <= 64);
  }
  // Noise of 2 levels per channel is noise of 1.34 levels of luma.
  const noises = (await edited(generated, "noise:2")).map(({ image }) => imageFacts(undefined, image, [64]).noise);
  const plain = generated.map((image) => imageFacts(undefined, image, [64]).noise);
  assert.ok(noises.every((noise) => noise > 0.8 && noise < 1.8), `${noises}`);
  assert.ok(plain.every((noise) => noise < 0.4), `${plain}`);
});

Deno.test("imageFacts() depends on bytes and pixels alone", async () => {
  const [{ image, bytes }] = await edited(generated.slice(0, 1), "resize:2,jpeg:80");
  assert.deepEqual(imageFacts(bytes, image, [64]), imageFacts(bytes, image, [64]));
  assert.equal(imageFacts(bytes, image, [64]).file?.jpeg?.quality, 80);
  assert.equal(imageFacts(undefined, image, [64]).earlierJpeg?.quality, 80);
});
