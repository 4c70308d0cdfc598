/** Brightness and contrast that were changed in bytes: found, and undone. */
import assert from "node:assert/strict";
import { decodeImage } from "../../../../attribution/images/decode.ts";
import { applyEdits, parseEdits } from "../../../../attribution/images/edits/mod.ts";
import { levelsOf, undoLevels } from "../../../../attribution/images/facts/levels.ts";

const dataset = new URL("../../../../examples/Dataset/", import.meta.url).pathname;
const names = ["rarb/001", "rarxl/007", "var16/003", "var30/012", "var20/030", "rarxxl/021"];
const images = await Promise.all(
  names.map(async (name) => await decodeImage(await Deno.readFile(`${dataset}train/${name}.png`))),
);
const after = (text: string) =>
  Promise.all(images.map(async (image) => (await applyEdits(image, parseEdits(text))).image));

Deno.test("levelsOf() finds the gain of brightness and contrast, and undoLevels() brings the bytes back", async () => {
  // Contrast about some greys leaves the gaps of a brightness, and is then undone as one.
  for (const [name, gain, least] of [["brightness", 1.1, 5], ["brightness", 0.9, 5], ["contrast", 1.1, 3]] as const) {
    const undone = (await after(`${name}:${gain}`)).filter((image, i) => {
      const levels = levelsOf(image);
      if (levels === undefined || Math.abs(levels.gain - gain) > 0.006) return false;
      const plain = undoLevels(image, levels).data, original = images[i].data;
      // What was clipped to 255 is lost.
      const errors = Array.from(image.data.keys()).filter((at) => image.data[at] % 255 > 0)
        .map((at) => Math.abs(plain[at] - original[at]));
      return errors.reduce((a, b) => a + b) / errors.length < 1.5;
    });
    assert.ok(undone.length >= least, `${name}:${gain}: undone in ${undone.length} of ${images.length}`);
  }
});

Deno.test("levelsOf() finds nothing in images as they were, saturated, compressed or of few colours", async () => {
  for (const text of ["none", "saturation:1.2", "jpeg:90", "palette:64", "noise:2", "brightness:1.1,jpeg:90"]) {
    (await after(text)).forEach((image, i) => assert.equal(levelsOf(image), undefined, `${names[i]} after ${text}`));
  }
});

Deno.test("undoLevels() inverts every byte that was not clipped", () => {
  const data = Uint8Array.from({ length: 231 * 3 }, (_, i) => Math.trunc(i / 3));
  const brighter = data.map((value) => Math.trunc(1.1 * value));
  const undone = undoLevels({ width: 231, height: 1, data: brighter }, { gain: 1.1, offset: 0, rounded: false });
  assert.deepEqual(undone.data, data);
});
