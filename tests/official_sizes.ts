/** The official networks at full size, as a set whose weights are computed; for plans, which load nothing. */
import { join } from "node:path";
import { openCpuDevice } from "../core/cpu/mod.ts";
import type { Device } from "../core/tensor/mod.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import { rarTokenizer, rarVariants } from "../models/rar/config.ts";
import { varTokenizer, varVariants } from "../models/var/config.ts";
import { withFolder } from "./attribution/files.ts";

/** Runs `body` with the set and a CPU device. */
export async function withOfficial(body: (set: ModelSet, device: Device) => void | Promise<void>): Promise<void> {
  await withFolder(async (dir) => {
    const synthetic = { salt: "plan" };
    const manifest = {
      format: "model-tracer-weights/1",
      name: "official-sizes",
      families: {
        rar: {
          tokenizer: { synthetic, config: rarTokenizer },
          variants: Object.fromEntries(
            rarVariants.map(({ label, config, sampler }) => [label, { synthetic, config, sampler }]),
          ),
        },
        var: {
          tokenizer: { synthetic, config: varTokenizer },
          variants: Object.fromEntries(
            varVariants.map(({ label, config, sampler }) => [label, { synthetic, config, sampler }]),
          ),
        },
      },
    };
    await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
    const device = openCpuDevice({ threads: 1 });
    await body(await openModelSet(dir), device);
    device.close();
  });
}
