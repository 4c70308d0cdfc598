/** PNG files that are written here, read back by libpng. */
import assert from "node:assert/strict";
import { writePng } from "../../../attribution/images/png.ts";
import { decodeImage, encodePng } from "../../../attribution/images/decode.ts";
import { uniforms } from "../../../core/tensor/mod.ts";
import { goldenImage } from "../golden_image.ts";

Deno.test("writePng() writes what libpng reads back, at every size and with every filter", async () => {
  for (const [width, height] of [[1, 1], [1, 7], [5, 1], [3, 2], [64, 64], [33, 17]]) {
    const noise = Uint8Array.from(uniforms(1, width, width * height * 3), (u) => Math.floor(256 * u));
    const flat = new Uint8Array(width * height * 3).fill(200);
    const slope = flat.map((_, i) => (i % (3 * width)) + 2 * Math.floor(i / (3 * width)));
    for (const data of [noise, flat, slope, goldenImage(2, width, height).data]) {
      const image = { width, height, data };
      assert.deepEqual(await decodeImage(writePng(image)), image);
    }
  }
});

Deno.test("writePng() writes files no larger than ImageMagick's by more than a percent", async () => {
  for (const k of [0, 1, 2]) {
    const image = goldenImage(k, 64, 64);
    assert.ok(writePng(image).length <= 1.01 * (await encodePng(image)).length);
  }
});

Deno.test("writePng() refuses pixels that do not fit the size", () => {
  const data = new Uint8Array(11);
  assert.throws(() => writePng({ width: 2, height: 2, data }), /writePng: 2x2 RGB expects 12 bytes, got 11/);
});
