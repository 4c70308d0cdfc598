import assert from "node:assert/strict";
import { augmented } from "../../training/augmented.ts";
import { makeRecipe } from "../../training/recipe.ts";

const size = 16;

/** Images of whole bytes, [size, size, 3] in [0, 1], with some texture. */
const images = Array.from(
  { length: 40 },
  (_, n) => Float32Array.from({ length: size * size * 3 }, (_, i) => (40 + (i * (n + 3)) % 170) / 255),
);

const recipe = { ...makeRecipe("rar", { ladder: true, seed: 5 }), batch: images.length };

/** The indices of images that the ladder changed at a step. */
async function changed(step: number): Promise<number[]> {
  const seen = await augmented(images, size, recipe, 0, step);
  return images.flatMap((image, i) => seen[i] === image ? [] : [i]);
}

Deno.test("augmented() by the ladder edits about half of the images, others at every step", async () => {
  const [first, second] = [await changed(0), await changed(1)];
  // Of 40 draws with chance 1/2, fewer than 9 or more than 31 have a probability of 2e-4.
  for (const indices of [first, second]) assert(indices.length >= 9 && indices.length <= 31, `${indices.length}`);
  assert(first.join() !== second.join());
});

Deno.test("augmented() by the ladder gives images of bytes, of the size, and the same for the same step", async () => {
  const seen = await augmented(images, size, recipe, 0, 3), again = await augmented(images, size, recipe, 7, 3);
  assert.deepEqual(again, seen);
  for (const values of seen) {
    assert.equal(values.length, size * size * 3);
    for (const value of values) assert.equal(value, Math.fround(Math.round(255 * value) / 255));
  }
  // Edits change pixels: of those that went through some, most are other images.
  const indices = await changed(3);
  const differ = indices.filter((i) => images[i].some((value, k) => value !== seen[i][k]));
  assert(differ.length > indices.length / 2);
});

Deno.test("augmented() returns the images themselves for a recipe without processing", async () => {
  assert.equal(await augmented(images, size, makeRecipe("rar"), 0, 0), images);
});

Deno.test("makeRecipe() refuses both kinds of processing together", () => {
  assert.throws(() => makeRecipe("var", { augment: true, ladder: true }), /--ladder: expected not together/);
});
