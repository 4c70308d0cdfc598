/**
 * Case 10: post-processing transforms through floats and through bytes, JPEG files, and resizing before the networks.
 */
import {
  brightness,
  brightness8,
  contrast,
  contrast8,
  encodeJpeg,
  type FloatFilter,
  type FloatImage,
  gaussianBlur,
  gaussianBlur8,
  jpeg,
  jpeg8,
  resizeAndBack,
  resizeAndBack8,
  resizeFloat,
  saturation,
  saturation8,
  toFloatImage,
} from "../attribution/images/augment/mod.ts";
import { readImage } from "../attribution/images/decode.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { type PilFilter, pilResize } from "../attribution/images/pil_resize.ts";
import { centerCrop, resizeShorterSide } from "../attribution/images/preprocess.ts";
import type { ParityCase } from "./case.ts";
import { inputs, type Result } from "./compute.ts";

type Either = FloatImage | RgbImage;

const FLOAT: Record<string, (image: FloatImage, strength: number, sigma: number) => FloatImage | Promise<FloatImage>> =
  {
    jpeg,
    brightness,
    contrast,
    saturation,
    resize: resizeAndBack,
    kernel: gaussianBlur,
  };

const BYTES: Record<string, (image: RgbImage, strength: number, sigma: number) => RgbImage | Promise<RgbImage>> = {
  jpeg: jpeg8,
  brightness: brightness8,
  contrast: contrast8,
  saturation: saturation8,
  resize: resizeAndBack8,
  kernel: gaussianBlur8,
};

/** Names say what to do: `tensor_contrast_1.5`, `pil_kernel_9_sigma1.7`, `pre_300x200_pil_bilinear`. Host only. */
export async function* attacks(parityCase: ParityCase): AsyncGenerator<Result> {
  const names = Object.keys(parityCase.manifest.tensors!);
  yield* inputs(parityCase, names.filter((name) => /^image\d*_u8$|_src$/.test(name)));
  for (const tensor of names) {
    const image = await compute(parityCase, tensor);
    if (image instanceof Uint8Array) yield { tensor, values: image };
    else if (image?.data instanceof Float32Array) yield { tensor, values: channelsFirst(image) };
    else if (image) yield { tensor, values: image.data };
  }
}

async function compute(parityCase: ParityCase, tensor: string): Promise<Either | Uint8Array | null> {
  const attack = tensor.match(/^(tensor|pil)_([a-z]+)_(rect_)?([\d.]+)(?:_sigma([\d.]+))?$/);
  if (attack && attack[2] in FLOAT) {
    const [, form, name, rect, strength, sigma] = attack;
    const image = await stored(parityCase, rect ? "image2_u8" : "image_u8");
    return form === "tensor"
      ? await FLOAT[name](toFloatImage(image), Number(strength), Number(sigma))
      : await BYTES[name](image, Number(strength), Number(sigma));
  }
  const quality = tensor.match(/^jpegbytes_(\d+)$/);
  if (quality) return await encodeJpeg(await stored(parityCase, "image_u8"), Number(quality[1]));
  const square = tensor.match(/^pil_square(\d+)_(\w+)$/);
  if (square) {
    const side = Number(square[1]);
    return pilResize(await stored(parityCase, "image2_u8"), side, side, square[2] as PilFilter);
  }
  if (tensor === "crop_pad") {
    const [side] = parityCase.info(tensor).shape;
    return centerCrop(padTo(await stored(parityCase, "crop_pad_src"), side), side);
  }
  const pre = tensor.match(/^pre_(\d+)x(\d+)_(tensor|pil)_(\w+)$/);
  return pre ? preprocessed(parityCase, tensor, await imageFile(parityCase, pre[1], pre[2]), pre[3], pre[4]) : null;
}

/** `Resize(n)` and `CenterCrop(n)` in the ways that the names of the `pre_` tensors tell. */
function preprocessed(parityCase: ParityCase, tensor: string, image: RgbImage, form: string, how: string): Either {
  const { shape, meaning } = parityCase.info(tensor);
  const side = Math.min(...shape.filter((n) => n !== 3));
  if (form === "tensor") return shorterSideAndCrop(toFloatImage(image), side, how as FloatFilter);
  const [way, kind] = how.split("_");
  if (way === "up") {
    const enlarged = Number(meaning.match(/to (\d+)/)?.[1] ?? 320);
    return centerCrop(resizeShorterSide(image, enlarged), side);
  }
  if (way === "squash") return pilResize(image, shape[1], shape[0], kind as PilFilter);
  const resized = resizeShorterSide(image, side, way as PilFilter);
  return kind === "nocrop" ? resized : centerCrop(resized, side);
}

/** torchvision's `Resize(side)` and `CenterCrop(side)` of a tensor. */
function shorterSideAndCrop(image: FloatImage, side: number, filter: FloatFilter): FloatImage {
  const { width, height } = image;
  const short = Math.min(width, height);
  const long = (n: number) => Math.trunc((side * n) / short);
  const resized = resizeFloat(image, long(width), long(height), filter);
  const left = roundHalfToEven((resized.width - side) / 2), top = roundHalfToEven((resized.height - side) / 2);
  const data = new Float32Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * resized.width + left) * 3;
    data.set(resized.data.subarray(from, from + side * 3), y * side * 3);
  }
  return { width: side, height: side, data };
}

function roundHalfToEven(x: number): number {
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/** Zeros around an image until both sides have at least `side` pixels, as torchvision's CenterCrop adds them. */
function padTo({ width, height, data }: RgbImage, side: number): RgbImage {
  const [w, h] = [Math.max(width, side), Math.max(height, side)];
  const [left, top] = [(w - width) >> 1, (h - height) >> 1];
  const out = new Uint8Array(w * h * 3);
  for (let y = 0; y < height; y++) {
    out.set(data.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * w + left) * 3);
  }
  return { width: w, height: h, data: out };
}

/** A uint8 [height, width, 3] tensor of the case as an image. */
async function stored(parityCase: ParityCase, tensor: string): Promise<RgbImage> {
  const [height, width] = parityCase.info(tensor).shape;
  return { width, height, data: Uint8Array.from(await parityCase.ints(tensor)) };
}

/** The image of that size in `images/` beside the case. */
async function imageFile(parityCase: ParityCase, width: string, height: string): Promise<RgbImage> {
  const folder = `${parityCase.folder}/images`;
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(`_${width}x${height}.png`)) names.push(name);
  if (names.length === 0) throw new Error(`${parityCase.name}: expected an image of ${width}x${height} in ${folder}`);
  return await readImage(`${folder}/${names.sort()[0]}`);
}

/** [height, width, 3] -> [3, height, width] */
function channelsFirst({ width, height, data }: Either): Float32Array {
  const out = new Float32Array(data.length);
  for (let c = 0, at = 0; c < 3; c++) {
    for (let i = 0; i < width * height; i++) out[at++] = data[i * 3 + c];
  }
  return out;
}
