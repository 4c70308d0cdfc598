import assert from "node:assert/strict";
import type { Pose } from "../../../attribution/images/pose.ts";
import { candidateLimit, candidatePoses } from "../../../attribution/search/candidates.ts";
import { seamedSquares, trimmedPicture } from "../../../attribution/search/rectangles.ts";
import { edited, inverted, noise, pasted, waves } from "./pictures.ts";

const picture = noise(16, 16, 1);
const text = ({ left, top, width, turn, mirror }: Pose) =>
  `${left},${top} ${width} ${turn}${mirror ? " mirrored" : ""}`;

Deno.test("trimmedPicture() finds a picture within a border of one colour, also after JPEG", async () => {
  const expected = { left: 5, top: 9, width: 16, height: 16 };
  const canvas = { name: "canvas", width: 40, height: 30, left: 5, top: 9, colour: "#336699" } as const;
  assert.deepEqual(trimmedPicture(await edited(picture, canvas)), expected);
  const jpeg = { name: "jpeg", quality: 90, subsampling: "4:4:4" } as const;
  const { left, top, width, height } = trimmedPicture(await edited(picture, canvas, jpeg))!;
  // JPEG smears the picture into blocks of eight pixels.
  assert.ok(left <= 5 && left >= 0 && top <= 9 && top >= 8, `${left},${top}`);
  assert.ok(width <= 24 && height <= 24, `${width}x${height}`);
});

Deno.test("trimmedPicture() finds what a shift repeats, and no border elsewhere", async () => {
  const shifted = await edited(picture, { name: "shift", x: 3, y: -2 });
  assert.deepEqual(trimmedPicture(shifted), { left: 3, top: 0, width: 13, height: 14 });
  assert.equal(trimmedPicture(picture), undefined);
  assert.equal(trimmedPicture(waves(40, 40)), undefined);
  assert.equal(trimmedPicture({ width: 8, height: 8, data: new Uint8Array(192) }), undefined);
});

Deno.test("seamedSquares() finds a picture within a smooth one, first of all", () => {
  const [first] = seamedSquares(pasted(inverted(64, 64), waves(170, 150), 21, 70), 64, 3);
  assert.deepEqual(first.rectangle, { left: 21, top: 70, width: 64, height: 64 });
  // At a corner, two sides are enough.
  const [corner] = seamedSquares(pasted(inverted(64, 64), waves(170, 150), 106, 0), 64, 3);
  assert.deepEqual(corner.rectangle, { left: 106, top: 0, width: 64, height: 64 });
  assert.deepEqual(seamedSquares(waves(170, 150), 64, 3), []);
  // The empty squares beside it share a side with it.
  const white = { width: 192, height: 192, data: new Uint8Array(192 * 192 * 3).fill(255) };
  const squares = seamedSquares(pasted(inverted(64, 64), white, 64, 64), 64, 9).map(({ rectangle }) => rectangle);
  assert.ok(squares.every(({ left, top }) => Math.abs(left - 64) < 64 && Math.abs(top - 64) < 64));
  assert.deepEqual(squares[0], { left: 64, top: 64, width: 64, height: 64 });
  assert.deepEqual(seamedSquares(noise(170, 150, 5), 64, 3), []);
  assert.deepEqual(seamedSquares(inverted(64, 64), 64, 3), []);
});

Deno.test("candidatePoses() of an image of native size are its symmetries, all but the image as it is", () => {
  const { poses, logPriorAsItIs } = candidatePoses(picture, 16, "quick");
  assert.deepEqual(poses.map(({ pose }) => text(pose)), [
    ...["0,0 16 0 mirrored", "0,0 16 90", "0,0 16 270", "0,0 16 180", "0,0 16 180 mirrored"],
  ]);
  assert.ok(Math.abs(Math.exp(logPriorAsItIs) - 0.7) < 1e-9);
  const full = candidatePoses(picture, 16, "full").poses;
  // Seven symmetries, 48 shifts, and the mirrored ones that there is room for.
  assert.equal(full.length, candidateLimit.full);
  assert.ok(full.some(({ pose }) => text(pose) === "-3,2 16 0"));
});

Deno.test("candidatePoses() of a cropped image begin with the centred one; full has every offset", async () => {
  const cropped = await edited(picture, { name: "crop", left: 1, top: 1, right: 1, bottom: 1 });
  const { poses, logPriorAsItIs } = candidatePoses(cropped, 16, "quick");
  assert.equal(text(poses[0].pose), "-1,-1 16 0");
  assert.ok(poses[0].logPrior > logPriorAsItIs);
  const upright = candidatePoses(cropped, 16, "full").poses
    .filter(({ pose }) => pose.turn === 0 && !pose.mirror && pose.width === 16).map(({ pose }) => text(pose));
  const offsets = [-2, -1, 0].flatMap((top) => [-2, -1, 0].map((left) => `${left},${top} 16 0`));
  assert.deepEqual(upright.sort(), offsets.sort());
});

Deno.test("candidatePoses() of a picture in a canvas or a screenshot have its frame first", async () => {
  const canvas = await edited(picture, { name: "canvas", times: 3 });
  assert.equal(text(candidatePoses(canvas, 16, "quick").poses[0].pose), "16,16 16 0");
  const screenshot = pasted(inverted(64, 64), waves(170, 150), 21, 70);
  assert.equal(text(candidatePoses(screenshot, 64, "quick").poses[0].pose), "21,70 64 0");
  // Enlarged before it was pasted: a full search finds its seams, too.
  const enlarged = pasted(inverted(128, 128), waves(290, 270), 40, 111);
  assert.ok(candidatePoses(enlarged, 64, "full").poses.some(({ pose }) => text(pose) === "40,111 128 0"));
  const large = await edited(noise(32, 32, 2), { name: "canvas", times: 2, colour: "#000000" });
  assert.equal(text(candidatePoses(large, 16, "quick").poses[0].pose), "16,16 32 0");
});

Deno.test("candidatePoses() have probabilities that add up to 1 at most, and no pose twice", async () => {
  const images = [picture, noise(15, 14, 3), noise(40, 20, 4), await edited(picture, { name: "canvas", times: 3 })];
  for (const image of images) {
    for (const level of ["quick", "full"] as const) {
      const { poses, logPriorAsItIs } = candidatePoses(image, 16, level);
      const sum = poses.reduce((total, { logPrior }) => total + Math.exp(logPrior), Math.exp(logPriorAsItIs));
      assert.ok(sum <= 1 + 1e-9 && sum > 0.5, `${image.width}x${image.height} ${level}: ${sum}`);
      assert.equal(new Set(poses.map(({ pose }) => JSON.stringify(pose))).size, poses.length);
      assert.ok(poses.length >= 5 && poses.length <= candidateLimit[level]);
    }
  }
});
