/**
 * Times the evidence of some images end to end beside plain PyTorch, at full size with synthetic weights:
 * deno run -A bench/evidence.ts [--images 2] [--variants rarb,...] [--python FILE] [--threads N] [--no-torch]
 * [--out FILE.json]
 *
 * Evidence is the signals of both tokenizers, VAR's with optimised quantisation, and the likelihoods under every
 * variant up to 1 B parameters, without a class and with one class per image. PyTorch makes the same passes one image
 * after the other, in float32, waiting passively, and quantises by the reference's schedule of 6 x 200 iterations. Both
 * run every piece for all images; nothing is scaled up. Our loading of weights and opening of tables is timed
 * separately. PyTorch's losses, nearest codes and log-probabilities, which cost little, are left out.
 */
import { parseArgs } from "node:util";
import { TokenScorer } from "../attribution/likelihood/mod.ts";
import { openQuantizer } from "../attribution/quantisation/quantizers.ts";
import { measureSignals } from "../attribution/signals/measure.ts";
import { openCpuDevice } from "../core/cpu/mod.ts";
import { concat, type Device, keep, randomUniform, scope, type Tensor } from "../core/tensor/mod.ts";
import { syntheticSource } from "../models/checkpoint/mod.ts";
import type { Condition, ImageTokenizer, Variant } from "../models/family.ts";
import { rarTokenizer, rarVariants } from "../models/rar/config.ts";
import { loadRarTokenizer, loadRarVariant } from "../models/rar/family.ts";
import { tokenizerSpecs } from "../models/rar/tokenizer.ts";
import { transformerSpecs as rarSpecs } from "../models/rar/transformer.ts";
import { varTokenizer, varVariants } from "../models/var/config.ts";
import { loadVarTokenizer, loadVarVariant, type VarImageTokenizer } from "../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../models/var/transformer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import type { WeightSpec } from "../models/weights.ts";
import { rarFlops, rarTokenizerFlops, varFlops, vqvaeFlops } from "./flops.ts";
import { referenceSchedule } from "../attribution/quantisation/mod.ts";
import { processorSeconds } from "./measure.ts";
import { runTorch, salt, type TorchWhole, writeInputs } from "./quantisation.ts";
import { reportHead } from "./report.ts";
import { findPython, Torch } from "./torch.ts";

/** Times of one piece for all images. */
interface Piece {
  readonly name: string;
  readonly seconds: number;
  /** Operations by formula that PyTorch's passes need, in units of 10^9; 0 for its quantisation. */
  readonly gflop: number;
  readonly torchSeconds: number | null;
  /** Processor time over elapsed time while we ran: below the number of threads when others had the processors. */
  readonly processors?: number;
  /** Ours: loading weights or opening tables, once per run and not per image. */
  readonly preparing?: number;
}

const source = (specs: readonly WeightSpec[]) => syntheticSource(salt, specs);

async function timed<T>(device: Device, work: () => T | Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  await device.sync();
  return [result, (performance.now() - start) / 1000];
}

/** The same with the processors that the work got. */
async function timedWhole(device: Device, work: () => unknown): Promise<{ seconds: number; processors: number }> {
  const before = processorSeconds();
  const [, seconds] = await timed(device, work);
  return { seconds, processors: (processorSeconds() - before) / seconds };
}

/** PyTorch's seconds for `runs` passes of a network over one image each, after one that warms up. */
async function passes(torch: Torch | null, network: string, runs: number): Promise<number> {
  if (torch === null) return NaN;
  return Number((await torch.server.ask({ case: network, batch: 1, runs })).seconds) * runs;
}

interface Run {
  readonly device: Device;
  readonly images: number;
  readonly torch: Torch | null;
  readonly python: string;
  readonly threads: number;
}

/** Signals of one family for all images; VAR's optimised quantisation is a separate piece. */
async function signals(
  { device, images, torch, python, threads }: Run,
  family: ImageTokenizer,
): Promise<{ pieces: Piece[]; tokens: Int32Array }> {
  const { encode, decode } = family.family === "rar" ? rarTokenizerFlops(rarTokenizer) : vqvaeFlops(varTokenizer);
  const [quantizer, preparing] = await timed(device, () => openQuantizer("estimate", family));
  const size = family.imageSize;
  const all = new Int32Array(images * family.tokenCount);
  let quantising = 0;
  const quantize = (f: Tensor) => {
    const start = performance.now(); // the CPU device computes at once
    const result = quantizer.quantize(f);
    quantising += (performance.now() - start) / 1000;
    return result;
  };
  const measureOne = async (i: number) => {
    const measured = scope(() => {
      const x = randomUniform(device, [1, size, size, 3], 1, i);
      const { tokens, signals } = measureSignals(family, x, "core", quantize);
      return keep({ tokens, quantLoss: signals.quantLoss!, encLoss: signals.encLoss! });
    });
    all.set(await measured.tokens.ints(), i * family.tokenCount);
    for (const tensor of Object.values(measured)) tensor.dispose();
  };
  await measureOne(0); // warms up, as PyTorch's first run does
  quantising = 0;
  const { seconds, processors } = await timedWhole(device, async () => {
    for (let i = 0; i < images; i++) await measureOne(i);
  });
  quantizer.dispose();
  const name = family.family === "rar" ? "maskgit-vq" : "vqvae";
  const encoders = await passes(torch, `${name}-encoder`, 2 * images);
  const decoders = await passes(torch, `${name}-decoder`, 2 * images);
  await torch?.release();
  const pieces: Piece[] = [{
    name: `${family.family} signals`,
    seconds: seconds - quantising,
    gflop: 2 * images * (encode + decode) / 1e9,
    torchSeconds: torch && encoders + decoders,
    processors,
    preparing: family.family === "rar" ? 0 : preparing,
  }];
  if (family.family === "var") {
    const torchSeconds = torch && await torchQuantisation(device, family as VarImageTokenizer, images, python, threads);
    pieces.push({ name: "var optimised quantisation", seconds: quantising, gflop: 0, torchSeconds });
  }
  return { pieces, tokens: all };
}

/** Seconds of the reference's schedule in PyTorch on the latents of all images, one after the other. */
async function torchQuantisation(
  device: Device,
  family: VarImageTokenizer,
  images: number,
  python: string,
  threads: number,
) {
  const size = family.imageSize;
  const { f, greedy } = scope(() => {
    const latents = Array.from(
      { length: images },
      (_, i) => family.encode(randomUniform(device, [1, size, size, 3], 1, i)),
    );
    const f = concat(latents, 0);
    return keep({ f, greedy: family.quantize(f).tokens });
  });
  const file = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await writeInputs(file, family, f, greedy);
    const { iterations, stop } = referenceSchedule;
    const args = [file, "--threads", `${threads}`, "--whole", "--iterations", `${iterations}`, "--stop", `${stop}`];
    const { seconds } = await runTorch<TorchWhole>(python, args, "PASSIVE");
    return seconds.reduce((a, b) => a + b, 0);
  } finally {
    await Deno.remove(file);
    for (const tensor of [f, greedy]) tensor.dispose();
  }
}

/** Likelihoods of all images under one variant, without a class and with one class per image. */
async function likelihoods({ device, images, torch }: Run, name: string, family: ImageTokenizer, tokens: Int32Array) {
  const rar = rarVariants.find(({ label }) => label === name);
  const row = varVariants.find(({ label }) => label === name);
  const options = { weightType: "f16" } as const;
  const load = async (): Promise<Variant<Condition>> =>
    rar
      ? await loadRarVariant(device, source(rarSpecs(rar.config)), rar.config, name, options) as Variant<Condition>
      : await loadVarVariant(device, source(varSpecs(row!.config)), row!.config, name, options) as Variant<
        Condition
      >;
  const [variant, preparing] = await timed(device, load);
  const flops = rar ? rarFlops(rar.config) : varFlops(row!.config);
  const classes = Array.from({ length: images }, (_, i) => [(i * 127) % 1000]);
  const scorer = new TokenScorer(device, family, variant, [(rar ?? row!).sampler], { batch: Math.min(images, 4) });
  // One image warms up, as PyTorch's first run does.
  const n = variant.tokenCount;
  await scorer.score(tokens.subarray(0, n), [[5]]);
  const { seconds, processors } = await timedWhole(device, () => scorer.score(tokens, classes));
  scorer.dispose();
  variant.dispose();
  device.trim();
  const torchSeconds = torch && await passes(torch, name, 2 * images);
  await torch?.release();
  return {
    name: `${name}, two conditions`,
    seconds,
    gflop: 2 * images * (flops.image + flops.condition) / 1e9,
    torchSeconds,
    processors,
    preparing,
  };
}

/** A piece as a line. */
function describe({ name, seconds, torchSeconds, processors }: Piece): string {
  const share = processors === undefined ? "" : ` (${processors.toFixed(2)} processors)`;
  const line = `${name}: ${seconds.toFixed(1)} s${share}`;
  if (torchSeconds === null) return line;
  return `${line}, PyTorch ${torchSeconds.toFixed(1)} s, ratio ${(seconds / torchSeconds).toFixed(2)}`;
}

/** Seconds of all pieces. */
function totals(pieces: readonly Piece[]) {
  const total = (of: (piece: Piece) => number) => pieces.reduce((sum, piece) => sum + of(piece), 0);
  const seconds = total((piece) => piece.seconds);
  const torchSeconds = pieces.some((piece) => piece.torchSeconds === null)
    ? null
    : total((piece) => piece.torchSeconds!);
  return {
    seconds,
    torchSeconds,
    timesAsFast: torchSeconds && torchSeconds / seconds,
    preparingSeconds: total(({ preparing = 0 }) => preparing),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      images: { type: "string", default: "2" },
      variants: { type: "string", default: "rarb,rarl,rarxl,var16,var20,var24" },
      python: { type: "string" },
      threads: { type: "string" },
      "no-torch": { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const images = Number(values.images), threads = Number(values.threads ?? navigator.hardwareConcurrency);
  if (!(Number.isInteger(images) && images >= 1)) throw new Error(`evidence: --images expects 1 or more`);
  const variants = values.variants.split(",");
  for (const name of variants) {
    if (![...rarVariants, ...varVariants].some(({ label }) => label === name)) {
      throw new Error(`evidence: no variant is called ${name}`);
    }
  }
  const device = openCpuDevice({ threads });
  const python = values["no-torch"] ? "" : await findPython(values.python);
  const torch = values["no-torch"] ? null : await Torch.open(python, threads, "PASSIVE");
  if (torch?.warning) console.error(`evidence: ${torch.warning}`);
  const run: Run = { device, images, torch, python, threads };
  const pieces: Piece[] = [];
  const note = (piece: Piece) => {
    pieces.push(piece);
    console.error(describe(piece));
  };
  const families: ImageTokenizer[] = [
    await loadRarTokenizer(device, source(tokenizerSpecs(rarTokenizer)), rarTokenizer),
    await loadVarTokenizer(device, source(vqvaeSpecs(varTokenizer)), varTokenizer),
  ];
  for (const family of families) {
    const { pieces: measured, tokens } = await signals(run, family);
    measured.forEach(note);
    for (const name of variants.filter((name) => name.startsWith(family.family))) {
      note(await likelihoods(run, name, family, tokens));
    }
  }
  const result = {
    ...reportHead(torch === null ? {} : { torch: torch.version }),
    settings: { images, threads, weightType: "f16", tokenizers: "f32", schedule: referenceSchedule },
    pieces,
    ...totals(pieces),
    devicePeakBytes: device.memory().peakBytes,
  };
  for (const family of families) family.dispose();
  torch?.close();
  device.close();
  const text = JSON.stringify(result, null, 1) + "\n";
  console.log(text);
  if (values.out !== undefined) await Deno.writeTextFile(values.out, text);
}

if (import.meta.main) await main();
