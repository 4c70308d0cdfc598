import assert from "node:assert/strict";
import { countOnLattice, jpegConversion, webpConversion } from "../../../../attribution/images/facts/colour_lattice.ts";
import { stepsOf } from "../../../../attribution/images/facts/container.ts";
import { compressionBeforeLast, earlierCompression } from "../../../../attribution/images/facts/earlier.ts";
import { readSegments } from "../../../../attribution/images/jpeg_segments.ts";
import type { RgbImage } from "../../../../attribution/images/image.ts";
import { edited, generated, photographs } from "./samples.ts";

const some = generated.filter((_, i) => i % 2 === 0);

/** Qualities found after edits of generated images; undefined for none. */
async function qualities(edits: string, images = some): Promise<(number | null | undefined)[]> {
  return (await edited(images, edits)).map(({ image }) => earlierCompression(image).earlierJpeg?.quality);
}

const near = (quality: number) => (found: number | null | undefined) => Math.abs((found ?? 0) - quality) <= 2;

Deno.test("earlierCompression() finds nothing in images that were not compressed, nor after other edits", async () => {
  for (const image of [...generated, ...photographs]) assert.deepEqual(earlierCompression(image), {});
  for (const edits of ["grey", "noise:2", "palette:64", "brightness:1.1", "resize:2", "blur:0.5", "mirror"]) {
    for (const { image } of await edited(generated, edits)) assert.deepEqual(earlierCompression(image), {}, edits);
  }
});

Deno.test("earlierCompression() tells the quality of a JPEG that was stored again without loss", async () => {
  for (const quality of [98, 95, 90, 75, 50]) {
    const found = await qualities(`jpeg:${quality}`);
    assert.ok(found.every(near(quality)), `${quality}: ${found}`);
  }
  for (const edits of ["jpeg:90:444", "jpeg:90,mirror", "grey,jpeg:90"]) {
    const found = await qualities(edits);
    assert.ok(found.every(near(90)), `${edits}: ${found}`);
  }
});

Deno.test("earlierCompression() tells a JPEG, but no quality, where every step is 1", async () => {
  assert.deepEqual(await qualities("jpeg:100"), some.map(() => null));
});

Deno.test("earlierCompression() tells by how much a JPEG was cropped", async () => {
  for (const { image } of await edited(some, "jpeg:80,crop:3:1:0:0")) {
    const { quality, grid } = earlierCompression(image).earlierJpeg!;
    assert.ok(near(80)(quality));
    assert.deepEqual(grid, { left: 5, top: 7 });
  }
});

Deno.test("earlierCompression() tells WebP with loss", async () => {
  for (const edits of ["webp:100", "webp:80", "webp:50,crop:3", "jpeg:75,webp:80"]) {
    for (const { image } of await edited(generated, edits)) {
      assert.deepEqual(earlierCompression(image), { earlierWebp: { strength: 1 } }, edits);
    }
  }
});

Deno.test("compressionBeforeLast() tells a stronger compression of a JPEG, and none of a JPEG that has none", async () => {
  const found = async (edits: string) =>
    (await edited(some, edits)).map(({ image, bytes }) =>
      compressionBeforeLast(image, stepsOf(readSegments(bytes!)).luma!).earlierJpeg?.quality
    );
  for (const edits of ["jpeg:95", "jpeg:90", "jpeg:75", "jpeg:90,jpeg:75", "palette:64,jpeg:95"]) {
    assert.deepEqual(await found(edits), some.map(() => undefined), edits);
  }
  const twice = await found("jpeg:75,jpeg:95");
  assert.ok(twice.filter(near(75)).length >= some.length - 1, `${twice}`);
});

Deno.test("countOnLattice() finds the share of random colours that a decoder returns", () => {
  const data = Uint8Array.from({ length: 120_000 }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 24) % 256);
  const image: RgbImage = { width: 200, height: 200, data };
  for (const conversion of [jpegConversion, webpConversion]) {
    const { share } = countOnLattice(image, [{ left: 0, top: 0, width: 200, height: 200 }], conversion);
    assert.ok(share < 0.3, `${share}`);
  }
  let [jpeg, webp, all] = [0, 0, 0];
  for (let r = 60; r < 200; r += 3) {
    for (let g = 60; g < 200; g += 2) {
      for (let b = 60; b < 200; b += 5) {
        all++;
        jpeg += Number(jpegConversion.luma(r, g, b) >= 0);
        webp += Number(webpConversion.luma(r, g, b) >= 0);
      }
    }
  }
  assert.ok(Math.abs(jpeg / all - jpegConversion.density) < 0.01, `${jpeg / all}`);
  assert.ok(Math.abs(webp / all - webpConversion.density) < 0.01, `${webp / all}`);
});
