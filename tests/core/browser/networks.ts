/**
 * Passes of the smallest embedded RAR and VAR networks, the same in Deno and on a page; the page calls `networkPasses`.
 * Only the reading of files is left to the caller.
 */
import { type DeviceName, openDevice } from "../../../core/open_device.ts";
import { affine, fromArray, keep, randomUniform, scope, type Tensor } from "../../../core/tensor/mod.ts";
import { BytesInMemory } from "../../../models/checkpoint/bytes.ts";
import { openCheckpoint } from "../../../models/checkpoint/open.ts";
import { withPrefix } from "../../../models/checkpoint/prefix.ts";
import { type FileEntry, parseManifest } from "../../../models/manifest.ts";
import { familyNamed } from "../../../models/registry.ts";

export type ReadFile = (name: string) => Promise<Uint8Array<ArrayBuffer>>;

const networks = [["rar", "rarb"], ["var", "var16"]] as const;

/** What comes back from a device: its name, and the results by network and pass. */
export interface Passes {
  readonly name: string;
  readonly software: boolean;
  readonly results: Readonly<Record<string, number[]>>;
}

export async function networkPasses(deviceName: DeviceName, read: ReadFile): Promise<Passes> {
  const manifest = parseManifest(new TextDecoder().decode(await read("manifest.json")), "manifest.json");
  const device = await openDevice(deviceName);
  const results: Record<string, number[]> = {};
  try {
    for (const [family, variant] of networks) {
      const { tokenizer: tokenizerEntry, variants } = manifest.families[family];
      const tokenizerSource = await open(read, tokenizerEntry as FileEntry);
      const tokenizer = await familyNamed(family).loadTokenizer(device, tokenizerSource, tokenizerEntry.config);
      const source = await open(read, variants[variant] as unknown as FileEntry);
      const transformer = await familyNamed(family).loadVariant(device, source, variants[variant].config, variant);
      const { imageSize, tokenCount, codes, valueRange: [low, high] } = tokenizer;
      const store = async (pass: string, compute: () => Tensor) => {
        const result = scope(() => keep(compute()));
        results[`${family} ${pass}`] = Array.from(await result.data());
        result.dispose();
      };
      const tokens = () =>
        fromArray(device, Int32Array.from({ length: 2 * tokenCount }, (_, i) => i * 40503 % codes), [2, tokenCount]);
      await store("encoder", () => {
        const images = randomUniform(device, [2, imageSize, imageSize, 3], 1);
        return tokenizer.encode(affine(images, high - low, low));
      });
      await store("decoder", () => tokenizer.decode(tokenizer.dequantize(tokens())));
      const condition = transformer.condition([3]);
      await store("transformer", () => transformer.logits(tokenizer.transformerInput(tokens()), condition));
      condition.dispose();
      tokenizer.dispose();
      transformer.dispose();
    }
    return { name: device.info.name, software: device.info.software, results };
  } finally {
    device.close();
  }
}

async function open(read: ReadFile, { file, prefix }: FileEntry) {
  const source = await openCheckpoint(new BytesInMemory(file, await read(file)));
  return prefix === undefined ? source : withPrefix(source, prefix);
}
