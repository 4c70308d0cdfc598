/** A small set like the official one: the stand-ins' files, written by PyTorch, and synthetic ones in its format. */
import { join } from "node:path";
import { syntheticTensor } from "../../../models/checkpoint/synthetic.ts";
import { type FileList, type ListedFile, readFileList, specsOf } from "../../../models/download/list.ts";
import type { ParamSpec } from "../../../models/checkpoint/mod.ts";
import { standIns } from "../../sets.ts";
import { type TensorRecipe, tensorsPickle, torchZip } from "../checkpoint/build.ts";
import type { TestHub } from "./hub.ts";

const { families } = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));

/** File names of the networks that PyTorch wrote; the others are made here. */
const written: Record<string, string> = {
  rar: "maskgit_vq_tiny.bin",
  rarb: "rar_tiny.bin",
  var: "vqvae_tiny.pth",
  var16: "var_ckpt_nested.pth",
};

/** The networks of the small set. */
export const networks = ["rar", "rarb", "rarl", "var", "var16", "var20"];

/** The list of the small set's files, as weights/official.json has it. */
export const smallList = {
  format: "model-tracer-files/1",
  name: "small",
  files: networks.map((network) => {
    const family = network.startsWith("rar") ? "rar" : "var";
    const { config, sampler, prefix } = network === family
      ? families[family].tokenizer
      : families[family].variants[network];
    const file = written[network] ?? `${network}.${family === "rar" ? "bin" : "pth"}`;
    return { network, family, repo: family === "rar" ? "someone/RAR" : "someone/var", file, prefix, config, sampler };
  }),
};

/** A checkpoint in PyTorch's zip format with synthetic float32 values. */
export async function torchFile(
  salt: string,
  specs: readonly Pick<ParamSpec, "name" | "shape">[],
  change: (name: string, values: Float32Array<ArrayBuffer>) => void = () => {},
): Promise<Uint8Array<ArrayBuffer>> {
  const storages: Record<string, Uint8Array> = {};
  const recipes = specs.map(({ name, shape }, i): TensorRecipe => {
    const values = syntheticTensor(salt, name, shape);
    change(name, values);
    storages[i] = new Uint8Array(values.buffer);
    return { name, shape, key: String(i), length: values.length };
  });
  return await torchZip(tensorsPickle(recipes), storages);
}

/** Writes the list into a folder and offers its files at the hub. */
export async function offerSmallSet(hub: TestHub, dir: string): Promise<{ path: string; list: FileList }> {
  const path = join(dir, "list.json");
  await Deno.writeTextFile(path, JSON.stringify(smallList));
  const list = await readFileList(path);
  for (const row of list.files) hub.offers.set(`${row.repo}/${row.file}`, { bytes: await bytesOf(row) });
  return { path, list };
}

const made = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

/** The bytes of a file of the small set. */
export function bytesOf(row: ListedFile): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = made.get(row.network);
  if (bytes === undefined) {
    const file = written[row.network];
    bytes = file === undefined ? torchFile(row.network, specsOf(row)) : Deno.readFile(join(standIns, file));
    made.set(row.network, bytes);
  }
  return bytes;
}
