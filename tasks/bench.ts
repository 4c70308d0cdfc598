/** `deno task bench`: speed and memory of kernels and whole passes, alone or in turns with PyTorch, jax-js and onnxruntime. */
import type { Workload } from "../bench/case.ts";
import { type Contender, Ours } from "../bench/contender.ts";
import { callTable, countAll, countTables } from "../bench/count/report.ts";
import { generationWorkloads } from "../bench/generation.ts";
import { JaxJs } from "../bench/jax.ts";
import { kernelWorkloads } from "../bench/kernels.ts";
import { disturbed, measure, type Measured } from "../bench/measure.ts";
import { type BenchOptions, benchOptions, checkBenchOptions, type DeviceChoice } from "../bench/options.ts";
import { fullSizes, passWorkloads, quickSizes } from "../bench/passes.ts";
import { Onnx } from "../bench/onnx.ts";
import { type Profile, profile, profileTables, withRates } from "../bench/profile.ts";
import { type DeviceResults, type Failure, type Report, resultTable, verdictTable } from "../bench/report.ts";
import { scoringWorkloads, varScoringWorkloads } from "../bench/scoring.ts";
import { verdicts } from "../bench/targets.ts";
import { cudaPrecisions, findPython, Torch } from "../bench/torch.ts";
import { trainingWorkloads } from "../bench/training.ts";
import { openDevice } from "../core/open_device.ts";
import type { Device, DeviceInfo } from "../core/tensor/mod.ts";
import { expectNoFile, writeFileAtomically } from "../util/files.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { jsonLines } from "./cli/options.ts";
import type { Progress } from "./cli/progress.ts";

export const command = defineCommand({
  name: "bench",
  about: "Measures speed and memory of the kernels and networks, at full size with synthetic weights.",
  usage: ["[options]"],
  options: { ...benchOptions, json: jsonLines("one for all results") },
  check: checkBenchOptions,
  notes:
    "Times are medians over the samples after a warm-up; a sample of a short case is the mean of many runs. GFLOP/s " +
    "count the multiplications and additions of matrix products, convolutions and visible attention pairs " +
    '(bench/flops.ts). "peak" is the device\'s memory at its highest, weights included; "rss" the process\'s memory ' +
    "after the case.",
  exitCodes: { 1: "usage or fatal error or (--assert) a missed target", 2: "some case failed" },
});

type Options = Input<typeof command.options>["values"];

const message = (error: unknown) => error instanceof Error ? error.message : String(error);

/** Without a device, all that there are by default on some device. */
function workloads(options: BenchOptions, info?: DeviceInfo): Workload[] {
  const sizes = options.quick ? quickSizes : fullSizes;
  const isGpu = info?.kind === "webgpu" && !info.software;
  const all = [
    ...kernelWorkloads(options.quick),
    ...passWorkloads(options.batches ?? [1, 4], sizes),
    ...scoringWorkloads(sizes),
    ...varScoringWorkloads(sizes, isGpu ? 16 : 1),
    ...generationWorkloads(sizes),
    ...trainingWorkloads(options.batches ?? (info === undefined ? [1, 8] : [isGpu ? 8 : 1]), sizes),
  ];
  return all.filter(({ group, names }) =>
    options.only.includes(group) && names.some((name) => name.includes(options.filter))
  );
}

async function openTorch(options: BenchOptions, progress: Progress): Promise<Torch[]> {
  const python = await findPython(options.python);
  if (options.torchDevice === "cuda") {
    const opened: Torch[] = [];
    for (const precision of cudaPrecisions) opened.push(await Torch.openCuda(python, precision));
    return opened;
  }
  const threads = options.threads ?? navigator.hardwareConcurrency;
  const opened = [await Torch.open(python, threads), await Torch.open(python, threads, "PASSIVE")];
  // The better of the two tells what the BLAS is worth: the default setting may be slow for other reasons.
  const warnings = opened.map(({ warning }) => warning);
  if (warnings.every((warning) => warning !== undefined)) progress.note(warnings[0]!);
  return opened;
}

/** Where the workloads of a device are measured, and against what. */
interface Bench {
  readonly device: Device;
  readonly ours: Ours;
  readonly rivals: readonly Contender[];
  readonly options: Options;
  readonly results: Measured[];
  readonly failures: Failure[];
  readonly progress: Progress;
}

async function runDevice(
  choice: DeviceChoice,
  options: Options,
  torches: readonly Contender[],
  progress: Progress,
): Promise<DeviceResults> {
  const device = await openDevice(choice, { threads: options.threads });
  const { kind, name, software, maxTensorBytes } = device.info;
  if (software) progress.note(`using a software adapter, ${name}`);
  const rivals = [...torches];
  if (options.compareJax) rivals.push(await JaxJs.open(kind === "cpu" ? "wasm" : "webgpu"));
  if (options.compareOnnx && kind === "cpu") {
    rivals.push(await Onnx.open(options.threads ?? navigator.hardwareConcurrency));
  }
  const ours = new Ours(device, options.quick);
  const bench: Bench = { device, ours, rivals, options, results: [], failures: [], progress };
  for (const workload of workloads(options, device.info)) {
    await runWorkload(workload, bench);
    for (const contender of [ours, ...rivals]) await contender.release();
  }
  ours.close();
  const { results, failures } = bench;
  const targets = options.quick ? [] : results.flatMap((measured) => verdicts(measured, device.info));
  if (!options.json) {
    console.log(`${kind}: ${name}`);
    console.log(resultTable(results, rivals.map(({ name }) => name), options.peakTflops));
    if (targets.length > 0) console.log(verdictTable(targets));
  }
  if (!options.quick && (kind === "cpu" || software)) noteDisturbance(results, progress, options.threads);
  return { device: { kind, name, software, maxTensorBytes }, results, failures, verdicts: targets };
}

/** Measures the wanted cases of a workload. A case that fails is noted, and the others go on. */
async function runWorkload(workload: Workload, bench: Bench): Promise<void> {
  const { device, ours, rivals, options, results, failures, progress } = bench;
  const wanted = workload.names.filter((name) => name.includes(options.filter));
  const limits = { repeat: options.repeat, maxSeconds: options.seconds, pauseMs: options.quick ? 0 : 100 };
  const fail = (names: readonly string[], error: unknown) => {
    failures.push(...names.map((name) => ({ name, error: message(error) })));
    console.error(`bench: ${names.join(", ")} failed: ${message(error)}`);
  };
  try {
    const open = await workload.open(device);
    for (const benchCase of open.cases.filter(({ name }) => wanted.includes(name))) {
      progress.line(`${device.info.kind}: ${benchCase.name}`);
      try {
        results.push(await measure(benchCase, device, ours, rivals, limits));
      } catch (error) {
        fail([benchCase.name], error);
      }
    }
    open.close();
  } catch (error) {
    fail(wanted, error);
  }
}

function noteDisturbance(
  results: readonly Measured[],
  progress: Progress,
  threads = navigator.hardwareConcurrency,
): void {
  const busy = disturbed(results, threads);
  if (busy.length === 0) return;
  progress.note(
    `${busy.length} of ${results.length} cases got fewer than ${0.8 * threads} of ${threads} processors ` +
      "(column cpus): others were using the machine, or the case is too short to share",
  );
}

async function profileAll(options: BenchOptions): Promise<void> {
  const device = await openDevice(options.devices[0], { threads: options.threads });
  const { name, kind } = device.info;
  const profiles: Profile[] = [];
  for (const workload of workloads(options, device.info)) {
    for (const found of await profile(workload, device, (name) => name.includes(options.filter))) {
      console.log(profileTables(found, options.peakTflops));
      profiles.push(found);
    }
    device.trim();
  }
  device.close();
  if (options.out === undefined) return;
  const { peakTflops } = options;
  const rated = profiles.map((found) => withRates(found, peakTflops));
  const report = { format: 1, device: { kind, name }, peakTflops, profiles: rated };
  await writeFileAtomically(options.out, JSON.stringify(report, null, 1) + "\n");
}

async function countPasses({ filter, json, out, profile }: Options): Promise<number> {
  const report = await countAll(filter, profile);
  if (report.passes.length === 0) throw new Error(`no counted pass's name contains ${filter}`);
  if (json) console.log(JSON.stringify(report));
  else {
    console.log(countTables(report));
    if (profile) { for (const pass of report.passes) console.log(callTable(pass)); }
  }
  if (out !== undefined) await writeFileAtomically(out, JSON.stringify(report, null, 1) + "\n");
  return 0;
}

async function main({ values: options, progress }: Input<typeof command.options>): Promise<number> {
  if (options.out !== undefined && !options.list) await expectNoFile("--out", options.out, options.force);
  if (options.count) return await countPasses(options);
  const chosen = workloads(options);
  if (chosen.length === 0) throw new Error(`no case's name contains ${options.filter} (see --list)`);
  if (options.list) {
    console.log(chosen.flatMap(({ names }) => names).filter((name) => name.includes(options.filter)).join("\n"));
    return 0;
  }
  if (options.profile) {
    await profileAll(options);
    return 0;
  }
  const torches = options.compareTorch ? await openTorch(options, progress) : [];
  const devices: DeviceResults[] = [];
  for (const choice of options.devices) devices.push(await runDevice(choice, options, torches, progress));
  for (const torch of torches) torch.close();
  const report = reportOf(devices, options, torches[0]?.version);
  if (options.json) console.log(JSON.stringify(report));
  if (options.out !== undefined) await writeFileAtomically(options.out, JSON.stringify(report, null, 1) + "\n");
  if (devices.some(({ failures }) => failures.length > 0)) return 2;
  const missed = devices.flatMap((device) => device.verdicts).filter(({ met }) => !met);
  return options.assert && missed.length > 0 ? 1 : 0;
}

function reportOf(devices: readonly DeviceResults[], options: Options, torch: string | undefined): Report {
  const { repeat, batches = [1, 4], quick, peakTflops, threads = navigator.hardwareConcurrency } = options;
  const system = `${Deno.build.os} ${Deno.build.arch}`;
  return {
    format: 1,
    date: new Date().toISOString(),
    versions: { deno: Deno.version.deno, v8: Deno.version.v8, ...torch !== undefined && { torch } },
    system,
    machine: options.machine ?? `${navigator.hardwareConcurrency} processors, ${system}`,
    settings: { repeat, batches, threads, quick, ...peakTflops !== undefined && { peakTflops } },
    devices,
  };
}

if (import.meta.main) await runTask(command, main);
