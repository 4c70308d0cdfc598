/**
 * Runs the largest transformers at full size from files in half precision, on the CPU device, and compares their logits
 * with PyTorch's: deno run -A bench/full_size.ts --out DIR [--only var30,rarxxl] [--blocks N] [--images 2] [--json FILE]
 *
 * Weights are synthetic; the files (4.1 and 3.1 GB) are made in DIR and removed afterwards unless --keep is given. Every
 * part runs as a process of its own, whose peak of resident memory is its own, too. PyTorch computes in float32, block by
 * block, once with the weights as the file has them and once with the float32 weights that were rounded for it: the first
 * says whether we compute the same, the second what storing weights in half precision costs.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openCpuDevice } from "../core/cpu/mod.ts";
import { type Device, fromArray, keep, scope, type Tensor } from "../core/tensor/mod.ts";
import { convertCheckpoint } from "../models/checkpoint/convert.ts";
import { openCheckpoint, syntheticInput, syntheticSource } from "../models/checkpoint/mod.ts";
import type { Condition, Variant } from "../models/family.ts";
import { type RarConfig, rarVariants } from "../models/rar/config.ts";
import { loadRarVariant } from "../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import { tokenCount, type VarConfig, varVariants } from "../models/var/config.ts";
import { loadVarVariant } from "../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import { rarFlops, varFlops } from "./flops.ts";
import { findPython } from "./torch.ts";

const salt = "full-size";
/** What images are said to show when a class is given; the first ones of as many as there are images. */
const classes = [207, 12, 985, 388];
/** Peak of resident memory that ours must stay within. */
const limitBytes = 8 * 2 ** 30;

type Named =
  & { readonly name: string }
  & (
    | { readonly family: "rar"; readonly config: RarConfig }
    | { readonly family: "var"; readonly config: VarConfig }
  );

/** A variant at its official width and, unless `blocks` says otherwise, depth. */
export function network(name: string, blocks?: number): Named {
  const rar = rarVariants.find(({ label }) => label === name);
  if (rar !== undefined) {
    return { name, family: "rar", config: { ...rar.config, layers: blocks ?? rar.config.layers } };
  }
  const found = varVariants.find(({ label }) => label === name);
  if (found === undefined) throw new Error(`full_size: expected a variant such as rarxxl or var30, got ${name}`);
  return { name, family: "var", config: { ...found.config, depth: blocks ?? found.config.depth } };
}

function specsOf(of: Named) {
  return of.family === "rar" ? rarSpecs(of.config) : varSpecs(of.config);
}

/** Writes the weights as `weights convert` does; the values are computed while they are written. */
async function make(of: Named, path: string): Promise<Record<string, number>> {
  const specs = specsOf(of);
  const source = syntheticSource(salt, new Map(specs.map(({ name, shape }) => [name, shape])));
  const start = performance.now();
  const { elements } = await convertCheckpoint(source, specs, path, { what: of.name });
  return { seconds: (performance.now() - start) / 1000, elements, bytes: (await Deno.stat(path)).size };
}

/** The variant's input for some images: tokens of RAR, rows of code vectors for VAR. */
function inputOf(
  of: Named,
  images: number,
): { shape: number[]; values: Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer> } {
  if (of.family === "rar") {
    const { tokenCount: n, codes } = of.config;
    return { shape: [images, n], values: Int32Array.from({ length: images * n }, (_, i) => (i * 40503) % codes) };
  }
  const shape = [images, tokenCount(of.config.patchNums) - 1, of.config.codeChannels];
  return { shape, values: syntheticInput(salt, "rows", shape) };
}

async function load(device: Device, of: Named, path: string): Promise<Variant<Condition>> {
  const source = await openCheckpoint(path);
  try {
    return of.family === "rar"
      ? await loadRarVariant(device, source, of.config, of.name, { weightType: "f16" }) as Variant<Condition>
      : await loadVarVariant(device, source, of.config, of.name, { weightType: "f16" }) as Variant<Condition>;
  } finally {
    source.close();
  }
}

/** Kilobytes of a line of /proc/self/status as bytes; NaN where there is no such file. */
function memoryLine(name: string): number {
  try {
    const line = new RegExp(`${name}:\\s+(\\d+)`).exec(Deno.readTextFileSync("/proc/self/status"));
    return Number(line?.[1] ?? NaN) * 1024;
  } catch {
    return NaN;
  }
}

/** Loads a file, passes images through under both conditions, and writes the logits beside it. */
async function ours(of: Named, path: string, images: number, threads?: number) {
  const device = openCpuDevice({ threads });
  const start = performance.now();
  const variant = await load(device, of, path);
  const loadSeconds = (performance.now() - start) / 1000;
  const { shape, values } = inputOf(of, images);
  const input = fromArray(device, values, shape);
  const flops = of.family === "rar" ? rarFlops(of.config) : varFlops(of.config);
  const conditions: Record<string, readonly (number | null)[]> = { none: [null], class: classes.slice(0, images) };
  const passes: Record<string, Record<string, number>> = {};
  for (const [name, labels] of Object.entries(conditions)) {
    const begin = performance.now();
    const condition = keep(variant.condition(labels));
    await device.sync();
    const prepared = performance.now();
    const logits: Tensor = keep(scope(() => variant.logits(input, condition)));
    await device.sync();
    const end = performance.now();
    await Deno.writeFile(`${path}.${name}.logits`, new Uint8Array((await logits.data()).buffer));
    const seconds = (end - prepared) / 1000;
    passes[name] = {
      conditionSeconds: (prepared - begin) / 1000,
      seconds,
      gflops: images * flops.image / seconds / 1e9,
    };
    for (const item of [logits, condition]) item.dispose();
  }
  const { liveBytes, peakBytes } = device.memory();
  const result = {
    loadSeconds,
    passes,
    weightBytes: variant.weightBytes,
    deviceLiveBytes: liveBytes,
    devicePeakBytes: peakBytes,
    peakRssBytes: memoryLine("VmHWM"),
  };
  device.close();
  return result;
}

/** Reads a file from one end to the other in pieces, as a copy would. */
async function readOnce(path: string): Promise<Record<string, number>> {
  using file = await Deno.open(path);
  const buffer = new Uint8Array(1 << 22);
  const start = performance.now();
  while (await file.read(buffer) !== null);
  return { seconds: (performance.now() - start) / 1000 };
}

async function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const { success, stdout } = await new Deno.Command(command, { args: [...args], env, stderr: "inherit" }).output();
  if (!success) throw new Error(`full_size: ${command} ${args[0]} failed; its message is above`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      only: { type: "string", default: "var30,rarxxl" },
      blocks: { type: "string" },
      images: { type: "string", default: "2" },
      threads: { type: "string" },
      python: { type: "string" },
      json: { type: "string" },
      "no-torch": { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      step: { type: "string" },
    },
  });
  if (values.out === undefined) throw new Error("full_size: --out DIR is needed: where there is room for the files");
  const images = Number(values.images);
  if (!(Number.isInteger(images) && images >= 1 && images <= classes.length)) {
    throw new Error(`full_size: --images expects 1 to ${classes.length}, got ${values.images}`);
  }
  const threads = values.threads === undefined ? undefined : Number(values.threads);
  const blocks = values.blocks === undefined ? undefined : Number(values.blocks);
  const pathOf = (name: string) => join(values.out!, `${name}.safetensors`);
  if (values.step !== undefined) {
    const of = network(values.only, blocks), path = pathOf(of.name);
    const steps = {
      make: () => make(of, path),
      read: () => readOnce(path),
      ours: () => ours(of, path, images, threads),
    } as const;
    console.log(JSON.stringify(await steps[values.step as keyof typeof steps]()));
    return;
  }
  await Deno.mkdir(values.out, { recursive: true });
  const results: Record<string, unknown> = {};
  for (const name of values.only.split(",")) {
    const of = network(name, blocks), path = pathOf(name);
    const step = (what: string) => {
      const args = ["run", "-A", "--no-check", import.meta.filename!, "--step", what, "--out", values.out!];
      args.push("--only", name, "--images", values.images);
      if (blocks !== undefined) args.push("--blocks", `${blocks}`);
      if (threads !== undefined) args.push("--threads", `${threads}`);
      console.error(`${name}: ${what}`);
      return run(Deno.execPath(), args);
    };
    try {
      const made = await step("make");
      const read = await step("read");
      const own = await step("ours");
      let torch = null;
      if (!values["no-torch"]) {
        console.error(`${name}: PyTorch`);
        const { shape, values: input } = inputOf(of, images);
        await Deno.writeFile(`${path}.input`, new Uint8Array(input.buffer));
        await Deno.writeTextFile(
          `${path}.json`,
          JSON.stringify({ ...of, salt, file: path, shape, classes: classes.slice(0, images) }),
        );
        const script = decodeURIComponent(new URL("./full_size_torch.py", import.meta.url).pathname);
        torch = await run(await findPython(values.python), [
          script,
          `${path}.json`,
          "--threads",
          `${threads ?? navigator.hardwareConcurrency}`,
        ], { OMP_WAIT_POLICY: "PASSIVE" });
      }
      results[name] = { images, blocks: blocks ?? "all", made, readSeconds: read.seconds, ours: own, torch };
      const verdict = own.peakRssBytes <= limitBytes ? "within" : "BEYOND";
      console.error(
        `${name}: peak ${(own.peakRssBytes / 2 ** 30).toFixed(2)} GiB, ${verdict} ${limitBytes / 2 ** 30} GiB`,
      );
    } finally {
      if (!values.keep) {
        for await (const { name: file } of Deno.readDir(values.out)) {
          if (file.startsWith(`${name}.safetensors`)) await Deno.remove(join(values.out, file));
        }
      }
    }
  }
  const report = {
    format: 1,
    date: new Date().toISOString(),
    machine: `${navigator.hardwareConcurrency} processors, ${Deno.build.os} ${Deno.build.arch}`,
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    results,
  };
  const text = JSON.stringify(report, null, 1) + "\n";
  console.log(text);
  if (values.json !== undefined) await Deno.writeTextFile(values.json, text);
}

if (import.meta.main) await main();
