// Which RGB colours a decoder can return. A JPEG or lossy WebP stores luma and chroma, and its decoder rounds both to
// bytes before it makes RGB of them: most colours never occur. An image all of whose colours are such was decoded from
// a file of that kind, and its pixels were not computed on since.

import type { RgbImage } from "../image.ts";
import type { Rectangle } from "./luma.ts";

/** A colour conversion: the luma and chroma from which a decoder makes an RGB colour. */
export interface Conversion {
  /** The share of all RGB colours that the decoder can return. */
  readonly density: number;
  /** Luma, 0 to 255, of a colour without channels at 0 or 255; -1 if the decoder never returns it. */
  luma(red: number, green: number, blue: number): number;
}

/** Chroma to red and blue, and 2^16 times its part in green, by chroma + 128. */
const jpegRed = Int16Array.from({ length: 256 }, (_, c) => (Math.round(1.402 * 65536) * (c - 128) + 32768) >> 16);
const jpegBlue = Int16Array.from({ length: 256 }, (_, c) => (Math.round(1.772 * 65536) * (c - 128) + 32768) >> 16);
const jpegGreenOfRed = Int32Array.from({ length: 256 }, (_, c) => -Math.round(0.71414 * 65536) * (c - 128));
const jpegGreenOfBlue = Int32Array.from({ length: 256 }, (_, c) => -Math.round(0.34414 * 65536) * (c - 128) + 32768);

/** JFIF's conversion as libjpeg and libjpeg-turbo compute it (jdcolor.c). */
export const jpegConversion: Conversion = {
  density: 0.236,
  luma(red, green, blue) {
    const estimate = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    for (let luma = Math.max(0, estimate - 1); luma <= Math.min(255, estimate + 1); luma++) {
      const cr = Math.round((red - luma) / 1.402) + 128, cb = Math.round((blue - luma) / 1.772) + 128;
      if (jpegRed[cr] !== red - luma || jpegBlue[cb] !== blue - luma) continue;
      if (luma + ((jpegGreenOfBlue[cb] + jpegGreenOfRed[cr]) >> 16) === green) return luma;
    }
    return -1;
  },
};

/** BT.601 with luma of 16 to 235, as libwebp computes it (src/dsp/yuv.h). */
export const webpConversion: Conversion = {
  density: 0.157,
  luma(red, green, blue) {
    const estimate = Math.round((0.299 * red + 0.587 * green + 0.114 * blue) / 1.1644) + 16;
    for (let y = Math.max(0, estimate - 1); y <= Math.min(255, estimate + 1); y++) {
      const bright = (y * 19077) >> 8;
      const v0 = Math.round(((red + 0.5) * 64 + 14234 - bright) * 256 / 26149);
      const u0 = Math.round(((blue + 0.5) * 64 + 17685 - bright) * 256 / 33050);
      for (let v = v0 - 1; v <= v0 + 1; v++) {
        if ((bright + ((v * 26149) >> 8) - 14234) >> 6 !== red) continue;
        for (let u = u0 - 1; u <= u0 + 1; u++) {
          if ((bright + ((u * 33050) >> 8) - 17685) >> 6 !== blue) continue;
          if ((bright - ((u * 6419) >> 8) - ((v * 13320) >> 8) + 8708) >> 6 === green) return y;
        }
      }
    }
    return -1;
  },
};

/** How many colours of an image a decoder can return. */
export interface LatticeCount {
  /** Different colours that tell anything: not grey, no channel at 0 or 255. At most `maxColours`. */
  readonly colours: number;
  /** The share of them that the decoder can return. */
  readonly share: number;
}

/** So many colours are enough. */
const maxColours = 4096;

/** Counts the colours of rectangles of an image. */
export function countOnLattice(
  image: RgbImage,
  rectangles: readonly Rectangle[],
  conversion: Conversion,
): LatticeCount {
  const seen = new Set<number>();
  let found = 0;
  for (const { left, top, width, height } of rectangles) {
    for (let y = top; y < top + height; y++) {
      for (let x = left, at = (y * image.width + left) * 3; x < left + width; x++, at += 3) {
        const red = image.data[at], green = image.data[at + 1], blue = image.data[at + 2];
        if ((red === green && green === blue) || isClipped(red) || isClipped(green) || isClipped(blue)) continue;
        const colour = (red << 16) | (green << 8) | blue;
        if (seen.has(colour)) continue;
        seen.add(colour);
        if (conversion.luma(red, green, blue) >= 0) found++;
        if (seen.size === maxColours) return { colours: maxColours, share: found / maxColours };
      }
    }
  }
  return { colours: seen.size, share: seen.size === 0 ? 0 : found / seen.size };
}

function isClipped(value: number): boolean {
  return value === 0 || value === 255;
}
