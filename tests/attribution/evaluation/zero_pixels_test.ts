/** The baseline that sees no pixel, on files that give their label away and on files that do not. */
import assert from "node:assert/strict";
import { type FileLook, zeroPixels, zeroPixelWarnings } from "../../../attribution/evaluation/zero_pixels.ts";
import { officialLabels } from "../../labels.ts";

/** Files of three labels, 30 of each, whose formats and lengths come from `look`. */
function files(look: (label: string, i: number) => Partial<FileLook>): FileLook[] {
  return ["rarb", "var16", "outlier"].flatMap((label) =>
    Array.from({ length: 30 }, (_, i): FileLook => ({
      ...{
        format: "png",
        width: 64,
        height: 64,
        bytes: 8000 + (i * 37 % 30),
        label,
        source: label,
        picture: `${label} ${i}`,
      },
      ...look(label, i),
    }))
  );
}

Deno.test("PNG fakes against JPEG photographs are found without a pixel, and there is a warning", () => {
  const found = zeroPixels(files((label) => label === "outlier" ? { format: "jpeg" } : {}), officialLabels);
  assert.equal(found.outliers.accuracy.value, 1);
  assert.equal(found.outliers.chance, 2 / 3);
  assert.ok(found.outliers.isBetter);
  assert.ok(found.labels.accuracy.value! >= 1 / 3 && found.labels.accuracy.value! < 0.8);
  assert.match(
    zeroPixelWarnings(found).join("\n"),
    /length alone tell outliers from generated images in 100\.0 % of the images \(the most frequent answer: 66\.7 %\)/,
  );
});

Deno.test("sizes and lengths give labels away, too", () => {
  const bySize = zeroPixels(
    files((label) => ({ rarb: { width: 65 }, var16: { height: 65 } })[label] ?? {}),
    officialLabels,
  );
  assert.equal(bySize.families.accuracy.value, 1);
  const byLength = zeroPixels(
    files((label, i) => ({ bytes: 1000 * (1 + officialLabels.all.indexOf(label)) + i })),
    officialLabels,
  );
  assert.equal(byLength.labels.accuracy.value, 1);
});

Deno.test("files that all look alike are guessed no better than by chance, and nothing is warned of", () => {
  const found = zeroPixels(files(() => ({})), officialLabels);
  assert.deepEqual([found.labels, found.families, found.outliers].map(({ isBetter }) => isBetter), [
    false,
    false,
    false,
  ]);
  assert.deepEqual(zeroPixelWarnings(found), []);
});

Deno.test("other crops of the same picture do not vote", () => {
  // Each picture has a length of its own: only its own crops look like it, and they do not count.
  const crops = files((label, i) => ({
    bytes: 1000 * (1 + i % 10) + (label === "outlier" ? 500 : 0),
    picture: `${label} ${i % 10}`,
  }));
  assert.ok(!zeroPixels(crops.filter(({ label }) => label !== "var16"), officialLabels).outliers.isBetter);
  assert.throws(() => zeroPixels([], officialLabels), /expected at least one image, got none/);
});
