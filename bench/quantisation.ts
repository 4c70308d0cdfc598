/**
 * Times optimised quantisation at full size with synthetic weights, beside the reference's method in PyTorch:
 * deno run -A bench/quantisation.ts [--python FILE] [--repeat N] [--threads N] [--iterations N] [--batch N] [--no-torch]
 *
 * The latent is that of image 3 of the golden cases. PyTorch runs a few iterations only; its 1,200 are extrapolated.
 */
import { parseArgs } from "node:util";
import { OptimisedQuantizer, refineSoftAssign, ScaleMaps } from "../attribution/quantisation/mod.ts";
import { meanSquaredError } from "../attribution/signals.ts";
import { openDevice } from "../core/open_device.ts";
import { concat, type Device, fromArray, permute, scope, type Tensor } from "../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import { varTokenizer } from "../models/var/config.ts";
import { loadVarFamily, type VarFamily } from "../models/var/family.ts";
import { phiIndices } from "../models/var/quantizer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import { median } from "./measure.ts";
import { findPython } from "./torch.ts";

/** Iterations of the reference's whole schedule. */
const wholeIterations = 1200;
/** Salt of the golden cases, so that the weights are those of full_vqvae. */
const salt = "golden-1";
const golden = new URL("../tests/fixtures/golden/full_vqvae.safetensors", import.meta.url);

/** The official quantiser behind an encoder and a decoder that are as small as possible, since neither is run. */
const config = { ...varTokenizer, ch: 32, chMult: [1], resBlocks: 1 };

async function latent(device: Device): Promise<Tensor> {
  const source = await openCheckpoint(decodeURIComponent(golden.pathname));
  try {
    const values = await source.readF32("f");
    return scope(() => permute(fromArray(device, values, [1, config.zChannels, 16, 16]), 0, 2, 3, 1));
  } finally {
    source.close();
  }
}

/** Seconds of every repetition after one warm-up; `run` returns what must be finished. */
async function time(repeat: number, run: () => Tensor): Promise<number[]> {
  const seconds: number[] = [];
  for (let i = -1; i < repeat; i++) {
    const start = performance.now();
    const result = run();
    await result.ints();
    if (i >= 0) seconds.push((performance.now() - start) / 1000);
    result.dispose();
  }
  return seconds;
}

/** Writes what quantisation_torch.py reads: tensors in PyTorch's layout. */
async function writeInputs(path: string, family: VarFamily, f: Tensor, tokens: Tensor): Promise<void> {
  const { zChannels: c, codes, sharedPhi, patchNums } = config;
  const source = syntheticSource(salt, new Map(vqvaeSpecs(config).map((spec) => [spec.name, spec.shape])));
  const own = async (name: string, from: string, shape: number[]) => {
    const values = await source.readF32(`quantize.${from}`);
    return { name, shape, dtype: "f32" as const, data: () => values };
  };
  const latents = scope(() => permute(f, 0, 3, 1, 2));
  const [fValues, tokenValues] = [await latents.data(), await tokens.ints()];
  latents.dispose();
  const entries = [
    { name: "f", shape: [f.shape[0], c, 16, 16], dtype: "f32" as const, data: () => fValues },
    { name: "tokens", shape: [f.shape[0], family.tokenCount], dtype: "i32" as const, data: () => tokenValues },
    await own("codebook", "embedding.weight", [codes, c]),
  ];
  for (let k = 0; k < sharedPhi; k++) {
    entries.push(await own(`phi.${k}.weight`, `quant_resi.qresi_ls.${k}.weight`, [c, c, 3, 3]));
    entries.push(await own(`phi.${k}.bias`, `quant_resi.qresi_ls.${k}.bias`, [c]));
  }
  const metadata = {
    patchNums: JSON.stringify(patchNums),
    phiOf: JSON.stringify(phiIndices(sharedPhi, patchNums.length)),
  };
  await writeSafetensors(path, entries, metadata);
}

interface TorchResult {
  readonly torch: string;
  readonly threads: number;
  readonly secondsPerIteration: readonly number[];
  readonly losses: readonly number[];
  readonly error: number;
}

async function runTorch(python: string, args: string[], waitPolicy: "default" | "PASSIVE"): Promise<TorchResult> {
  const script = decodeURIComponent(new URL("./quantisation_torch.py", import.meta.url).pathname);
  const env: Record<string, string> = waitPolicy === "PASSIVE" ? { OMP_WAIT_POLICY: waitPolicy } : {};
  const { success, stdout } = await new Deno.Command(python, { args: [script, ...args], env, stderr: "inherit" })
    .output();
  if (!success) throw new Error("bench: quantisation_torch.py failed; its message is above");
  return JSON.parse(new TextDecoder().decode(stdout));
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      python: { type: "string" },
      repeat: { type: "string", default: "3" },
      threads: { type: "string" },
      iterations: { type: "string", default: "20" },
      batch: { type: "string", default: "4" },
      "no-torch": { type: "boolean", default: false },
    },
  });
  const repeat = Number(options.repeat), batch = Number(options.batch);
  const device = await openDevice("cpu", { threads: options.threads ? Number(options.threads) : undefined });
  const shapes = new Map(vqvaeSpecs(config).map((spec) => [spec.name, spec.shape]));
  const family = await loadVarFamily(device, syntheticSource(salt, shapes), config);
  const f = await latent(device);
  const several = scope(() => concat(new Array<Tensor>(batch).fill(f), 0));
  const greedy = family.quantize(f);
  const error = async (fHat: Tensor) => {
    const own = meanSquaredError(f, fHat);
    const value = await own.item();
    own.dispose();
    return value;
  };
  const row = (name: string, seconds: number | null, value: number | null, note = "") => {
    const shown = seconds === null
      ? "-"
      : seconds < 1
      ? `${(seconds * 1000).toFixed(0)} ms`
      : `${seconds.toFixed(2)} s`;
    console.log(`${name.padEnd(44)} ${shown.padStart(10)}  ${value === null ? "" : value.toFixed(4)}  ${note}`);
  };
  console.log(`${device.info.name}; ${"time per image".padStart(30)}, mean squared error`);
  row("greedy", median(await time(repeat, () => scope(() => family.quantize(f).tokens))), await error(greedy.fHat));

  const exact = { annealed: 0, hottest: 1, coldest: 1, exact: 1 };
  let fastest = Infinity;
  for (const [name, schedule] of [["one exact sweep", exact], ["default sweeps", undefined]] as const) {
    const start = performance.now();
    const quantizer = await OptimisedQuantizer.open(family, { method: "sweeps", schedule });
    await device.sync();
    if (schedule) row("tables, once per model", (performance.now() - start) / 1000, null);
    const { tokens, fHat } = quantizer.quantize(f);
    const seconds = await time(repeat, () => scope(() => quantizer.quantize(f).tokens));
    row(name, median(seconds), await error(fHat));
    const together = await time(repeat, () => scope(() => quantizer.quantize(several).tokens));
    row(`${name}, ${batch} images at once`, median(together) / batch, null);
    fastest = median(seconds);
    for (const item of [tokens, fHat, quantizer]) item.dispose();
  }
  const iterations = Number(options.iterations);
  const settings = { iterations, lr: 0.1, tauStart: 2, tauEnd: 0.5, lossOver: "image" } as const;
  const maps = new ScaleMaps(family);
  const call = () => refineSoftAssign(maps, f, greedy.tokens, maps.patchNums.length, settings);
  const [own] = await time(1, () => scope(() => call().tokens));
  const { losses } = scope(() => ({ losses: call().losses }));
  row("gradient, 1200 iterations", own / iterations * wholeIterations, null, `extrapolated from ${iterations}`);

  if (!options["no-torch"]) {
    const python = await findPython(options.python);
    const file = await Deno.makeTempFile({ suffix: ".safetensors" });
    try {
      await writeInputs(file, family, f, greedy.tokens);
      const args = [file, "--iterations", `${iterations}`, "--repeat", `${repeat}`];
      if (options.threads) args.push("--threads", options.threads);
      let best = Infinity;
      for (const policy of ["default", "PASSIVE"] as const) {
        const result = await runTorch(python, args, policy);
        const whole = median(result.secondsPerIteration) * wholeIterations;
        best = Math.min(best, whole);
        const ours = await losses.data();
        const apart = Math.max(...result.losses.map((loss, i) => Math.abs(loss - ours[i]) / loss));
        if (apart > 1e-4) {
          throw new Error(`bench: PyTorch's losses and ours differ by ${apart}: not the same computation`);
        }
        row(`PyTorch ${result.torch}, 1200 iterations, ${policy}`, whole, null, `extrapolated from ${iterations}`);
      }
      console.log(`default sweeps: ${(best / fastest).toFixed(1)} times as fast as PyTorch at its better setting`);
    } finally {
      await Deno.remove(file);
    }
  }
  for (const item of [losses, maps, f, several, greedy.tokens, greedy.fHat, family]) item.dispose();
  device.close();
}

if (import.meta.main) await main();
