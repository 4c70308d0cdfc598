/**
 * Times loading VAR-d30 from a file in half precision (4.02 GB) beside reading the file once:
 * deno run -A bench/loading.ts [--rounds 3] [--blocks 30] [--folder DIR]
 *
 * Every read and every load is a separate process, in turns: first with the file not in memory, where this user may
 * drop it (`/proc/sys/vm/drop_caches`), then with all of it in memory.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openCpuDevice } from "../core/cpu/mod.ts";
import type { Device } from "../core/tensor/mod.ts";
import { openCheckpoint, writeSafetensors } from "../models/checkpoint/mod.ts";
import { loadVarVariant } from "../models/var/family.ts";
import { varVariants } from "../models/var/config.ts";
import { transformerSpecs } from "../models/var/transformer.ts";
import { median } from "./measure.ts";
import { table } from "./table.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    blocks: { type: "string", default: "30" },
    folder: { type: "string" },
    cold: { type: "boolean", default: false },
  },
});
const config = { ...varVariants.find(({ label }) => label === "var30")!.config, depth: Number(values.blocks) };

/** A file as `weights convert` lays it out, of small numbers. */
async function make(path: string): Promise<void> {
  const noise = Uint16Array.from({ length: 1 << 20 }, (_, i) => 0x2000 + (i * 40503) % 0x1800);
  await writeSafetensors(
    path,
    transformerSpecs(config).map(({ name, shape }) => ({
      name,
      shape,
      dtype: "f16" as const,
      data: () => {
        const data = new Uint16Array(shape.reduce((product, d) => product * d, 1));
        for (let at = 0; at < data.length; at += noise.length) data.set(noise.subarray(0, data.length - at), at);
        return data;
      },
    })),
  );
}

async function load(device: Device, path: string): Promise<void> {
  const source = await openCheckpoint(path);
  const variant = await loadVarVariant(device, source, config, "var30", { weightType: "f16" });
  source.close();
  variant.dispose();
}

/** Loading where networks take turns: the device had the network before the timing starts. */
const again = "loading it where a network was before";
let turns: Device | undefined;

/** Work on the file, each in a separate process. */
const works: Record<string, (path: string) => void | Promise<void>> = {
  "reading it once": (path) => {
    using file = Deno.openSync(path);
    const buffer = new Uint8Array(1 << 22);
    while (file.readSync(buffer) !== null);
  },
  "reading it into memory of its size": (path) => {
    using file = Deno.openSync(path);
    const parts: Uint8Array[] = [];
    for (let left = file.statSync().size; left > 0; left -= parts.at(-1)!.length) {
      const part = new Uint8Array(Math.min(left, 1 << 26));
      for (let done = 0; done < part.length;) done += file.readSync(part.subarray(done))!;
      parts.push(part);
    }
  },
  "loading it": async (path) => {
    const device = openCpuDevice();
    await load(device, path);
    device.close();
  },
  [again]: (path) => load(turns!, path),
};

async function seconds(work: string, path: string, cold: boolean): Promise<number> {
  const args = ["run", "-A", import.meta.filename!, "--blocks", values.blocks, ...cold ? ["--cold"] : [], work, path];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(`loading: ${work}: ${new TextDecoder().decode(stderr)}`);
  return Number(new TextDecoder().decode(stdout));
}

async function dropCaches(): Promise<boolean> {
  await new Deno.Command("sync").output();
  return await Deno.writeTextFile("/proc/sys/vm/drop_caches", "1").then(() => true, () => false);
}

if (positionals.length === 2) {
  const [work, path] = positionals;
  if (work === again) {
    turns = openCpuDevice();
    await load(turns, path);
    if (values.cold) await dropCaches();
  }
  const start = performance.now();
  await works[work](path);
  console.log((performance.now() - start) / 1000);
  turns?.close();
} else {
  const folder = await Deno.makeTempDir({ dir: values.folder });
  try {
    const path = join(folder, "var30.safetensors");
    await make(path);
    for (const cold of [true, false]) {
      const times: Record<string, number[]> = Object.fromEntries(Object.keys(works).map((work) => [work, []]));
      for (let round = 0; round < Number(values.rounds); round++) {
        for (const work of Object.keys(works)) {
          if (cold && !await dropCaches()) break;
          times[work].push(await seconds(work, path, cold));
        }
      }
      const [once, , first, second] = Object.values(times);
      if (once.length === 0) {
        console.log("the file cannot be dropped from memory here\n");
        continue;
      }
      const { size } = await Deno.stat(path);
      console.log(`${(size / 1e9).toFixed(2)} GB, ${cold ? "not in memory" : "in memory"}`);
      const rows = Object.entries(times).map(([work, samples]) =>
        [work, ...samples, median(samples)].map((value) => {
          return typeof value === "number" ? value.toFixed(2) : value;
        })
      );
      console.log(table([["", ...once.map((_, i) => `round ${i + 1}`), "median, s"], ...rows]));
      const ratio = (samples: readonly number[]) => median(samples.map((value, i) => value / once[i])).toFixed(2);
      console.log(`loading / reading once: ${ratio(first)}, where a network was before: ${ratio(second)} (medians)\n`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
