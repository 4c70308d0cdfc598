/**
 * Rectangles in which a picture may lie within a larger image: what is left when borders are trimmed, and squares whose
 * sides are seams. Pure functions of pixels.
 */
import type { RgbImage } from "../images/image.ts";

/** A rectangle of whole pixels within an image. */
export interface Rectangle {
  /** Of its left edge. */
  readonly left: number;
  /** Of its upper edge. */
  readonly top: number;
  /** At least 1. */
  readonly width: number;
  /** At least 1. */
  readonly height: number;
}

/** A square of pixels, and how far its sides stand out from other lines of the image, in standard deviations. */
export interface Seamed {
  /** The square. */
  readonly rectangle: Rectangle;
  /** Mean over its sides that do not lie on the image's border. */
  readonly strength: number;
}

/**
 * Mean difference, in byte levels, up to which lines of one colour are the same (JPEG changes them by less), and up to
 * which a line repeats another one: neighbours of smooth pictures differ by more.
 */
const sameLevels = { flat: 2.5, repeated: 0.5 };
/**
 * Sides of a square must stand out by so many standard deviations to be seams. Squares of 64 pixels reach 4 at most in
 * 160 photographs and generated images that were enlarged, and 11 to 20 where an image of the embedded set was pasted.
 */
const leastStrength = 6;
/** Each of the sides must: the empty square beside a pasted picture shares only one side with it. */
const weakestSide = 1;

/**
 * The picture without its borders: lines of one colour around it, and lines that repeat the picture's outermost one.
 * Undefined if there is no border, or if nothing is left.
 */
export function trimmedPicture(image: RgbImage): Rectangle | undefined {
  const { width, height } = image;
  const column = (x: number) => ({ start: x, step: width, count: height });
  const row = (y: number) => ({ start: y * width, step: 1, count: width });
  const left = borderWidth(image, width, column);
  const right = borderWidth(image, width, (i) => column(width - 1 - i));
  const top = borderWidth(image, height, row);
  const bottom = borderWidth(image, height, (i) => row(height - 1 - i));
  if (left + right >= width || top + bottom >= height || left + right + top + bottom === 0) return undefined;
  return { left, top, width: width - left - right, height: height - top - bottom };
}

/** A row or column of pixels: the first one's index, the distance between neighbours, and how many there are. */
interface Line {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** How many lines, from the outermost one, are border. */
function borderWidth(image: RgbImage, lines: number, line: (i: number) => Line): number {
  const outer = line(0);
  let i = 1;
  if (isFlat(image, outer)) {
    while (i < lines && areSame(image, outer, line(i), sameLevels.flat)) i++;
    return i;
  }
  while (i < lines && areSame(image, line(i - 1), line(i), sameLevels.repeated)) i++;
  return i - 1;
}

function isFlat({ data }: RgbImage, { start, step, count }: Line): boolean {
  const sums = [0, 0, 0];
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) sums[c] += data[(start + i * step) * 3 + c];
  let difference = 0;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) difference += Math.abs(data[(start + i * step) * 3 + c] - sums[c] / count);
  }
  return difference <= sameLevels.flat * 3 * count;
}

function areSame({ data }: RgbImage, a: Line, b: Line, levels: number): boolean {
  let difference = 0;
  for (let i = 0; i < a.count; i++) {
    const p = (a.start + i * a.step) * 3, q = (b.start + i * b.step) * 3;
    for (let c = 0; c < 3; c++) difference += Math.abs(data[p + c] - data[q + c]);
  }
  return difference <= levels * 3 * a.count;
}

/**
 * The squares of `size` pixels whose sides stand out most, at most `count`, the strongest first. Sides on the image's
 * border count for nothing, so a square needs a seam within the image.
 */
export function seamedSquares(image: RgbImage, size: number, count: number): Seamed[] {
  const { width, height } = image;
  if (width < size || height < size || (width === size && height === size)) return [];
  const columns = seams(image, false), rows = seams(image, true);
  // The strength of a vertical side at x whose upper end is y, and of a horizontal one at y whose left end is x.
  const vertical = strengths(columns, width, height, size), horizontal = strengths(rows, height, width, size);
  const down = height - size + 1, across = width - size + 1;
  const found: Seamed[] = [];
  for (let top = 0; top < down; top++) {
    for (let left = 0; left < across; left++) {
      let sum = 0, sides = 0, least = Infinity;
      const add = (strength: number) => {
        sum += strength;
        sides++;
        least = Math.min(least, strength);
      };
      if (left > 0) add(vertical[left * down + top]);
      if (left + size < width) add(vertical[(left + size) * down + top]);
      if (top > 0) add(horizontal[top * across + left]);
      if (top + size < height) add(horizontal[(top + size) * across + left]);
      const strength = sum / sides;
      if (strength < leastStrength || least < weakestSide) continue;
      if (found.length === count && strength <= found[count - 1].strength) continue;
      found.push({ rectangle: { left, top, width: size, height: size }, strength });
      found.sort((a, b) => b.strength - a.strength);
      found.length = Math.min(found.length, count);
    }
  }
  return found;
}

/**
 * How much every pixel differs from its left neighbour (with `turned`: its upper one), above what its neighbours do:
 * [lines, length] in a row, a line being a column (a row), so that sums along sides are sums of neighbours.
 */
function seams({ width, height, data }: RgbImage, turned: boolean): Float32Array {
  const [lines, length] = turned ? [height, width] : [width, height];
  const [step, along] = turned ? [width, 1] : [1, width];
  const steps = new Float32Array(lines * length);
  for (let line = 1; line < lines; line++) {
    for (let i = 0; i < length; i++) {
      const at = (line * step + i * along) * 3, before = at - step * 3;
      let difference = 0;
      for (let c = 0; c < 3; c++) difference += Math.abs(data[at + c] - data[before + c]);
      steps[line * length + i] = difference;
    }
  }
  const out = new Float32Array(lines * length);
  for (let line = 1; line < lines; line++) {
    for (let i = 0; i < length; i++) {
      const before = line > 1 ? steps[(line - 1) * length + i] : 0;
      const after = line < lines - 1 ? steps[(line + 1) * length + i] : 0;
      out[line * length + i] = steps[line * length + i] - (before + after) / 2;
    }
  }
  return out;
}

/** Sums of seams along sides of `size` pixels, as standard deviations from their mean: [lines, length - size + 1]. */
function strengths(values: Float32Array, lines: number, length: number, size: number): Float32Array {
  const starts = length - size + 1;
  const sums = new Float32Array(lines * starts);
  let total = 0, squares = 0;
  for (let line = 0; line < lines; line++) {
    let sum = 0;
    for (let i = 0; i < length; i++) {
      sum += values[line * length + i];
      if (i >= size) sum -= values[line * length + i - size];
      if (i >= size - 1) sums[line * starts + i - size + 1] = sum;
    }
  }
  for (const sum of sums) {
    total += sum;
    squares += sum * sum;
  }
  const mean = total / sums.length, deviation = Math.sqrt(Math.max(squares / sums.length - mean * mean, 1e-12));
  return sums.map((sum) => (sum - mean) / deviation);
}
