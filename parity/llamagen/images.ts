/** Case 30: how images are prepared for LlamaGen, resized for evaluation, and stored as bytes. */
import type { RgbImage } from "../../attribution/images/image.ts";
import { type PilFilter, pilResize } from "../../attribution/images/pil_resize.ts";
import { centerCrop, resizeAndCrop, roundHalfToEven } from "../../attribution/images/preprocess.ts";
import { type Device, resize, scope } from "../../core/tensor/mod.ts";
import type { ParityCase } from "../case.ts";
import type { Result } from "../compute.ts";
import { fromNchw, takeNchw, testImage } from "../layout.ts";

/** uint8 [3, h, w] as an image, and the other way round. */
function toImage(values: ArrayLike<number>, height: number, width: number): RgbImage {
  const data = new Uint8Array(3 * height * width);
  for (let c = 0, i = 0; c < 3; c++) for (let p = 0; p < height * width; p++, i++) data[3 * p + c] = values[i];
  return { width, height, data };
}

function toPlanes({ width, height, data }: RgbImage): number[] {
  return [0, 1, 2].flatMap((c) => Array.from({ length: width * height }, (_, p) => data[3 * p + c]));
}

/**
 * Halves the image with a box filter while its shorter side is at least twice `size`, resizes the shorter side to `size`
 * (bicubic), and crops the centre. Source: FoundationVision/LlamaGen, dataset/augmentation.py (`center_crop_arr`).
 */
function centerCropArray(image: RgbImage, size: number): RgbImage {
  while (Math.min(image.width, image.height) >= 2 * size) {
    image = pilResize(image, image.width >> 1, image.height >> 1, "box");
  }
  const scale = size / Math.min(image.width, image.height);
  const resized = pilResize(
    image,
    roundHalfToEven(image.width * scale),
    roundHalfToEven(image.height * scale),
    "bicubic",
  );
  return crop(resized, (resized.width - size) >> 1, (resized.height - size) >> 1, size, size);
}

function crop({ width: from, data }: RgbImage, left: number, top: number, width: number, height: number): RgbImage {
  const out = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const start = 3 * ((top + y) * from + left);
    out.set(data.subarray(start, start + 3 * width), 3 * y * width);
  }
  return { width, height, data: out };
}

/** The square in the middle, resized. Pillow rounds both of its ends to even, so it may have a row more than columns. */
function squareResized(image: RgbImage, size: number, filter: PilFilter): RgbImage {
  const side = Math.min(image.width, image.height);
  const ends = (length: number) => [(length - side) / 2, (length + side) / 2].map(roundHalfToEven);
  const [left, right] = ends(image.width), [top, bottom] = ends(image.height);
  return pilResize(crop(image, left, top, right - left, bottom - top), size, size, filter);
}

export async function* images(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { images: all, eval: evaluation } = parityCase.manifest.config;
  for (const [i, { index, height, width, size }] of all.entries()) {
    const planes = testImage(index, height, width), image = toImage(planes, height, width);
    yield { tensor: `${i}_input`, values: planes };
    yield { tensor: `${i}_center_crop_arr`, values: toPlanes(centerCropArray(image, size)) };
    yield { tensor: `${i}_resize_crop`, values: toPlanes(centerCrop(resizeAndCrop(image, size), size)) };
    yield { tensor: `${i}_lanczos`, values: toPlanes(squareResized(image, size, "lanczos")) };
  }
  const { from, to, image } = evaluation;
  // Stands for what a decoder gives: beyond [-1, 1].
  const decoded = Float32Array.from(
    testImage(image, from, from),
    (byte) => Math.fround(Math.fround(byte / 255) * 2.4) - 1.2,
  );
  yield { tensor: "eval_input", values: decoded };
  const resized = await takeNchw(scope(() => resize(fromNchw(device, decoded, [1, 3, from, from]), "bicubic", to, to)));
  yield { tensor: "eval_resized", values: resized };
  const reference = await parityCase.floats("eval_input");
  const bytes = (values: Float32Array, of: (value: number) => number) =>
    Array.from(values, (value) => Math.floor(Math.min(Math.max(of(value), 0), 255)));
  yield { tensor: "eval_u8", values: bytes(resized, (value) => Math.fround(Math.fround(127.5 * value) + 128)) };
  const unit = (value: number) => Math.fround(Math.fround(Math.min(Math.max(value, -1), 1) + 1) / 2);
  yield {
    tensor: "save_image_u8",
    values: bytes(reference, (value) => Math.fround(Math.fround(unit(value) * 255) + 0.5)),
  };
  const truncated = bytes(reference, (value) => Math.fround(unit(value) * 255));
  yield { tensor: "framework_u8", values: truncated };
  yield { tensor: "prada_u8", values: truncated };
}
