/**
 * Times optimised quantisation at full size with synthetic weights, beside the reference's method in PyTorch:
 * deno run -A bench/quantisation.ts [--python FILE] [--repeat N] [--threads N] [--batch N] [--no-torch] [--out FILE.json]
 *
 * Two latents: that of image 3 of the golden cases, and one of random tokens with noise, for which found tokens can be
 * counted. PyTorch runs its whole schedule once per latent, with the number of threads and the way of waiting that are
 * fastest in a few iterations.
 */
import { parseArgs } from "node:util";
import { OptimisedQuantizer, referenceSchedule, refineSoftAssign, ScaleMaps } from "../attribution/quantisation/mod.ts";
import { meanSquaredError } from "../attribution/signals/reconstruction.ts";
import { openDevice } from "../core/open_device.ts";
import {
  add,
  concat,
  type Device,
  fromArray,
  keep,
  normals,
  permute,
  scope,
  slice,
  type Tensor,
  uniforms,
} from "../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, writeSafetensors } from "../models/checkpoint/mod.ts";
import { varTokenizer } from "../models/var/config.ts";
import { loadVarTokenizer, type VarImageTokenizer } from "../models/var/family.ts";
import { phiIndices } from "../models/var/quantizer.ts";
import { vqvaeSpecs } from "../models/var/vqvae.ts";
import { median, type Timing, timing } from "./measure.ts";
import { reportHead } from "./report.ts";
import { findPython } from "./torch.ts";

/** Salt of the golden cases, so that the weights are those of full_vqvae. */
export const salt = "golden-1";
const golden = new URL("../tests/fixtures/golden/full_vqvae.safetensors", import.meta.url);
/** Variance of the noise on the latent of tokens, as a part of the greedy error without it. */
const noisePart = 0.1;
/** Iterations for the losses that must agree, and for the choice of PyTorch's setting. */
const fewIterations = 20;

/** The official quantiser with the smallest encoder and decoder, which are not run. */
const config = { ...varTokenizer, ch: 32, chMult: [1], resBlocks: 1 };

async function imageLatent(device: Device): Promise<Tensor> {
  const source = await openCheckpoint(decodeURIComponent(golden.pathname));
  try {
    const values = await source.readF32("f");
    return scope(() => permute(fromArray(device, values, [1, config.zChannels, 16, 16]), 0, 2, 3, 1));
  } finally {
    source.close();
  }
}

/** The latent of random tokens with noise, and the tokens. */
async function tokenLatent(device: Device, family: VarImageTokenizer): Promise<{ f: Tensor; truth: Int32Array }> {
  const truth = Int32Array.from(uniforms(5, 0, family.tokenCount), (u) => Math.floor(u * family.codes));
  const clean = scope(() => family.dequantize(fromArray(device, truth, [1, family.tokenCount])));
  const error = scope(() => meanSquaredError(clean, family.quantize(clean).fHat));
  const deviation = Math.sqrt(noisePart * await error.item());
  const noise = normals(9, 0, clean.size).map((x) => x * deviation);
  const f = scope(() => add(clean, fromArray(device, noise, clean.shape)));
  for (const tensor of [clean, error]) tensor.dispose();
  return { f, truth };
}

/** Seconds of every repetition after one warm-up, until the result of `run` is ready. */
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
export async function writeInputs(path: string, family: VarImageTokenizer, f: Tensor, tokens: Tensor): Promise<void> {
  const { zChannels: c, codes, sharedPhi, patchNums } = config;
  const source = syntheticSource(salt, vqvaeSpecs(config));
  const weight = async (name: string, from: string, shape: number[]) => {
    const values = await source.readF32(`quantize.${from}`);
    return { name, shape, dtype: "f32" as const, data: () => values };
  };
  const latents = scope(() => permute(f, 0, 3, 1, 2));
  const [fValues, tokenValues] = [await latents.data(), await tokens.ints()];
  latents.dispose();
  const entries = [
    { name: "f", shape: [f.shape[0], c, 16, 16], dtype: "f32" as const, data: () => fValues },
    { name: "tokens", shape: [f.shape[0], family.tokenCount], dtype: "i32" as const, data: () => tokenValues },
    await weight("codebook", "embedding.weight", [codes, c]),
  ];
  for (let k = 0; k < sharedPhi; k++) {
    entries.push(await weight(`phi.${k}.weight`, `quant_resi.qresi_ls.${k}.weight`, [c, c, 3, 3]));
    entries.push(await weight(`phi.${k}.bias`, `quant_resi.qresi_ls.${k}.bias`, [c]));
  }
  const metadata = {
    patchNums: JSON.stringify(patchNums),
    phiOf: JSON.stringify(phiIndices(sharedPhi, patchNums.length)),
  };
  await writeSafetensors(path, entries, metadata);
}

interface TorchSpeed {
  readonly torch: string;
  readonly threads: number;
  readonly secondsPerIteration: readonly number[];
  readonly losses: readonly number[];
}

export interface TorchWhole {
  readonly seconds: readonly number[];
  readonly errors: readonly number[];
  readonly tokens: readonly (readonly number[])[];
}

type WaitPolicy = "default" | "PASSIVE";

export async function runTorch<T>(python: string, args: string[], waitPolicy: WaitPolicy): Promise<T> {
  const script = decodeURIComponent(new URL("./quantisation_torch.py", import.meta.url).pathname);
  const env: Record<string, string> = waitPolicy === "PASSIVE" ? { OMP_WAIT_POLICY: waitPolicy } : {};
  const { success, stdout } = await new Deno.Command(python, { args: [script, ...args], env, stderr: "inherit" })
    .output();
  if (!success) throw new Error("bench: quantisation_torch.py failed; its message is above");
  return JSON.parse(new TextDecoder().decode(stdout));
}

/**
 * One line of the table. Errors are of the latent of an image and of the latent of tokens; recovery is of the latter.
 */
interface Row {
  readonly name: string;
  /** Seconds per image, one image at a time. */
  readonly seconds: Timing;
  /** Seconds per image with several at once. */
  readonly together?: Timing;
  /** Seconds that the tables take, once per model, and their size. */
  readonly tableSeconds?: number;
  readonly tableBytes?: number;
  readonly errors: readonly number[];
  readonly recovery: number;
}

/** PyTorch's whole schedule, after a check that it computes what ours does. */
async function torchRow(
  python: string,
  family: VarImageTokenizer,
  { f, truth, repeat, threads }: { f: Tensor; truth: Int32Array; repeat: number; threads: number },
): Promise<{ row: Row; torch: string; threads: number; policy: WaitPolicy; secondsPerFreeIteration: number }> {
  const maps = new ScaleMaps(family);
  const few = { ...referenceSchedule, iterations: fewIterations };
  const { greedy, losses } = scope(() => {
    const { tokens } = family.quantize(f);
    const first = refineSoftAssign(maps, slice(f, 0, 0, 1), slice(tokens, 0, 0, 1), maps.patchNums.length, few);
    return keep({ greedy: tokens, losses: first.losses });
  });
  const file = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await writeInputs(file, family, f, greedy);
    const ourLosses = await losses.data();
    const speeds: (TorchSpeed & { policy: WaitPolicy })[] = [];
    const settings = (["default", "PASSIVE"] as const).flatMap((policy) =>
      Array.from({ length: threads }, (_, i) => ({ policy, count: `${i + 1}` }))
    );
    for (const { policy, count } of settings) {
      const args = [file, "--threads", count, "--iterations", `${fewIterations}`, "--repeat", `${repeat}`];
      const speed = await runTorch<TorchSpeed>(python, args, policy);
      const apart = Math.max(...speed.losses.map((loss, i) => Math.abs(loss - ourLosses[i]) / loss));
      if (apart > 1e-4) {
        throw new Error(`bench: PyTorch's losses and ours differ by ${apart}: not the same computation`);
      }
      speeds.push({ ...speed, policy });
    }
    const best = speeds.reduce((a, b) => median(b.secondsPerIteration) < median(a.secondsPerIteration) ? b : a);
    const schedule = ["--iterations", `${referenceSchedule.iterations}`, "--stop", `${referenceSchedule.stop}`];
    const whole = await runTorch<TorchWhole>(
      python,
      [file, "--threads", `${best.threads}`, "--whole", ...schedule],
      best.policy,
    );
    const row = {
      name: `PyTorch ${best.torch}, gradient`,
      seconds: timing(whole.seconds),
      errors: whole.errors,
      recovery: share(whole.tokens[1], truth),
    };
    const secondsPerFreeIteration = median(best.secondsPerIteration);
    return { row, torch: best.torch, threads: best.threads, policy: best.policy, secondsPerFreeIteration };
  } finally {
    await Deno.remove(file);
    for (const item of [losses, greedy, maps]) item.dispose();
  }
}

function share(tokens: ArrayLike<number>, truth: Int32Array): number {
  return truth.filter((token, i) => token === tokens[i]).length / truth.length;
}

function print({ name, seconds, together, tableSeconds, tableBytes, errors, recovery }: Row): void {
  const shown = (x: number) => (x < 1 ? `${(x * 1000).toFixed(0)} ms` : `${x.toFixed(2)} s`);
  const tables = tableSeconds === undefined ? "" : `tables ${shown(tableSeconds)}, ${Math.round(tableBytes! / 1e6)} MB`;
  console.log([
    name.padEnd(28),
    shown(seconds.median).padStart(9),
    (together ? shown(together.median) : "").padStart(9),
    ...errors.map((error) => error.toFixed(4).padStart(9)),
    `${(100 * recovery).toFixed(1)} %`.padStart(8),
    ` ${tables}`,
  ].join(" "));
}

/** Latents to quantise. */
interface Latents {
  /** Of an image. */
  readonly image: Tensor;
  /** Of tokens with noise, and the tokens. */
  readonly ofTokens: Tensor;
  readonly truth: Int32Array;
  /** Both as one batch. */
  readonly both: Tensor;
  /** The image's, `batch` times. */
  readonly several: Tensor;
}

async function makeLatents(device: Device, family: VarImageTokenizer, batch: number): Promise<Latents> {
  const image = await imageLatent(device);
  const { f: ofTokens, truth } = await tokenLatent(device, family);
  const both = scope(() => concat([image, ofTokens], 0));
  const several = scope(() => concat(new Array<Tensor>(batch).fill(image), 0));
  return { image, ofTokens, truth, both, several };
}

/** Times one of our methods. */
async function ourRow(
  device: Device,
  family: VarImageTokenizer,
  method: "greedy" | "sweeps" | "estimate",
  { image, truth, both, several }: Latents,
  { repeat, batch }: { repeat: number; batch: number },
): Promise<Row> {
  const start = performance.now();
  const quantizer = method === "greedy" ? null : await OptimisedQuantizer.open(family, { method });
  await device.sync();
  const tableSeconds = (performance.now() - start) / 1000;
  const quantize = (f: Tensor) => quantizer ? quantizer.quantize(f) : family.quantize(f);
  const alone = await time(repeat, () => scope(() => quantize(image).tokens));
  const together = await time(repeat, () => scope(() => quantize(several).tokens));
  const result = scope(() => {
    const { tokens, fHat } = quantize(both);
    return keep({ tokens, errors: meanSquaredError(both, fHat) });
  });
  const tokens = await result.tokens.ints();
  const row: Row = {
    name: method,
    seconds: timing(alone),
    together: timing(together.map((seconds) => seconds / batch)),
    ...quantizer && { tableSeconds, tableBytes: quantizer.bytes },
    errors: [...await result.errors.data()],
    recovery: share(tokens.subarray(tokens.length / 2), truth),
  };
  for (const item of [result.tokens, result.errors, quantizer]) item?.dispose();
  return row;
}

/** How many times as fast as PyTorch's faster image each of our optimising methods is; prints them. */
function compareSpeed(
  rows: readonly Row[],
  torch: Row,
  { threads, policy, secondsPerFreeIteration: free }: {
    threads: number;
    policy: WaitPolicy;
    secondsPerFreeIteration: number;
  },
): Record<string, number> {
  const ratios = Object.fromEntries(rows.map(({ name, seconds }) => [name, torch.seconds.best / seconds.median]));
  console.log(
    `PyTorch's iterations with all scales free: ${(free * 1000).toFixed(1)} ms, 1200 of them ${
      (free * 1200).toFixed(1)
    } s`,
  );
  for (const [name, ratio] of Object.entries(ratios)) {
    console.log(
      `${name}: ${ratio.toFixed(1)} times as fast as PyTorch (${threads} threads, ${policy} waiting), its faster image`,
    );
  }
  return ratios;
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      python: { type: "string" },
      repeat: { type: "string", default: "3" },
      threads: { type: "string" },
      batch: { type: "string", default: "4" },
      "no-torch": { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const repeat = Number(options.repeat), batch = Number(options.batch);
  const threads = options.threads ? Number(options.threads) : navigator.hardwareConcurrency;
  const device = await openDevice("cpu", { threads });
  const family = await loadVarTokenizer(device, syntheticSource(salt, vqvaeSpecs(config)), config);
  const latents = await makeLatents(device, family, batch);

  const rows: Row[] = [];
  const report = (row: Row) => {
    rows.push(row);
    print(row);
  };
  console.log(
    `${device.info.name}; seconds per image, the same with ${batch} at once, errors of both latents, true tokens`,
  );
  for (const method of ["greedy", "sweeps", "estimate"] as const) {
    report(await ourRow(device, family, method, latents, { repeat, batch }));
  }
  let torch: Omit<Awaited<ReturnType<typeof torchRow>>, "row"> | null = null;
  let ratios: Record<string, number> = {};
  if (!options["no-torch"]) {
    const python = await findPython(options.python);
    const { row, ...about } = await torchRow(python, family, {
      f: latents.both,
      truth: latents.truth,
      repeat,
      threads,
    });
    torch = about;
    report(row);
    ratios = compareSpeed(rows.slice(1, -1), row, about);
  }
  if (options.out !== undefined) {
    const result = {
      ...reportHead(torch === null ? {} : { torch: torch.torch }),
      device: device.info,
      settings: { repeat, batch, noisePart, schedule: referenceSchedule },
      torch,
      rows,
      ratios,
    };
    await Deno.writeTextFile(options.out, JSON.stringify(result, null, 1) + "\n");
  }
  for (const item of [latents.both, latents.several, latents.image, latents.ofTokens, family]) item.dispose();
  device.close();
}

if (import.meta.main) await main();
