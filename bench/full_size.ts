/**
 * Runs the largest transformers at full size from files in half precision, on the CPU device, and compares their logits
 * with PyTorch's:
 * deno run -A bench/full_size.ts --out DIR [--only var30,rarxxl] [--blocks N] [--images 2] [--json FILE]
 *
 * Weights are synthetic. The files (4.1 and 3.1 GB) are made in DIR and removed afterwards unless --keep is given.
 * Every part runs as a separate process, so that peaks of resident memory are separate, too. PyTorch computes in
 * float32, block by block: once with the weights of the file, which tells whether we compute the same, and once with
 * the float32 weights before rounding, which tells the cost of storing weights in half precision.
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
import { reportHead } from "./report.ts";
import { findPython } from "./torch.ts";

const salt = "full-size";
/** Classes of the images, where one is given. */
const classes = [207, 12, 985, 388];
/** Limit of our peak of resident memory. */
const limitBytes = 8 * 2 ** 30;

type Named =
  & { readonly name: string }
  & (
    | { readonly family: "rar"; readonly config: RarConfig }
    | { readonly family: "var"; readonly config: VarConfig }
  );

/** A variant at its official width and, unless `blocks` says otherwise, depth. */
function network(name: string, blocks?: number): Named {
  const rar = rarVariants.find(({ label }) => label === name);
  if (rar !== undefined) {
    return { name, family: "rar", config: { ...rar.config, layers: blocks ?? rar.config.layers } };
  }
  const row = varVariants.find(({ label }) => label === name);
  if (row === undefined) throw new Error(`full_size: expected a variant such as rarxxl or var30, got ${name}`);
  return { name, family: "var", config: { ...row.config, depth: blocks ?? row.config.depth } };
}

function specsOf(of: Named) {
  return of.family === "rar" ? rarSpecs(of.config) : varSpecs(of.config);
}

/** Writes the weights as `weights convert` does; the values are computed while they are written. */
async function make(of: Named, path: string): Promise<Record<string, number>> {
  const specs = specsOf(of);
  const source = syntheticSource(salt, specs);
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

interface Settings {
  /** Folder for the files. */
  readonly out: string;
  /** Blocks of the networks; all when not given. */
  readonly blocks?: number;
  readonly images: number;
  readonly threads?: number;
  readonly python?: string;
  /** Keep the files. */
  readonly keep: boolean;
  readonly torch: boolean;
}

const pathOf = ({ out }: Settings, name: string) => join(out, `${name}.safetensors`);

/** The parts that run as separate processes. */
const steps = {
  make: (of: Named, settings: Settings) => make(of, pathOf(settings, of.name)),
  read: (of: Named, settings: Settings) => readOnce(pathOf(settings, of.name)),
  ours: (of: Named, settings: Settings) => ours(of, pathOf(settings, of.name), settings.images, settings.threads),
} as const;
type Step = keyof typeof steps;

/** Runs one step as a process, and returns its result. */
async function runStep(step: Step, name: string, { out, blocks, images, threads }: Settings) {
  const args = ["run", "-A", "--no-check", import.meta.filename!, "--step", step, "--out", out];
  args.push("--only", name, "--images", `${images}`);
  if (blocks !== undefined) args.push("--blocks", `${blocks}`);
  if (threads !== undefined) args.push("--threads", `${threads}`);
  console.error(`${name}: ${step}`);
  return await run(Deno.execPath(), args);
}

/** PyTorch's passes over the same file and input. */
async function runTorch(of: Named, settings: Settings) {
  const path = pathOf(settings, of.name);
  console.error(`${of.name}: PyTorch`);
  const { shape, values } = inputOf(of, settings.images);
  await Deno.writeFile(`${path}.input`, new Uint8Array(values.buffer));
  await Deno.writeTextFile(
    `${path}.json`,
    JSON.stringify({ ...of, salt, file: path, shape, classes: classes.slice(0, settings.images) }),
  );
  const script = decodeURIComponent(new URL("./full_size_torch.py", import.meta.url).pathname);
  const threads = `${settings.threads ?? navigator.hardwareConcurrency}`;
  const args = [script, `${path}.json`, "--threads", threads];
  return await run(await findPython(settings.python), args, { OMP_WAIT_POLICY: "PASSIVE" });
}

/** All steps for one network. */
async function measure(name: string, settings: Settings): Promise<Record<string, unknown>> {
  const { out, blocks, images, keep, torch } = settings;
  try {
    const made = await runStep("make", name, settings);
    const read = await runStep("read", name, settings);
    const result = await runStep("ours", name, settings);
    const torchResult = torch ? await runTorch(network(name, blocks), settings) : null;
    const verdict = result.peakRssBytes <= limitBytes ? "within" : "BEYOND";
    console.error(
      `${name}: peak ${(result.peakRssBytes / 2 ** 30).toFixed(2)} GiB, ${verdict} ${limitBytes / 2 ** 30} GiB`,
    );
    return { images, blocks: blocks ?? "all", made, readSeconds: read.seconds, ours: result, torch: torchResult };
  } finally {
    if (!keep) {
      for await (const { name: file } of Deno.readDir(out)) {
        if (file.startsWith(`${name}.safetensors`)) await Deno.remove(join(out, file));
      }
    }
  }
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
  const settings: Settings = {
    out: values.out,
    blocks: values.blocks === undefined ? undefined : Number(values.blocks),
    images,
    threads: values.threads === undefined ? undefined : Number(values.threads),
    python: values.python,
    keep: values.keep,
    torch: !values["no-torch"],
  };
  if (values.step !== undefined) {
    const result = await steps[values.step as Step](network(values.only, settings.blocks), settings);
    console.log(JSON.stringify(result));
    return;
  }
  await Deno.mkdir(settings.out, { recursive: true });
  const results: Record<string, unknown> = {};
  for (const name of values.only.split(",")) results[name] = await measure(name, settings);
  const text = JSON.stringify({ ...reportHead(), results }, null, 1) + "\n";
  console.log(text);
  if (values.json !== undefined) await Deno.writeTextFile(values.json, text);
}

if (import.meta.main) await main();
