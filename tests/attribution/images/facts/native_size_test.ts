import assert from "node:assert/strict";
import { imageFacts } from "../../../../attribution/images/facts/image_facts.ts";
import { nativeSize } from "../../../../attribution/images/facts/native_size.ts";
import { decodePixels, pixelsOf } from "../../../../attribution/images/load.ts";
import { encodePng } from "../../../../attribution/images/decode.ts";
import { goldenImage } from "../../golden_image.ts";
import { edited, generated } from "./samples.ts";

const sizes = [256, 384];
const sized = (width: number, height = width) => ({ width, height });

Deno.test("nativeSize() takes the exact size, then a whole multiple, then the nearest ratio", () => {
  const chosen = (width: number, height?: number) => {
    const { size, by } = nativeSize(sizes, sized(width, height));
    return [size, by];
  };
  assert.deepEqual(chosen(256), [256, "exact"]);
  assert.deepEqual(chosen(384), [384, "exact"]);
  assert.deepEqual(chosen(640, 384), [384, "exact"]);
  assert.deepEqual(chosen(512), [256, "multiple"]);
  assert.deepEqual(chosen(768), [384, "multiple"]);
  assert.deepEqual(chosen(1024, 1536), [256, "multiple"]);
  for (const [side, size] of [[1, 256], [250, 256], [300, 256], [313, 256], [314, 384], [350, 384], [4000, 384]]) {
    assert.deepEqual(chosen(side), [size, "nearest"], String(side));
  }
  // 3/4 of 512 is 384: an image of 370 is nearer to 512, and too small for it.
  assert.deepEqual(nativeSize([256, 512], sized(370)), { size: 256, by: "nearest", others: [512] });
  assert.deepEqual(nativeSize([256, 512], sized(384)), { size: 512, by: "nearest", others: [256] });
});

Deno.test("nativeSize() looks at the picture within a canvas, and at traces of an enlargement", () => {
  const picture = { left: 20, top: 30, width: 256, height: 256 };
  assert.deepEqual(nativeSize(sizes, sized(500), { picture }), { size: 256, by: "picture", others: [384] });
  assert.deepEqual(nativeSize(sizes, sized(384), { picture }).by, "exact");
  const resampling = (factor: number | null) => ({ resampling: { factor, strength: 1 } });
  assert.deepEqual(nativeSize(sizes, sized(400), resampling(400 / 256)), {
    size: 256,
    by: "enlargement",
    others: [384],
  });
  assert.deepEqual(nativeSize(sizes, sized(400), resampling(null)).size, 384);
  assert.deepEqual(nativeSize(sizes, sized(400), resampling(3)).by, "nearest");
});

Deno.test("imageFacts() says at which of several sizes a processed image is judged, and nothing where there is one", async () => {
  const native = async (edits: string, nativeSizes: readonly number[]) =>
    (await edited(generated.slice(0, 2), edits)).map(({ image }) => imageFacts(undefined, image, nativeSizes).native);
  for (const edits of ["crop:3", "canvas:600x90", "resize:1.15", "resize:2", "resize:0.8", "canvas:3"]) {
    for (const found of await native(edits, [64, 96])) assert.equal(found!.size, 64, `${edits}: ${found!.by}`);
    for (const found of await native(edits, [64])) assert.equal(found, undefined);
  }
});

Deno.test("images are prepared at the size at which they are judged alone", async () => {
  const image = goldenImage(3, 96, 96), bytes = Uint8Array.from(await encodePng(image));
  for (
    const { bySize, facts } of [
      await decodePixels(bytes, [64, 96]),
      await pixelsOf({ imageName: "a", image }, undefined, [64, 96]),
    ]
  ) {
    assert.deepEqual([...bySize.keys()], [96]);
    assert.deepEqual(facts!.native, { size: 96, by: "exact", others: [64] });
  }
  const pose = { left: 4, top: 4, width: 64, height: 64, turn: 0, mirror: false } as const;
  assert.deepEqual([...(await pixelsOf({ imageName: "a", image, pose }, undefined, [64, 96])).bySize.keys()], [64]);
  const one = await decodePixels(bytes, [64]);
  assert.deepEqual([...one.bySize.keys()], [64]);
  assert.equal(one.facts!.native, undefined);
});
