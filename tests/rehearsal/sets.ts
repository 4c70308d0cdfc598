/** What a rehearsal pulls: lists of files of the official sizes, or of tiny widths with the official numbers of tokens. */
import { join } from "node:path";
import { syntheticTensor } from "../../models/checkpoint/synthetic.ts";
import { type ListedFile, readFileList, specsOf } from "../../models/download/list.ts";
import type { RarConfig, RarTokenizerConfig } from "../../models/rar/config.ts";
import { varTokenizer } from "../../models/var/config.ts";
import type { VarConfig, VqvaeConfig } from "../../models/var/config.ts";
import { writeTorchFile } from "../models/checkpoint/torch_file.ts";

/** How large the networks are. */
export type Size = "official" | "tiny";

/** The networks: both tokenizers and the smallest variant of each family. */
export const networks = ["rar", "rarb", "var", "var16"] as const;

const { patchNums } = varTokenizer;
const side = 64, codes = 64, classes = 10;

const rar: RarTokenizerConfig = {
  ...{
    hiddenChannels: 16,
    channelMult: [1, 1, 2],
    resBlocks: 1,
    zChannels: 16,
    codes,
    resolution: side,
    normGroups: 8,
  },
};
const rarb: RarConfig = {
  ...{ hiddenSize: 32, layers: 2, heads: 2, intermediateSize: 64, tokenCount: 256, classes, codes, spareRows: 2 },
};
const vqvae: VqvaeConfig = {
  ...{ ch: 16, chMult: [1, 1, 2], resBlocks: 1, zChannels: 8, codes, sharedPhi: 4, patchNums, resolution: side },
  normGroups: 8,
};
const var16: VarConfig = {
  ...{ depth: 2, embedDim: 32, heads: 2, sharedAdaLn: false, attnL2Norm: true, classes, patchNums, mlpRatio: 4 },
  ...{ codeChannels: 8, codes },
};

/** Configurations in place of the official ones. */
const tiny = {
  rar: { config: rar },
  rarb: { config: rarb, sampler: { guidance: 4, power: 1, temperature: 1 } },
  var: { config: vqvae },
  var16: { config: var16, sampler: { guidance: 1.5, topK: 32, topP: 0.96 } },
};

/** Side of the images in pixels. */
export function imageSide(size: Size): number {
  return size === "tiny" ? side : varTokenizer.resolution;
}

/** Writes a list like weights/official.json to `path`, without hashes, and reads it. */
export async function writeList(path: string, size: Size): Promise<readonly ListedFile[]> {
  const { files } = JSON.parse(await Deno.readTextFile(new URL("../../weights/official.json", import.meta.url)));
  const rows = networks.map((name) => {
    const { network, family, repo, file } = files.find((row: { network: string }) => row.network === name);
    return { network, family, repo, file, ...size === "tiny" && tiny[name] };
  });
  const description = `Networks of ${size} size with synthetic values, to rehearse with.`;
  const list = { format: "model-tracer-files/1", name: "rehearsal", description, files: rows };
  await Deno.writeTextFile(path, JSON.stringify(list, null, 1));
  return (await readFileList(path)).files;
}

/** Writes the checkpoints of a list into a folder; those that are there stay. */
export async function writeCheckpoints(dir: string, files: readonly ListedFile[]): Promise<number> {
  await Deno.mkdir(dir, { recursive: true });
  let bytes = 0;
  for (const row of files) {
    const path = join(dir, row.file);
    if (!await Deno.stat(path).then(() => true, () => false)) {
      await writeTorchFile(`${path}.new`, specsOf(row), ({ name, shape }) => syntheticTensor(row.network, name, shape));
      await Deno.rename(`${path}.new`, path);
    }
    bytes += (await Deno.stat(path)).size;
  }
  return bytes;
}
