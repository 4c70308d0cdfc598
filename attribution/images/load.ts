/** From an image file to what networks take: its content hash, its size, and its pixels at the size of its networks. */
import { augment8, type Augmentation } from "./augment/mod.ts";
import { decodeImage, DEFAULT_MAX_PIXELS, imageNotes, readImageBytes, UnreadableImageError } from "./decode.ts";
import { applyEdits, checkEdit, type Edit, type Edited, formatEdits } from "./edits/mod.ts";
import type { ImageFacts } from "./facts/facts.ts";
import { imageFacts } from "./facts/image_facts.ts";
import { nativeSize } from "./facts/native_size.ts";
import { levelsOf, undoLevels } from "./facts/levels.ts";
import type { RgbImage } from "./image.ts";
import type { Pose } from "./pose.ts";
import { posedImage } from "./posed_image.ts";
import { preprocess, resizeAndCrop } from "./preprocess.ts";
import { canonicalJson } from "../../util/json.ts";
import { sha256Hex } from "../../util/hash.ts";

/** An image to work on: its name, and one of `path`, `bytes`, `image` and `decoded`. */
export interface ImageInput {
  /** Name in the results. */
  readonly imageName: string;
  /** Path of a file. */
  readonly path?: string;
  /** Content of a file. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Pixels. Their hash includes width and height. */
  readonly image?: RgbImage;
  /** Pixels at the image size of its networks. Cannot be combined with `edits`, `pose` or `augmentation`. */
  readonly decoded?: { readonly sha256: string; readonly pixels: Pixels };
  /** What happens to the image as it is stored, before it is resized to an image size. */
  readonly edits?: readonly Edit[];
  /**
   * Measure the native image that this pose finds in the edited image, instead of resizing the whole of it.
   *
   * @internal
   */
  readonly pose?: Pose;
  /**
   * A transform of the image's bytes at every image size, before they are scaled to the value range.
   *
   * @internal
   */
  readonly augmentation?: Augmentation;
  /** The class of the image, if the user knows it. */
  readonly class?: number;
}

/** An image file that was read but not decoded. */
export interface ImageFile {
  /** Content of the file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** sha256 of the bytes. */
  readonly sha256: string;
}

/** An image as networks take it. */
export interface Pixels {
  /** Of the image as stored, in pixels. */
  readonly width: number;
  /** Of the image as stored, in pixels. */
  readonly height: number;
  /**
   * By image size: [size, size, 3] in [0, 1]. The networks of these sizes judge the image: one size, its own
   * (native_size.ts).
   */
  readonly bySize: ReadonlyMap<number, Float32Array>;
  /** What is odd about the file, see imageNotes(). Absent for images that were given as pixels. */
  readonly notes?: readonly string[];
  /** The image as stored, to be searched for poses. Images that decodePixels() prepared have it unless they are large. */
  readonly image?: RgbImage;
  /** What happened to the image, see imageFacts(). Pixels that decodePixels() or pixelsOf() prepared have them. */
  readonly facts?: ImageFacts;
}

/**
 * Reads and hashes a file. Throws UnreadableImageError: `io`, or `too-large` for files that are larger than any image
 * of `maxPixels`.
 */
export async function readImageFile(path: string, maxPixels = DEFAULT_MAX_PIXELS): Promise<ImageFile> {
  const bytes = await readImageBytes(path, maxPixels);
  return { bytes, sha256: await sha256Hex(bytes) };
}

/**
 * The sha256 that identifies the content of an image, and the bytes of the file if it is one. With edits, a
 * pose or an augmentation, the hash covers content and transforms; the bytes are still those of the file. Throws as
 * readImageFile() does.
 */
export async function readContent(
  input: ImageInput,
  maxPixels?: number,
): Promise<{ readonly sha256: string; readonly bytes?: Uint8Array<ArrayBuffer> }> {
  const { imageName, decoded, edits = [], pose, augmentation } = input;
  const transforms = [edits.length > 0 ? edits : undefined, pose, augmentation].filter((one) => one !== undefined);
  if (decoded !== undefined) {
    if (transforms.length === 0) return { sha256: decoded.sha256 };
    throw new TypeError(`${imageName}: pixels at the networks' sizes cannot be edited, posed or augmented`);
  }
  const { bytes, sha256 } = await contentOf(input, maxPixels);
  let hash = sha256;
  for (const transform of transforms) {
    hash = await sha256Hex(new TextEncoder().encode(`${hash} ${canonicalJson(transform)}`));
  }
  return { bytes, sha256: hash };
}

async function contentOf(
  { imageName, path, bytes, image }: ImageInput,
  maxPixels?: number,
): Promise<{ readonly sha256: string; readonly bytes?: Uint8Array<ArrayBuffer> }> {
  if (image !== undefined) {
    const head = new TextEncoder().encode(`rgb ${image.width} ${image.height} `);
    const content = new Uint8Array(head.length + image.data.length);
    content.set(head);
    content.set(image.data, head.length);
    return { sha256: await sha256Hex(content) };
  }
  if (bytes !== undefined) return { bytes, sha256: await sha256Hex(bytes) };
  if (path !== undefined) return await readImageFile(path, maxPixels);
  throw new TypeError(`${imageName}: expected a path, bytes or pixels, got none of them`);
}

/**
 * The pixels of an input at the given image sizes, with the notes of its file. `bytes` are those that readContent()
 * returned. Throws UnreadableImageError.
 */
export async function pixelsOf(
  input: ImageInput,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  sizes: Iterable<number>,
  maxPixels?: number,
): Promise<Pixels> {
  if (input.decoded !== undefined) return input.decoded.pixels;
  const pixels = await prepare(await storedImage(input, bytes, maxPixels), sizes, input);
  return bytes === undefined ? pixels : { ...pixels, notes: imageNotes(bytes) };
}

/**
 * The image as it is stored, after its edits, and the file that holds it: the input's if nothing was edited, the edits'
 * if the last one wrote a file, else none. `bytes` are those that readContent() returned. Throws UnreadableImageError.
 */
export async function storedImage(
  { image, edits = [] }: ImageInput,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  maxPixels: number = DEFAULT_MAX_PIXELS,
): Promise<Edited> {
  const stored = image ?? await decodeImage(bytes!, { maxPixels });
  expectPixels(stored, maxPixels);
  if (edits.length === 0) return image === undefined ? { image: stored, bytes } : { image: stored };
  edits.forEach(checkEdit);
  try {
    const edited = await applyEdits(stored, edits);
    expectPixels(edited.image, maxPixels);
    return edited;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    // The edits are right by themselves: this image is too small or too large for them.
    throw new UnreadableImageError("unsupported", `${formatEdits(edits)}: ${cause.message}`, { cause });
  }
}

function expectPixels({ width, height }: RgbImage, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  throw new UnreadableImageError("too-large", `${width}x${height} pixels, at most ${maxPixels} are allowed`);
}

/** Pixels of the largest image that decodePixels() keeps: 3 MiB. */
const largestKept = 2 ** 20;

/** Decodes an image file's bytes and prepares the pixels for the given image sizes. Throws UnreadableImageError. */
export async function decodePixels(
  bytes: Uint8Array<ArrayBuffer>,
  sizes: Iterable<number>,
  maxPixels = DEFAULT_MAX_PIXELS,
): Promise<Pixels> {
  const image = await decodeImage(bytes, { maxPixels });
  const pixels = await prepare({ image, bytes }, sizes);
  const isSmall = image.width * image.height <= largestKept;
  return { ...pixels, notes: imageNotes(bytes), ...isSmall && { image } };
}

/**
 * Facts are those of the transformed image, if there is an augmentation; its file is another one then. A change of
 * brightness or contrast that the facts show is undone.
 */
async function prepare(
  { image, bytes }: Edited,
  sizes: Iterable<number>,
  { pose, augmentation }: Pick<ImageInput, "pose" | "augmentation"> = {},
): Promise<Pixels> {
  const { width, height } = image;
  const bySize = new Map<number, Float32Array>(), native = [...new Set(sizes)];
  if (augmentation === undefined) {
    // In other poses only what is undone matters; the line has the facts of the image as it is.
    const facts = pose === undefined ? imageFacts(bytes, image, native) : undefined;
    const levels = pose === undefined ? facts?.levels : levelsOf(image);
    const plain = levels === undefined ? image : undoLevels(image, levels);
    for (const size of judgedSizes(native, pose ?? image, facts)) {
      bySize.set(size, preprocess(pose === undefined ? plain : posedImage(plain, pose, size).image, size));
    }
    return { width, height, bySize, ...facts && { facts } };
  }
  let facts: ImageFacts | undefined;
  for (const size of judgedSizes(native, pose ?? image)) {
    const shown = pose === undefined ? image : posedImage(image, pose, size).image;
    const square = await augment8(resizeAndCrop(shown, size), augmentation);
    facts ??= imageFacts(undefined, square, native);
    bySize.set(size, preprocess(facts.levels === undefined ? square : undoLevels(square, facts.levels), size));
  }
  return { width, height, bySize, facts };
}

/** Of the sizes that networks take, those at which an image, or a pose, is judged: one, where there are several. */
function judgedSizes(
  sizes: readonly number[],
  shown: Pick<RgbImage, "width" | "height">,
  facts?: ImageFacts,
): readonly number[] {
  return sizes.length < 2 ? sizes : [facts?.native?.size ?? nativeSize(sizes, shown).size];
}

/** Images of [size, size, 3] in [0, 1] -> [images, size, size, 3] in the value range, x * (high - low) + low. */
export function toValueRange(
  images: readonly Float32Array[],
  [low, high]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const length = images[0]?.length ?? 0;
  const batch = new Float32Array(images.length * length);
  images.forEach((pixels, b) => {
    for (let i = 0; i < length; i++) batch[b * length + i] = pixels[i] * (high - low) + low;
  });
  return batch;
}
