import assert from "node:assert/strict";
import { sniff, UnreadableImageError } from "../../../../attribution/images/decode.ts";
import { parseEdits } from "../../../../attribution/images/edits/mod.ts";
import { type ImageInput, pixelsOf, readContent, storedImage } from "../../../../attribution/images/load.ts";
import { preprocess } from "../../../../attribution/images/preprocess.ts";
import { sha256Hex } from "../../../../util/hash.ts";
import { pattern } from "../augment/images.ts";

const path = "examples/Dataset/test/0001.png";

function input(edits?: string): ImageInput {
  return { imageName: "a", path, ...edits !== undefined && { edits: parseEdits(edits) } };
}

Deno.test("the hash covers content and edits; no edits leave it as it is", async () => {
  const plain = (await readContent(input())).sha256;
  assert.equal((await readContent(input("none"))).sha256, plain);
  const edited = (await readContent(input("jpeg:90"))).sha256;
  assert.equal(edited, await sha256Hex(new TextEncoder().encode(`${plain} [{"name":"jpeg","quality":90}]`)));
  const texts = ["jpeg:90", "jpeg:91", "mirror", "mirror,jpeg:90", "jpeg:90,mirror", "noise:2", "noise:2:1"];
  const hashes = await Promise.all(texts.map(async (text) => (await readContent(input(text))).sha256));
  assert.equal(new Set([plain, ...hashes]).size, texts.length + 1);
});

Deno.test("pixels are those of the edited image, resized to the networks' size; facts get its file", async () => {
  const edits = "resize:2,jpeg:75";
  const { bytes } = await readContent(input(edits));
  const stored = await storedImage(input(edits), bytes);
  assert.equal(sniff(stored.bytes!).format, "jpeg");
  const pixels = await pixelsOf(input(edits), bytes, [64]);
  assert.deepEqual([pixels.width, pixels.height], [stored.image.width, stored.image.height]);
  assert.deepEqual(pixels.bySize.get(64), preprocess(stored.image, 64));
  const untouched = await storedImage(input(), bytes);
  assert.equal(untouched.bytes, bytes);
  assert.equal(stored.image.width, 2 * untouched.image.width);
  assert.equal((await storedImage(input("mirror"), bytes)).bytes, undefined);
});

Deno.test("images that are too small or become too large are unreadable; wrong edits stop the run", async () => {
  const image = pattern(6, 6);
  const stored = (edits: string) => storedImage({ imageName: "a", image, edits: parseEdits(edits) }, undefined, 1000);
  await assert.rejects(stored("crop:3"), (error: UnreadableImageError) => {
    assert.equal(error.message, "crop:3: crop: expected an image larger than 6x6, got 6x6");
    return error.reason === "unsupported";
  });
  await assert.rejects(stored("resize:10"), (error: UnreadableImageError) => error.reason === "too-large");
  const wrong: ImageInput = { imageName: "a", image, edits: [{ name: "jpeg", quality: 0 }] };
  await assert.rejects(storedImage(wrong, undefined), RangeError);
  const decoded = { sha256: "0", pixels: { width: 6, height: 6, bySize: new Map() } };
  await assert.rejects(readContent({ imageName: "a", decoded, edits: parseEdits("mirror") }), TypeError);
});
