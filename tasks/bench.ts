/** `deno task bench`: speed and memory of kernels and whole passes, alone or in turns with PyTorch and jax-js. */
import type { Workload } from "../bench/case.ts";
import { type Contender, Ours } from "../bench/contender.ts";
import { JaxJs } from "../bench/jax.ts";
import { kernelWorkloads } from "../bench/kernels.ts";
import { disturbed, measure, type Measured } from "../bench/measure.ts";
import { type BenchOptions, type DeviceChoice, parseOptions, usage } from "../bench/options.ts";
import { fullSizes, passWorkloads, quickSizes } from "../bench/passes.ts";
import { profile } from "../bench/profile.ts";
import { type DeviceResults, type Failure, type Report, resultTable, verdictTable } from "../bench/report.ts";
import { scoringWorkloads } from "../bench/scoring.ts";
import { verdicts } from "../bench/targets.ts";
import { cudaPrecisions, findPython, Torch } from "../bench/torch.ts";
import { trainingWorkloads } from "../bench/training.ts";
import { openDevice } from "../core/open_device.ts";
import type { DeviceInfo } from "../core/tensor/mod.ts";

const message = (error: unknown) => error instanceof Error ? error.message : String(error);

/** Without a device, all that there are by default on some device. */
function workloads(options: BenchOptions, info?: DeviceInfo): Workload[] {
  const sizes = options.quick ? quickSizes : fullSizes;
  const isGpu = info?.kind === "webgpu" && !info.software;
  const all = [
    ...kernelWorkloads(options.quick),
    ...passWorkloads(options.batches, sizes),
    ...scoringWorkloads(sizes),
    ...trainingWorkloads(options.trainingBatches ?? (info === undefined ? [1, 8] : [isGpu ? 8 : 1]), sizes),
  ];
  return all.filter(({ group, names }) =>
    options.only.includes(group) && names.some((name) => name.includes(options.filter))
  );
}

async function openTorch(options: BenchOptions): Promise<Torch[]> {
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
  if (warnings.every((warning) => warning !== undefined)) console.error(`bench: ${warnings[0]}`);
  return opened;
}

async function runDevice(choice: DeviceChoice, options: BenchOptions, rivals: readonly Contender[]) {
  const device = await openDevice(choice, { threads: options.threads });
  if (device.info.software) console.error(`bench: using a software adapter, ${device.info.name}`);
  const own = [...rivals];
  if (options.compareJax) own.push(await JaxJs.open(device.info.kind === "cpu" ? "wasm" : "webgpu"));
  const ours = new Ours(device, options.quick);
  const results: Measured[] = [];
  const failures: Failure[] = [];
  const limits = { repeat: options.repeat, maxSeconds: options.seconds, pauseMs: options.quick ? 0 : 100 };
  for (const workload of workloads(options, device.info)) {
    const wanted = workload.names.filter((name) => name.includes(options.filter));
    try {
      const open = await workload.open(device);
      for (const benchCase of open.cases.filter(({ name }) => wanted.includes(name))) {
        console.error(`${device.info.kind}: ${benchCase.name}`);
        try {
          results.push(await measure(benchCase, device, ours, own, limits));
        } catch (error) {
          failures.push({ name: benchCase.name, error: message(error) });
          console.error(`bench: ${benchCase.name} failed: ${message(error)}`);
        }
      }
      open.close();
    } catch (error) {
      failures.push(...wanted.map((name) => ({ name, error: message(error) })));
      console.error(`bench: ${wanted.join(", ")} failed: ${message(error)}`);
    }
    for (const contender of [ours, ...own]) await contender.release();
  }
  const { kind, name, software, maxTensorBytes } = device.info;
  ours.close();
  const found = options.quick ? [] : results.flatMap((measured) => verdicts(measured, device.info));
  console.log(`${kind}: ${name}`);
  console.log(resultTable(results, own.map(({ name }) => name), options.peakTflops));
  if (found.length > 0) console.log(verdictTable(found));
  const threads = options.threads ?? navigator.hardwareConcurrency;
  const busy = kind === "cpu" || software ? disturbed(results, threads) : [];
  if (busy.length > 0 && !options.quick) {
    console.error(
      `bench: ${busy.length} of ${results.length} cases got fewer than ${0.8 * threads} of ${threads} processors ` +
        "(column cpus): others were using the machine, or the case is too short to share",
    );
  }
  return { device: { kind, name, software, maxTensorBytes }, results, failures, verdicts: found };
}

async function profileAll(options: BenchOptions): Promise<void> {
  const device = await openDevice("cpu", { threads: options.threads });
  for (const workload of workloads(options, device.info)) {
    for (const text of await profile(workload, device, (name) => name.includes(options.filter))) console.log(text);
    device.trim();
  }
  device.close();
}

/** Writes under a temporary name and renames, so that an interrupted run leaves no half file. */
async function writeJson(file: string, report: Report): Promise<void> {
  const temporary = `${file}.part`;
  await Deno.writeTextFile(temporary, JSON.stringify(report, null, 1) + "\n");
  await Deno.rename(temporary, file);
}

async function main(): Promise<number> {
  const options = parseOptions(Deno.args);
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const chosen = workloads(options);
  if (chosen.length === 0) throw new Error(`bench: no case's name contains ${options.filter} (see --list)`);
  if (options.list) {
    console.log(chosen.flatMap(({ names }) => names).filter((name) => name.includes(options.filter)).join("\n"));
    return 0;
  }
  if (options.profile) {
    await profileAll(options);
    return 0;
  }
  const torches = options.compareTorch ? await openTorch(options) : [];
  const devices: DeviceResults[] = [];
  for (const choice of options.devices) devices.push(await runDevice(choice, options, torches));
  const versions: Record<string, string> = { deno: Deno.version.deno, v8: Deno.version.v8 };
  if (torches.length > 0) versions.torch = torches[0].version;
  for (const torch of torches) torch.close();
  const { repeat, batches, quick, peakTflops, threads = navigator.hardwareConcurrency } = options;
  const system = `${Deno.build.os} ${Deno.build.arch}`;
  if (options.json) {
    await writeJson(options.json, {
      format: 1,
      date: new Date().toISOString(),
      versions,
      system,
      machine: options.machine ?? `${navigator.hardwareConcurrency} processors, ${system}`,
      settings: { repeat, batches, threads, quick, ...peakTflops !== undefined && { peakTflops } },
      devices,
    });
  }
  if (devices.some(({ failures }) => failures.length > 0)) return 2;
  const missed = devices.flatMap((device) => device.verdicts).filter(({ met }) => !met);
  return options.assert && missed.length > 0 ? 1 : 0;
}

try {
  Deno.exit(await main());
} catch (error) {
  console.error(message(error));
  Deno.exit(1);
}
