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
  for (const [name, gain] of [["brightness", 1.1], ["brightness", 0.9], ["contrast", 1.1]] as const) {
    const changed = await after(`${name}:${gain}`);
    let found = 0;
    changed.forEach((image, i) => {
      const levels = levelsOf(image);
      if (levels === undefined || Math.abs(levels.gain - gain) > 0.006) return;
      found++;
      const undone = undoLevels(image, levels).data, original = images[i].data;
      // What was clipped to 255 is lost.
      let error = 0, kept = 0;
      image.data.forEach((value, at) => {
        if (value === 0 || value === 255) return;
        error += Math.abs(undone[at] - original[at]);
        kept++;
      });
      assert.ok(error / kept < (name === "contrast" ? 3 : 1.5), `${name} ${gain}: ${error / kept} levels`);
    });
    assert.ok(found >= 5, `${name}:${gain}: found in ${found} of ${images.length}`);
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
