/** Generated pairs of the stand-in tokenizers, and their encoders with noise, for tests. */
import { join } from "node:path";
import { encodePng } from "../../attribution/images/decode.ts";
import { toRgbImage } from "../../attribution/images/augment/mod.ts";
import { formatPair, pairPath } from "../../generation/pair_file.ts";
import { familyNamed } from "../../models/registry.ts";
import { openDevice } from "../../core/open_device.ts";
import { affine, type Device, fromArray, normals, philox, scope } from "../../core/tensor/mod.ts";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { openModelSet } from "../../models/model_set.ts";
import { standIns } from "../sets.ts";

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
): Promise<Latents> {
  await Deno.mkdir(dir, { recursive: true });
  const family = await (await openModelSet(standIns)).loadTokenizer(device, name);
  const { imageSize, tokenCount, valueRange: [low, high] } = family;
  const words = new Uint32Array(4);
  const tokens = Int32Array.from({ length: count * tokenCount }, (_, i) => {
    philox(seed, 1, i, words);
    return words[0] % codes;
  });
  const fHat = scope(() => family.dequantize(fromArray(device, tokens, [count, tokenCount])));
  const again = scope(() => family.quantize(fHat).tokens);
  const recovered = (await again.ints()).filter((token, i) => token === tokens[i]).length / tokens.length;
  const latents = { values: await fHat.data(), recovered };
  const images = scope(() => {
    return affine(family.decode(fHat), 1 / (high - low), -low / (high - low));
  });
  const values = await images.data();
  for (const tensor of [fHat, again, images]) tensor.dispose();
  const each = imageSize * imageSize * 3;
  for (let i = 0; i < count; i++) {
    const data = values.subarray(i * each, (i + 1) * each);
    const path = join(dir, `${i}.png`);
    await Deno.writeFile(path, await encodePng(toRgbImage({ width: imageSize, height: imageSize, data })));
    const own = Array.from(tokens.subarray(i * tokenCount, (i + 1) * tokenCount));
    await Deno.writeTextFile(pairPath(path), formatPair({ tokens: own, family: name, seed }));
  }
  family.dispose();
  return latents;
}

/** f_Z of written pairs, one after the other, and the share of their tokens that quantising f_Z itself gives back. */
export interface Latents {
  readonly values: Float32Array;
  readonly recovered: number;
}

/** Sizes of a stand-in tokenizer. */
export async function tinySizes(name: FamilyName): Promise<{ imageSize: number; tokenCount: number; codes: number }> {
  const device = await openDevice("cpu");
  const family = await (await openModelSet(standIns)).loadTokenizer(device, name);
  const { imageSize, tokenCount, codes } = family;
  family.dispose();
  device.close();
  return { imageSize, tokenCount, codes };
}

/** Writes the encoder of a tokenizer (a stand-in, or of the model set) with every parameter times 1 + noise * N(0, 1). */
export async function writePerturbedEncoder(
  name: FamilyName,
  path: string,
  noise: number,
  { seed = 7, models = standIns } = {},
): Promise<void> {
  const source = await (await openModelSet(models)).openNetwork({ family: name });
  const { encoderModules } = familyNamed(name);
  const trained = [...source.tensors.values()].filter((info) =>
    encoderModules.some((module) => info.name.startsWith(module))
  );
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
