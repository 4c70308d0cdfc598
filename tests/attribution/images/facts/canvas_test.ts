import assert from "node:assert/strict";
import { pictureOf } from "../../../../attribution/images/facts/canvas.ts";
import { edited, generated, photographs } from "./samples.ts";

Deno.test("pictureOf() finds no canvas around images as they are", () => {
  for (const image of generated) assert.equal(pictureOf(image), undefined);
  // One of the photographs has an even dark sky over half of it, cut off straight.
  assert.ok(photographs.filter((image) => pictureOf(image) !== undefined).length <= 1);
});

Deno.test("pictureOf() finds the picture within canvases of one colour, to the pixel", async () => {
  const places: Record<string, [left: number, top: number]> = {
    "canvas:3": [64, 64],
    "canvas:3:#000000": [64, 64],
    "canvas:192x64": [64, 0],
    "canvas:64x80+0+0:#336699": [0, 0],
    "canvas:300x200+17+101:#808080": [17, 101],
  };
  for (const [edits, [left, top]] of Object.entries(places)) {
    const pictures = (await edited(generated, edits)).map(({ image }) => pictureOf(image));
    const right = pictures.filter((found) =>
      found?.left === left && found.top === top && found.width === 64 &&
      found.height === 64
    );
    assert.ok(right.length >= generated.length - 1, `${edits}: ${JSON.stringify(pictures)}`);
  }
});

Deno.test("pictureOf() finds the picture within 2 pixels after JPEG", async () => {
  const pictures = (await edited(generated, "canvas:3,jpeg:75")).map(({ image }) => pictureOf(image));
  const right = pictures.filter((found) => {
    const { left = 0, top = 0, width = 0, height = 0 } = found ?? {};
    return [left - 64, top - 64, left + width - 128, top + height - 128].every((error) => Math.abs(error) <= 2);
  });
  assert.ok(right.length >= generated.length - 1, JSON.stringify(pictures));
});

Deno.test("pictureOf() takes an object before a plain background for no picture, and a flat image neither", () => {
  const side = 64, data = new Uint8Array(side * side * 3).fill(255);
  for (let i = 0; i < side * side; i++) {
    if (Math.hypot(i % side - 32, Math.floor(i / side) - 32) < 20) data.fill(i % 97, 3 * i, 3 * i + 3);
  }
  assert.equal(pictureOf({ width: side, height: side, data }), undefined);
  assert.equal(pictureOf({ width: side, height: side, data: new Uint8Array(side * side * 3) }), undefined);
  assert.equal(pictureOf({ width: 1, height: 1, data: new Uint8Array(3) }), undefined);
});
