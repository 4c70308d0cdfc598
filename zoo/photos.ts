/**
 * Which photographs the zoo is trained on, how they are divided into splits, and which square crops are taken of them.
 * It fetches nothing and writes nothing (tasks/zoo_photos.ts does), and it knows no model.
 */
import { createHash } from "node:crypto";
import { type RgbImage } from "../attribution/images/image.ts";
import { pilResize } from "../attribution/images/pil_resize.ts";
import { uniforms } from "../core/tensor/random.ts";
import table from "./photos.json" with { type: "json" };

/** A Debian package that ships photographs. */
export interface PhotoPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Of the `.deb` file, hexadecimal. */
  readonly sha256: string;
  /** Licences of the files used, as the package's copyright file names them. */
  readonly licence: string;
}

/** One photograph: where it lies, under which licence, and what it may be used for. */
export interface Photo {
  readonly id: string;
  readonly package: string;
  /** Path within the package. */
  readonly file: string;
  /** Path within `file`, where that is a Qt resource. */
  readonly entry?: string;
  readonly licence: string;
  /** Copyright holders as the copyright file names them. */
  readonly author: string;
  /** False where the copyright file has no entry of its own for the file, and its package-wide entry applies. */
  readonly ownEntry?: boolean;
  /** The id of a photograph of the same thing, which must be in the same split. */
  readonly sameAs?: string;
  readonly split: Split;
}

/** `train` is trained on, `val` measures, `outlier` are the photographs that no model of the zoo has seen. */
export const splits = ["train", "val", "outlier"] as const;
/** One of them. */
export type Split = typeof splits[number];

/** All packages. */
export const packages: readonly PhotoPackage[] = table.packages;
/** All photographs, sorted by id; crops refer to them by position. */
export const photos: readonly Photo[] = table.photographs as readonly Photo[];

/**
 * The split that a photograph's name decides on: a tenth each for `val` and `outlier`. Photographs of the same thing
 * are given by one name, see `Photo.sameAs`.
 */
export function splitOf(id: string): Split {
  const draw = createHash("sha256").update(id).digest().readUInt32BE(0) % 10;
  return draw === 0 ? "val" : draw === 1 ? "outlier" : "train";
}

/** A perceptual hash: 64 bits, the signs of the lowest 8x8 frequencies of the 32x32 grey image against their median. */
export function perceptualHash(image: RgbImage): bigint {
  const side = 32, kept = 8;
  const { data } = pilResize(image, side, side, "box");
  const grey = Array.from({ length: side * side }, (_, i) => luma(data, 3 * i));
  const coefficients: number[] = [];
  for (let v = 0; v < kept; v++) {
    for (let u = 0; u < kept; u++) {
      let sum = 0;
      for (let y = 0; y < side; y++) {
        const c = Math.cos(Math.PI * v * (y + 0.5) / side);
        for (let x = 0; x < side; x++) sum += grey[y * side + x] * c * Math.cos(Math.PI * u * (x + 0.5) / side);
      }
      coefficients.push(sum);
    }
  }
  const median = coefficients.slice(1).sort((a, b) => a - b)[(kept * kept - 1) >> 1]; // without the mean brightness
  return coefficients.reduce((bits, c) => bits << 1n | (c > median ? 1n : 0n), 0n);
}

/** Number of bits in which two perceptual hashes differ, 0..64. */
export function hashDistance(a: bigint, b: bigint): number {
  return (a ^ b).toString(2).replaceAll("0", "").length;
}

/** Photographs whose hashes differ in so few bits are taken for the same picture. */
export const sameHash = 10;

/** One crop: position of its top left pixel in the photograph whose short side was reduced to `scale` pixels. */
export interface Crop {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
  /** [side, side, 3], RGB. */
  readonly pixels: Uint8Array;
}

/** Wanted short sides in sides of a crop, and the cells of the grid of crops along the long and the short side. */
const scales = [
  { crops: 1.5, long: 3, short: 2 },
  { crops: 2.5, long: 5, short: 3 },
  { crops: 4, long: 6, short: 4 },
  { crops: 6.25, long: 8, short: 5 },
];
/** A photograph is used at a scale if it reaches this share of it; it is never enlarged. */
const reach = 0.75;
/** Crops whose grey levels have a smaller standard deviation are left out: plain sky and backdrops. */
const flat = 6;
const stream = 0x63726f70;

/** A photograph whose crops are taken. */
export interface CropSource {
  readonly id: string;
  /** Whether only every second crop is taken, as in the splits that measure. */
  readonly held: boolean;
}

/**
 * The crops of one photograph, `side` pixels wide and high, the coarsest scale first. The jitter depends on the
 * photograph's name and the scale only, so that other photographs may come and go.
 */
export function cropsOf(image: RgbImage, { id, held }: CropSource, side: number): Crop[] {
  const seed = createHash("sha256").update(id).digest().readUInt32BE(4);
  const short = Math.min(image.width, image.height), wide = image.width >= image.height;
  const crops: Crop[] = [];
  for (const [index, grid] of scales.entries()) {
    const scale = Math.min(grid.crops * side, short);
    if (scale < reach * grid.crops * side) break;
    const width = wide ? Math.round(image.width * scale / short) : scale;
    const height = wide ? scale : Math.round(image.height * scale / short);
    const reduced = pilResize(image, width, height, "bicubic");
    const columns = wide ? grid.long : grid.short, rows = wide ? grid.short : grid.long;
    const jitter = uniforms(seed, stream + index, 2 * columns * rows);
    for (let cell = 0; cell < columns * rows; cell++) {
      const column = cell % columns, row = Math.floor(cell / columns);
      const x = Math.floor((column + jitter[2 * cell]) / columns * (width - side + 1));
      const y = Math.floor((row + jitter[2 * cell + 1]) / rows * (height - side + 1));
      const pixels = cut(reduced, { x, y, side });
      if (deviation(pixels) >= flat) crops.push({ scale, x, y, pixels });
    }
  }
  return held ? crops.filter((_, i) => i % 2 === 0) : crops;
}

function cut({ width, data }: RgbImage, { x, y, side }: Record<"x" | "y" | "side", number>): Uint8Array {
  const out = new Uint8Array(side * side * 3);
  for (let row = 0; row < side; row++) {
    const from = ((y + row) * width + x) * 3;
    out.set(data.subarray(from, from + side * 3), row * side * 3);
  }
  return out;
}

/** Standard deviation of the grey levels, 0..127.5. */
function deviation(pixels: Uint8Array): number {
  const n = pixels.length / 3;
  let sum = 0, squares = 0;
  for (let i = 0; i < pixels.length; i += 3) {
    const grey = luma(pixels, i);
    sum += grey;
    squares += grey * grey;
  }
  return Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2));
}

/** ITU-R BT.601 luma of the pixel at `at`, 0..255. */
export function luma(data: ArrayLike<number>, at: number): number {
  return 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
}
