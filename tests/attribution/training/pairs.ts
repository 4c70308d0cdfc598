/** Generated pairs of the tiny tokenizers, and their encoders with noise, for tests. */
import { join } from "node:path";
import { encodePng } from "../../../attribution/images/decode.ts";
import { toRgbImage } from "../../../attribution/augment/mod.ts";
import { formatPair, pairPath } from "../../../attribution/training/pair_file.ts";
import { isTrained } from "../../../attribution/training/trainee.ts";
import { affine, type Device, fromArray, normals, philox, scope } from "../../../core/tensor/mod.ts";
import { writeSafetensors } from "../../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../../models/family.ts";
import { openModelSet } from "../../../models/model_set.ts";

export const tiny = new URL("../../../weights/tiny", import.meta.url).pathname;

/**
 * Writes `count` images, each decoded from tokens drawn uniformly from the first `codes` codes, with the tokens beside
 * them. The untrained decoders mix so much that images of all 64 codes cannot be inverted by anything learnt in a minute.
 */
export async function writePairs(
  device: Device,
  name: FamilyName,
  dir: string,
  count: number,
  { codes = 3, seed = 1 } = {},
): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  const family = await (await openModelSet(tiny)).loadFamily(device, name);
  const { imageSize, tokenCount, valueRange: [low, high] } = family;
  const words = new Uint32Array(4);
  const tokens = Int32Array.from({ length: count * tokenCount }, (_, i) => {
    philox(seed, 1, i, words);
    return words[0] % codes;
  });
  const images = scope(() => {
    const fHat = family.dequantize(fromArray(device, tokens, [count, tokenCount]));
    return affine(family.decode(fHat), 1 / (high - low), -low / (high - low));
  });
  const values = await images.data();
  images.dispose();
  const each = imageSize * imageSize * 3;
  for (let i = 0; i < count; i++) {
    const data = values.subarray(i * each, (i + 1) * each);
    const path = join(dir, `${i}.png`);
    await Deno.writeFile(path, await encodePng(toRgbImage({ width: imageSize, height: imageSize, data })));
    const own = Array.from(tokens.subarray(i * tokenCount, (i + 1) * tokenCount));
    await Deno.writeTextFile(pairPath(path), formatPair({ tokens: own, family: name, seed }));
  }
  family.dispose();
}

/** Writes the encoder of a tiny tokenizer with every parameter times 1 + noise * N(0, 1). */
export async function writePerturbedEncoder(name: FamilyName, path: string, noise: number, seed = 7): Promise<void> {
  const source = await (await openModelSet(tiny)).openNetwork({ family: name });
  const trained = [...source.tensors.values()].filter((info) => isTrained(info.name));
  await writeSafetensors(
    path,
    trained.map(({ name, shape }, stream) => ({
      name,
      shape,
      dtype: "f32",
      data: async () => {
        const values = await source.readF32(name);
        const random = normals(seed, stream, values.length);
        return values.map((value, i) => value * (1 + noise * random[i]));
      },
    })),
  );
  source.close();
}
