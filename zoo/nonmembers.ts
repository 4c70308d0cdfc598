/**
 * Images that no variant of the set made, as named sources: what each is, and how its images are made. How many of them
 * the dataset has, and where they go, is dataset.ts.
 */
import { join } from "node:path";
import { decodeImage } from "../attribution/images/decode.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { pilResize } from "../attribution/images/pil_resize.ts";
import { type Device, uniforms } from "../core/tensor/mod.ts";
import { runGeneration } from "../generation/generate.ts";
import { writePng } from "../attribution/images/png.ts";
import type { FamilyName } from "../models/family.ts";
import { openModelSet } from "../models/model_set.ts";
import { sharpnessQuantile, smoothed, type Smoothing, smoothings } from "./blur.ts";
import { cropImage, type CropQueue, type PhotoCrop } from "./crop_queue.ts";
import { gaussianImage } from "./gaussian.ts";
import type { Crops } from "./images.ts";
import { photos as photoTable } from "./photos.ts";
import { reconstructions } from "./sheet.ts";

/** An image of the dataset. */
export interface Item {
  readonly label: string;
  /** Where it comes from: a label, or a row of `nonmemberSources`. */
  readonly source: string;
  /** What images share that are not independent: the id of the photograph, or a draw's variant, seed and index. */
  readonly picture: string;
  /** Position of the photograph in the table of photographs. */
  readonly photo?: number;
  /** The file's content; makes it where it is not there yet. */
  readonly png: () => Promise<Uint8Array<ArrayBuffer>>;
}

/** What sources draw on. */
export interface Material {
  readonly device: Device;
  /** The model set. */
  readonly models: string;
  /** Folder of the set with a generator outside the model set. Throws where it is not there. */
  readonly outsider: (name: string) => string;
  /** Crops of photographs that nothing was trained on. */
  readonly unseen: CropQueue;
  /** Crops of photographs that the networks were trained on. */
  readonly seen: CropQueue;
  /** All crops of the split `train`. */
  readonly train: Crops;
  /** Deciles of the sharpness of generated images, to which others are smoothed. */
  readonly sharpness: () => Promise<readonly number[]>;
  readonly seed: number;
  /** Folder for what is generated on the way. */
  readonly work: string;
  readonly threads?: number;
  readonly log: (line: string) => void;
}

/** Makes images `first` to `first + count` of a source. */
type Source = (material: Material, source: string, count: number, first: number) => readonly Item[];

/** The sources of nonmembers, and what makes their images. */
export const nonmemberSources = {
  /** Crops of photographs that nothing was trained on. */
  photograph: ({ unseen }, source, count) => photographs(source, unseen.take(count), (images) => images),
  /** Images of a generator that has nothing in common with the set but the photographs. */
  "other-generator": outsider("other-generator"),
  /** Images of a generator of smaller images, enlarged. */
  "enlarged-generator": outsider("enlarged-generator"),
  /** Images of a transformer on the tokenizer from which VAR's began. */
  "ancestor-var": outsider("ancestor-var"),
  /** Images of normal distributions, one per class, as smooth as those of the zoo. */
  gaussian: ({ train, seed, sharpness }, source, count, first) => {
    const targets = uniforms(seed, blurStream, first + count);
    const image = async (i: number) =>
      smoothed(gaussianImage(train, seed, i), "gaussian", sharpnessQuantile(targets[i], await sharpness()));
    return Array.from({ length: count }, (_, i) => ({
      label: "outlier",
      source,
      picture: `${source}/${seed}/${first + i}`,
      png: async () => writePng(await image(first + i)),
    }));
  },
  /** Images of transformers on a family's own tokenizer that are not in the set. */
  "twin-rar": outsider("twin-rar"),
  "twin-var": outsider("twin-var"),
  /** Photographs through a family's encoder, quantiser and decoder. */
  "reconstruction-rar": reconstruction("rar"),
  "reconstruction-var": reconstruction("var"),
  /** Crops of photographs that the networks were trained on (MGI, arXiv 2606.23872). */
  "trained-on": ({ seen }, source, count) => photographs(source, seen.take(count), (images) => images),
  /** Photographs as smooth as generated images. */
  "blurred-photograph": ({ unseen, seed, sharpness }, source, count, first) => {
    const names = Object.keys(smoothings) as Smoothing[];
    const targets = uniforms(seed, blurStream, first + count);
    return photographs(
      source,
      unseen.take(count),
      async (images) => {
        const deciles = await sharpness();
        return images.map((image, i) =>
          smoothed(image, names[(first + i) % names.length], sharpnessQuantile(targets[first + i], deciles))
        );
      },
    );
  },
} as const satisfies Record<string, Source>;

/** The generators outside of the set that sources draw from. */
export const outsiders: Readonly<Record<string, string>> = {
  "other-generator": "other",
  "enlarged-generator": "other",
  "ancestor-var": "ancestor-var",
  "twin-rar": "twin-rar",
  "twin-var": "twin-var",
};

/** One of `nonmemberSources`. */
export type NonmemberSource = keyof typeof nonmemberSources;

const blurStream = 0x626c7572;

/** Images of the source, from `first` on. */
export function nonmembers(material: Material, source: NonmemberSource, count: number, first = 0): readonly Item[] {
  return nonmemberSources[source](material, source, count, first);
}

/** Images that variants of a set draw, `count` each from `first` on, in the folder `dir` of each variant. */
export function drawn(
  { seed, threads, log }: Pick<Material, "seed" | "threads" | "log">,
  models: string,
  { variants, count, first = 0 }: {
    readonly variants: readonly string[];
    readonly count: number;
    readonly first?: number;
  },
  dir: string,
): readonly Item[] {
  const paths = lazily(async () => {
    for (const variant of variants) {
      await runGeneration({
        models,
        variants: [variant],
        count,
        first,
        seed,
        out: join(dir, variant),
        resume: true,
        device: "cpu",
        threads,
      }, { onPrepare: (text) => log(`${dir}: ${text}`) });
    }
  });
  return variants.flatMap((variant) =>
    Array.from({ length: count }, (_, i) => ({
      label: variant,
      source: variant,
      picture: `${variant}/${seed}/${first + i}`,
      png: async () => {
        await paths();
        return await Deno.readFile(join(dir, variant, `${first + i}.png`));
      },
    }))
  );
}

/** Outliers drawn by the generator of that source, enlarged where they are smaller than the set's images. */
function outsider(of: string): Source {
  return (material, source, count, first) => {
    const name = outsiders[of], { side } = material.train;
    return drawn(material, material.outsider(name), { variants: [name], count, first }, material.work)
      .map((item) => ({ ...item, label: "outlier", source, png: async () => await enlarged(await item.png(), side) }));
  };
}

/** A PNG file of `side` x `side` pixels: the file itself where it is so large. */
async function enlarged(png: Uint8Array<ArrayBuffer>, side: number): Promise<Uint8Array<ArrayBuffer>> {
  const image = await decodeImage(png);
  return image.width === side ? png : writePng(pilResize(image, side, side, "bicubic"));
}

/** Outliers that are crops of photographs, after `change`, which sees all of them at once. */
function photographs(
  source: string,
  crops: readonly PhotoCrop[],
  change: (images: readonly RgbImage[]) => readonly RgbImage[] | Promise<readonly RgbImage[]>,
): readonly Item[] {
  const images = lazily(async () => await change(crops.map(cropImage)));
  return crops.map(({ photo }, i) => ({
    label: "outlier",
    source,
    picture: photoTable[photo].id,
    photo,
    png: async () => writePng((await images())[i]),
  }));
}

/** Photographs as the tokenizer of a family gives them back. */
function reconstruction(family: FamilyName): Source {
  return ({ unseen, device, models }, source, count) =>
    photographs(source, unseen.take(count), async (images) => {
      const set = await openModelSet(models);
      const tokenizer = await set.loadTokenizer(device, family, { originalEncoder: true });
      try {
        return await reconstructions(device, tokenizer, images);
      } finally {
        tokenizer.dispose();
      }
    });
}

/** Runs `make` at the first call and gives its result from then on. */
export function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => result ??= make();
}
