// JPEG to RGB: coefficients -> samples -> full resolution -> colour, with libjpeg's arithmetic at every step. It ignores
// orientation tags and colour profiles on purpose, because the reference's loader does.

import type { RgbImage } from "../image.ts";
import { type Jpeg, readJpeg } from "./frame.ts";
import { rowsOf } from "./upsample.ts";

type ColourSpace = "grey" | "rgb" | "ycc" | "cmyk" | "ycck";

/**
 * Decodes a baseline, extended or progressive Huffman-coded JPEG with 8 bits per sample: grey, YCbCr, RGB, CMYK or YCCK,
 * any sampling factors. Pixels equal those of Pillow's `convert("RGB")` with libjpeg-turbo.
 *
 * Throws UnreadableImageError: `truncated`, `corrupt`, `unsupported` (arithmetic coding, lossless, 12 bits).
 */
export function decodeJpeg(bytes: Uint8Array): RgbImage {
  const jpeg = readJpeg(bytes);
  const { width, height, components } = jpeg.frame;
  const rows = components.map((component) => rowsOf(component, jpeg.frame));
  // Upsampling writes whole groups of up to four samples beyond the right edge.
  const lines = components.map(() => new Uint8Array(width + 8));
  const data = new Uint8Array(width * height * 3);
  const convert = CONVERTERS[colourSpaceOf(jpeg)];
  for (let y = 0; y < height; y++) {
    for (let c = 0; c < rows.length; c++) rows[c](y, lines[c]);
    convert(lines, width, data, y * width * 3);
  }
  return { width, height, data };
}

/** What the components mean, by libjpeg's rules: JFIF, then Adobe's marker, then the component ids. */
function colourSpaceOf({ frame, hasJfif, adobeTransform }: Jpeg): ColourSpace {
  const ids = frame.components.map((c) => c.id);
  if (ids.length === 1) return "grey";
  if (ids.length === 4) return adobeTransform === 2 ? "ycck" : "cmyk";
  if (hasJfif) return "ycc";
  if (adobeTransform !== undefined) return adobeTransform === 0 ? "rgb" : "ycc";
  return String.fromCharCode(...ids) === "RGB" ? "rgb" : "ycc";
}

/** One row of component samples to RGB at `at`. */
type Converter = (lines: readonly Uint8Array[], width: number, data: Uint8Array, at: number) => void;

const CONVERTERS: Record<ColourSpace, Converter> = {
  grey([grey], width, data, at) {
    for (let x = 0; x < width; x++, at += 3) data[at] = data[at + 1] = data[at + 2] = grey[x];
  },
  rgb([red, green, blue], width, data, at) {
    for (let x = 0; x < width; x++, at += 3) {
      data[at] = red[x];
      data[at + 1] = green[x];
      data[at + 2] = blue[x];
    }
  },
  ycc([luma, cb, cr], width, data, at) {
    for (let x = 0; x < width; x++, at += 3) {
      const y = luma[x];
      data[at] = clamp(y + RED_FROM_CR[cr[x]]);
      data[at + 1] = clamp(y + ((GREEN_FROM_CB[cb[x]] + GREEN_FROM_CR[cr[x]]) >> 16));
      data[at + 2] = clamp(y + BLUE_FROM_CB[cb[x]]);
    }
  },
  // Adobe stores ink inverted (255 = none), and Pillow assumes so for every four-component file.
  cmyk([cyan, magenta, yellow, black], width, data, at) {
    for (let x = 0; x < width; x++, at += 3) {
      const paper = black[x];
      data[at] = clamp(paper - byteProduct(255 - cyan[x], paper));
      data[at + 1] = clamp(paper - byteProduct(255 - magenta[x], paper));
      data[at + 2] = clamp(paper - byteProduct(255 - yellow[x], paper));
    }
  },
  ycck(lines, width, data, at) {
    CONVERTERS.ycc(lines, width, data, at); // YCC here is the RGB that the inverted ink stands for: the ink itself
    const black = lines[3];
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++, at++) data[at] = clamp(black[x] - byteProduct(data[at], black[x]));
    }
  },
};

/** libjpeg's 16-bit fixed-point tables of the JFIF conversion; half a unit is added once per output value. */
const FIXED = (x: number) => Math.floor(x * 65536 + 0.5);
const centred = <T>(f: (x: number) => T): T[] => Array.from({ length: 256 }, (_, i) => f(i - 128));
const RED_FROM_CR = new Int32Array(centred((x) => (FIXED(1.402) * x + 32768) >> 16));
const BLUE_FROM_CB = new Int32Array(centred((x) => (FIXED(1.772) * x + 32768) >> 16));
const GREEN_FROM_CR = new Int32Array(centred((x) => -FIXED(0.71414) * x));
const GREEN_FROM_CB = new Int32Array(centred((x) => -FIXED(0.34414) * x + 32768));

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** round(a * b / 255) for bytes, in Pillow's integer form. */
function byteProduct(a: number, b: number): number {
  const t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}
