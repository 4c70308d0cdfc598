/** Poses of images of examples/Dataset, ranked by the embedded tokenizers. */
import assert from "node:assert/strict";
import { decodeImage } from "../../../attribution/images/decode.ts";
import type { Edit } from "../../../attribution/images/edits/mod.ts";
import type { RgbImage } from "../../../attribution/images/image.ts";
import { posedImage } from "../../../attribution/images/posed_image.ts";
import { candidatePoses, type SearchLevel } from "../../../attribution/search/candidates.ts";
import { type FoundPose, leastContrast, rankPoses } from "../../../attribution/search/rank.ts";
import { openDevice } from "../../../core/open_device.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { edited } from "./pictures.ts";

const dataset = new URL("../../../examples/Dataset/", import.meta.url);

async function withTokenizers(
  body: (find: (image: RgbImage, level?: SearchLevel) => Promise<FoundPose[]>) => Promise<void>,
): Promise<void> {
  const set = await openModelSet("weights/tiny");
  const device = await openDevice("cpu", { threads: 1 });
  const tokenizers = {
    rar: await set.loadTokenizer(device, "rar"),
    var: await set.loadTokenizer(device, "var"),
  };
  try {
    await body((image, level = "quick") => {
      const candidates = new Map([[64, candidatePoses(image, 64, level)]]);
      return rankPoses(image, candidates, { device, tokenizers, batch: 8, level });
    });
  } finally {
    for (const tokenizer of Object.values(tokenizers)) tokenizer.dispose();
    device.close();
  }
}

async function read(name: string): Promise<RgbImage> {
  return await decodeImage(await Deno.readFile(new URL(name, dataset)));
}

Deno.test("rankPoses() finds generated images mirrored, cropped and in a canvas, and their family", async () => {
  const crop: Edit = { name: "crop", left: 3, top: 3, right: 3, bottom: 3 };
  const cases: [string, "rar" | "var", Edit, Partial<FoundPose["pose"]>][] = [
    ["train/rarl/001.png", "rar", { name: "mirror" }, { left: 0, top: 0, turn: 0, mirror: true }],
    ["train/rarb/002.png", "rar", crop, { left: -3, top: -3, turn: 0, mirror: false }],
    ["train/var20/001.png", "var", { name: "turn", degrees: 90 }, { left: 0, top: 0, turn: 90, mirror: false }],
    ["train/var16/002.png", "var", { name: "canvas", times: 3 }, { left: 64, top: 64, turn: 0, mirror: false }],
  ];
  await withTokenizers(async (find) => {
    for (const [name, family, edit, pose] of cases) {
      const image = await read(name);
      const stored = await edited(image, edit);
      const [found, ...others] = await find(stored);
      assert.deepEqual(found.pose, { ...pose, width: 64, height: 64 }, name);
      assert.equal(found.family, family, name);
      assert.ok(found.contrast > 1.5 * leastContrast, `${name}: ${found.contrast}`);
      assert.deepEqual(others, [], name);
      // Known pixels stay as they are; what was cropped is nearer to the truth than the repeated border.
      const posed = posedImage(stored, found.pose, 64);
      let filled = 0, repeated = 0;
      posed.known.forEach((isKnown, i) => {
        for (let at = 3 * i; at < 3 * i + 3; at++) {
          if (isKnown) assert.equal(found.pixels[at], Math.fround(posed.image.data[at] / 255));
          filled += (255 * found.pixels[at] - image.data[at]) ** 2;
          repeated += (posed.image.data[at] - image.data[at]) ** 2;
        }
      });
      assert.ok(filled <= repeated + 1e-3, `${name}: ${filled} ${repeated}`);
    }
  });
});

Deno.test("rankPoses() finds no pose of most photographs", async () => {
  await withTokenizers(async (find) => {
    const found: number[] = [];
    for (let i = 1; i <= 8; i++) found.push((await find(await read(`val/outlier/00${i}.png`))).length);
    assert.ok(found.filter((count) => count > 0).length <= 2, `${found}`);
  });
});
