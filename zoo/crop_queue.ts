/**
 * Which crops of photographs the dataset takes, in which order: of every photograph one, then of every one another.
 * Nothing takes a crop twice.
 */
import type { RgbImage } from "../attribution/images/image.ts";
import { uniforms } from "../core/tensor/mod.ts";
import type { PhotoCrops } from "./crops.ts";
import { photos as photoTable } from "./photos.ts";

const orderStream = 0x6f726472;

/** A crop of a photograph. */
export interface PhotoCrop {
  /** Position of the photograph in the table of photographs. */
  readonly photo: number;
  readonly crops: PhotoCrops;
  /** Position of the crop in `crops`. */
  readonly at: number;
}

/** The crops of some photographs in a fixed order, to be taken from its front. */
export class CropQueue {
  #next = 0;
  readonly #order: readonly PhotoCrop[];

  /** Queues the crops of `photos`, in their order, those of each shuffled by `seed`; without those of `taken`. */
  constructor(
    splits: readonly PhotoCrops[],
    photos: readonly number[],
    seed: number,
    taken: readonly PhotoCrop[] = [],
  ) {
    const takenOf = new Map(splits.map((crops) => [crops, new Set<number>()]));
    for (const { crops, at } of taken) takenOf.get(crops)?.add(at);
    const all = cropsByPhoto(splits);
    const byPhoto = photos.map((photo) =>
      shuffled(all.get(photo) ?? [], seed + photo).filter(({ crops, at }) => !takenOf.get(crops)!.has(at))
    );
    const rounds = Math.max(0, ...byPhoto.map((crops) => crops.length));
    this.#order = Array.from({ length: rounds }, (_, round) => byPhoto.flatMap((crops) => crops[round] ?? [])).flat();
  }

  /** The next crops. Throws a RangeError where there are not enough. */
  take(count: number): readonly PhotoCrop[] {
    const left = this.#order.length - this.#next;
    if (count > left) throw new RangeError(`CropQueue.take: expected at most the ${left} crops left, got ${count}`);
    return this.#order.slice(this.#next, this.#next += count);
  }
}

function cropsByPhoto(splits: readonly PhotoCrops[]): Map<number, PhotoCrop[]> {
  const all = splits.flatMap((crops) => Array.from(crops.photo, (photo, at) => ({ photo, crops, at })));
  return Map.groupBy(all, ({ photo }) => photo);
}

/** The photographs of splits by what the copyright file says of them, sorted by their position in the table. */
export function photosOf(splits: readonly PhotoCrops[]): { given: number[]; kept: number[] } {
  const all = [...new Set(splits.flatMap(({ photo }) => [...photo]))].sort((a, b) => a - b);
  const hasEntry = (photo: number) => photoTable[photo].ownEntry !== false;
  return { given: all.filter(hasEntry), kept: all.filter((photo) => !hasEntry(photo)) };
}

/** A crop as an image. */
export function cropImage({ crops: { pixels, side }, at }: PhotoCrop): RgbImage {
  const size = side * side * 3;
  return { width: side, height: side, data: pixels.slice(at * size, (at + 1) * size) };
}

/** Items in an order that the seed decides on. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const order = [...items];
  const draws = uniforms(seed, orderStream, order.length);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(draws[i] * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
