import assert from "node:assert/strict";
import type { RgbImage } from "../../../attribution/images/image.ts";
import { pixelsOf, readContent } from "../../../attribution/images/load.ts";
import { pilResize } from "../../../attribution/images/pil_resize.ts";
import type { Pose } from "../../../attribution/images/pose.ts";
import { posedImage } from "../../../attribution/images/posed_image.ts";
import { resizeAndCrop } from "../../../attribution/images/preprocess.ts";

/** An image of 12x10 pixels, byte (37 x + 91 y + 53 c + 7 x y) mod 256. */
const pattern: RgbImage = imageOf(12, 10, (x, y, c) => x * 37 + y * 91 + c * 53 + x * y * 7);

function imageOf(width: number, height: number, value: (x: number, y: number, c: number) => number): RgbImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return value(pixel % width, Math.floor(pixel / width), i % 3) & 255;
  });
  return { width, height, data };
}

function channel({ data }: RgbImage, c: number, width: number): number[][] {
  const values = [...data].filter((_, i) => i % 3 === c);
  return Array.from({ length: values.length / width }, (_, y) => values.slice(y * width, (y + 1) * width));
}

const whole: Pose = { left: 0, top: 0, width: 2, height: 2, turn: 0, mirror: false };

Deno.test("pilResize() equals Pillow's resize of a box", () => {
  // PIL.Image.resize((4, 4), BILINEAR, box=(1.5, 2, 9.5, 8.25)) and ((6, 6), BILINEAR, box=(3, 2, 6, 5)), Pillow 9.4
  const small = pilResize(pattern, 4, 4, "bilinear", { left: 1.5, top: 2, width: 8, height: 6.25 });
  assert.deepEqual(channel(small, 0, 4), [
    [117, 143, 139, 120],
    [148, 142, 149, 122],
    [110, 132, 152, 109],
    [118, 135, 130, 123],
  ]);
  const large = pilResize(pattern, 6, 6, "bilinear", { left: 3, top: 2, width: 3, height: 3 });
  assert.deepEqual(channel(large, 1, 6)[2], [202, 183, 115, 95, 123, 135]);
  assert.throws(() => pilResize(pattern, 4, 4, "box", { left: 9, top: 0, width: 4, height: 4 }), /box within 12x10/);
});

Deno.test("posedImage() undoes a mirror and turns exactly", () => {
  // The native image is 1 2 / 3 4.
  const stored: [Pose["turn"], boolean, number[]][] = [
    [0, false, [1, 2, 3, 4]],
    [0, true, [2, 1, 4, 3]],
    [90, false, [3, 1, 4, 2]],
    [180, false, [4, 3, 2, 1]],
    [270, false, [2, 4, 1, 3]],
    [90, true, [4, 2, 3, 1]],
    [180, true, [3, 4, 1, 2]],
    [270, true, [1, 3, 2, 4]],
  ];
  for (const [turn, mirror, pixels] of stored) {
    const image = imageOf(2, 2, (x, y) => pixels[2 * y + x]);
    const posed = posedImage(image, { ...whole, turn, mirror }, 2);
    assert.deepEqual(channel(posed.image, 0, 2), [[1, 2], [3, 4]], `${turn} ${mirror}`);
    assert.deepEqual([...posed.known], [1, 1, 1, 1]);
  }
});

Deno.test("posedImage() copies an unscaled frame and tells what of it is unknown", () => {
  const frame = { left: -1, top: 7, width: 4, height: 4, turn: 0, mirror: false } as const;
  const { image, known } = posedImage(pattern, frame, 4);
  assert.deepEqual([...known], [0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0]);
  const at = (x: number, y: number) => pattern.data[(y * 12 + x) * 3];
  assert.deepEqual(channel(image, 0, 4), [
    [at(0, 7), at(0, 7), at(1, 7), at(2, 7)],
    [at(0, 8), at(0, 8), at(1, 8), at(2, 8)],
    [at(0, 9), at(0, 9), at(1, 9), at(2, 9)],
    [at(0, 9), at(0, 9), at(1, 9), at(2, 9)],
  ]);
  // Turned clockwise, the unknown left column of the frame was the native image's lower row.
  const turned = posedImage(pattern, { ...frame, turn: 90 }, 4);
  assert.deepEqual([...turned.known], [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
});

Deno.test("posedImage() resamples a scaled frame as the whole image is resampled", () => {
  const image = imageOf(40, 24, (x, y, c) => 100 + 60 * Math.sin(x / 3 + c) + 50 * Math.cos(y / 4));
  const all = { left: 8, top: 0, width: 24, height: 24, turn: 0, mirror: false } as const;
  const square = imageOf(24, 24, (x, y, c) => image.data[(y * 40 + x + 8) * 3 + c]);
  assert.deepEqual(posedImage(square, { ...all, left: 0 }, 8).image, resizeAndCrop(square, 8));
  // Beside a frame, the filter reads the picture's own pixels, however far the image goes on.
  const inside = pilResize(image, 8, 8, "bilinear", { left: 8.5, top: 2, width: 20, height: 16 });
  assert.deepEqual(posedImage(image, { ...all, left: 8.5, top: 2, width: 20, height: 16 }, 8).image, inside);
  const { known } = posedImage(image, { ...all, left: -12, top: 0 }, 4);
  assert.deepEqual([...known.subarray(0, 4)], [0, 0, 1, 1]);
});

Deno.test("posedImage() refuses a frame beside the image", () => {
  assert.throws(
    () => posedImage(pattern, { ...whole, left: 12 }, 2),
    { name: "RangeError", message: "posedImage: expected a frame that overlaps 12x10 pixels, got 2x2 at 12,0" },
  );
});

Deno.test("an input with a pose has a hash of its own, and the posed pixels", async () => {
  const image = imageOf(2, 2, (x, y) => [2, 1, 4, 3][2 * y + x]);
  const pose: Pose = { ...whole, mirror: true };
  const input = { imageName: "a", image, pose };
  const { sha256 } = await readContent(input);
  assert.notEqual(sha256, (await readContent({ imageName: "a", image })).sha256);
  assert.notEqual(sha256, (await readContent({ ...input, pose: { ...pose, turn: 90 } })).sha256);
  const { bySize, width } = await pixelsOf(input, undefined, [2]);
  assert.equal(width, 2);
  assert.deepEqual([...bySize.get(2)!].filter((_, i) => i % 3 === 0), [1, 2, 3, 4].map((v) => Math.fround(v / 255)));
});

Deno.test("posedImage() gives a pose the same pixels whatever was asked of the image before", () => {
  const frames = [{ left: 1.5, top: 0, width: 8, height: 8 }, { left: 0, top: 0, width: 10, height: 10 }];
  const turns = [0, 90, 180, 270] as const;
  const poses = frames.flatMap((frame) =>
    turns.flatMap((turn) => [false, true].map((mirror): Pose => ({ ...frame, turn, mirror })))
  );
  const seen = new Set<string>();
  for (const size of [4, 5]) {
    for (const pose of poses) {
      const fresh = posedImage({ ...pattern }, pose, size);
      assert.deepEqual(posedImage(pattern, pose, size), fresh, JSON.stringify({ pose, size }));
      seen.add(String(fresh.image.data));
    }
  }
  assert.equal(seen.size, 32, "all poses differ");
});
