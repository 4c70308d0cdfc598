import assert from "node:assert/strict";
import { encodeJpeg, jpeg, jpeg8, toFloatImage, toRgbImage } from "../../../../attribution/images/augment/mod.ts";
import { distance, pattern, sha } from "./images.ts";

Deno.test("encodeJpeg() writes Pillow's files and jpeg8() gives its pixels: odd sizes, grey, all ends of the scale", async () => {
  const cases: [number, number, number, boolean, string, string][] = [
    [1, 1, 75, false, "1ac00640f70b91e8", "8d2f5e829d4b82fc"],
    [7, 5, 1, false, "76bf594b7b4cb992", "c46d3141cca38ead"],
    [17, 33, 89, false, "19ed84aef2656548", "fa405913f5848d27"],
    [33, 17, 90, false, "4cd5f8a938b03669", "2bfe407f8d46b4ae"],
    [50, 30, 100, false, "0fe160aa068f7778", "5205dec13fc12b88"],
    [16, 16, 50, true, "b2de3b03e8a59b08", "e6c490cab2c0e0af"],
    [45, 9, 95, true, "890fb48dfa4e0aab", "d0fd78e0ad6edce6"],
    [64, 64, 60, false, "675f8714868694c2", "11feb33feb8c48f9"],
  ];
  for (const [width, height, quality, grey, file, pixels] of cases) {
    const image = pattern(width, height, grey);
    const name = `${width}x${height} quality ${quality}`;
    assert.equal(sha(await encodeJpeg(image, quality)), file, name);
    assert.equal(sha((await jpeg8(image, quality)).data), pixels, name);
  }
});

Deno.test("jpeg() is jpeg8() between a conversion to bytes that cuts off and one back", async () => {
  const image = pattern(24, 16);
  const floats = toFloatImage(image);
  assert.deepEqual(await jpeg(floats, 70), toFloatImage(await jpeg8(image, 70)));
  const between = { ...floats, data: floats.data.map((value) => value + 0.9 / 255) };
  between.data.forEach((value, i) => between.data[i] = Math.min(value, 1));
  assert.deepEqual(await jpeg(between, 70), await jpeg(floats, 70));
});

Deno.test("toRgbImage() undoes toFloatImage() for all bytes, clamps, and cuts off", () => {
  const all = { width: 256, height: 1, data: Uint8Array.from({ length: 768 }, (_, i) => Math.trunc(i / 3)) };
  assert.equal(distance(toRgbImage(toFloatImage(all)), all), 0);
  const data = Float32Array.of(-0.5, 1.5, 0.99999);
  assert.deepEqual([...toRgbImage({ width: 1, height: 1, data }).data], [0, 255, 254]);
});

Deno.test("a lower quality costs more", async () => {
  const image = pattern(48, 48);
  const square = (a: Uint8Array, b: Uint8Array) => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
  const costs: number[] = [];
  for (const quality of [95, 75, 50, 20, 5]) costs.push(square((await jpeg8(image, quality)).data, image.data));
  assert.deepEqual(costs.toSorted((a, b) => a - b), costs);
});

Deno.test("encodeJpeg() throws on a quality that is no whole number of 1..100 and on pixels that are missing", async () => {
  const image = pattern(8, 8);
  for (const quality of [0, 101, 60.5, NaN]) {
    await assert.rejects(encodeJpeg(image, quality), /^RangeError: encodeJpeg: expected a quality of 1\.\.100, got/);
  }
  const short = { ...image, data: image.data.subarray(1) };
  await assert.rejects(encodeJpeg(short, 60), /^RangeError: encodeJpeg: .* got 8x8 and 191 bytes$/);
});
