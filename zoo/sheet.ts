/**
 * Picture sheets of the zoo: held-out photographs beside their reconstructions, and samples of every variant.
 * They are for looking at; figures are in weights/tiny/README.md.
 */
import { writePng } from "../attribution/images/png.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { type Device, disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import type { PhotoCrops } from "./crops.ts";
import { cropPixels, type Crops } from "./images.ts";
import { photos } from "./photos.ts";

/** Pixels between the pictures of a sheet, and how many times as large they are shown. */
const gap = 4, zoom = 2;

/** Rows of equally large pictures on white, enlarged without smoothing, as a PNG file. */
export function sheet(rows: readonly (readonly RgbImage[])[]): Uint8Array<ArrayBuffer> {
  const { width: w, height: h } = rows[0][0];
  const columns = Math.max(...rows.map((row) => row.length));
  const width = columns * (w * zoom + gap) - gap, height = rows.length * (h * zoom + gap) - gap;
  const data = new Uint8Array(width * height * 3).fill(255);
  rows.forEach((row, r) =>
    row.forEach((picture, c) => {
      const left = c * (w * zoom + gap), top = r * (h * zoom + gap);
      for (let y = 0; y < h * zoom; y++) {
        for (let x = 0; x < w * zoom; x++) {
          const from = (Math.floor(y / zoom) * w + Math.floor(x / zoom)) * 3;
          data.set(picture.data.subarray(from, from + 3), ((top + y) * width + left + x) * 3);
        }
      }
    })
  );
  return writePng({ width, height, data });
}

/** `count` crops spread over the split, as pictures; of photographs that may be given on. */
export function spread(crops: PhotoCrops, count: number): RgbImage[] {
  const size = crops.side * crops.side * 3;
  const usable = Array.from(crops.photo.keys()).filter((i) => photos[crops.photo[i]].ownEntry !== false);
  return Array.from({ length: count }, (_, i) => {
    const at = usable[Math.floor((i + 0.5) * usable.length / count)];
    return { width: crops.side, height: crops.side, data: crops.pixels.slice(at * size, (at + 1) * size) };
  });
}

/** Pictures through encoder, quantiser and decoder. */
export async function reconstructions(
  device: Device,
  tokenizer: ImageTokenizer,
  pictures: readonly RgbImage[],
): Promise<RgbImage[]> {
  const side = tokenizer.imageSize, size = side * side * 3;
  const [low, high] = tokenizer.valueRange;
  const pixels = new Uint8Array(pictures.length * size);
  pictures.forEach(({ data }, i) => pixels.set(data, i * size));
  const crops: Crops = {
    count: pictures.length,
    side,
    pixels,
    classes: new Uint8Array(pictures.length),
    fingerprint: "",
  };
  const values = cropPixels(crops, pictures.map((_, i) => i)).map((value) => value * (high - low) + low);
  const images = fromArray(device, values, [pictures.length, side, side, 3]);
  const decoded = scope(() => tokenizer.decode(tokenizer.quantize(tokenizer.encode(images)).fHat));
  const results = await decoded.data();
  disposeAll([images, decoded]);
  return pictures.map((_, i) => ({
    width: side,
    height: side,
    data: Uint8Array.from(results.subarray(i * size, (i + 1) * size), (value) => {
      const unit = (value - low) / (high - low);
      return Math.floor(255 * Math.min(Math.max(unit, 0), 1));
    }),
  }));
}
