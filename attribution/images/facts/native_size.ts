/**
 * The image size at which an image is judged, where the networks of a set take several. A model draws images of one
 * size, and the traces of its tokens are seen at no other: an image is judged by the networks of its own size alone.
 */
import type { RgbImage } from "../image.ts";
import type { ImageFacts } from "./facts.ts";
import { leastSide } from "./unsuitable.ts";

/** How near a size before an enlargement must be to one of the networks', as a share of it. */
const tolerance = 0.03;

/**
 * The size of the networks that judge an image, by the first of these rules that gives one:
 *
 * 1. `exact`: the shorter side is a size of the networks;
 * 2. `picture`: that of the picture within a canvas is;
 * 3. `enlargement`: traces of resampling say by which factor one of the sizes was enlarged;
 * 4. `multiple`: the shorter side is a whole multiple of a size, of several the smallest multiple;
 * 5. `nearest`: the size with the nearest ratio to the shorter side. A size of which the image has less than three
 *    quarters is not taken if there is a smaller one: cropping does not take as much off.
 *
 * `sizes` has two sizes or more.
 */
export function nativeSize(
  sizes: readonly number[],
  image: Pick<RgbImage, "width" | "height">,
  { picture, resampling }: Pick<ImageFacts, "picture" | "resampling"> = {},
): NonNullable<ImageFacts["native"]> {
  const whole = Math.min(image.width, image.height);
  const side = picture === undefined ? whole : Math.min(picture.width, picture.height);
  const as = (size: number, by: NonNullable<ImageFacts["native"]>["by"]) => ({
    ...{ size, by },
    others: sizes.filter((other) => other !== size),
  });
  if (sizes.includes(whole)) return as(whole, "exact");
  if (sizes.includes(side)) return as(side, "picture");
  const factor = resampling?.factor ?? null;
  const enlarged = sizes.filter((size) => factor !== null && Math.abs(side / factor - size) <= tolerance * size);
  if (enlarged.length === 1) return as(enlarged[0], "enlargement");
  const multiples = sizes.filter((size) => side % size === 0);
  if (multiples.length > 0) return as(Math.max(...multiples), "multiple");
  const covered = sizes.filter((size) => side >= leastSide * size);
  const distance = (size: number) => Math.abs(Math.log(side / size));
  const near = covered.length > 0 ? covered : [Math.min(...sizes)];
  return as(near.reduce((a, b) => distance(b) < distance(a) ? b : a), "nearest");
}
