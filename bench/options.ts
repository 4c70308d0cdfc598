/** The arguments of `deno task bench`: parsed, checked, and nothing else. */
import { parseArgs } from "node:util";
import { type Group, groups } from "./case.ts";

export const usage = `Measures speed and memory of the kernels and networks, at full size with synthetic weights.

usage: deno task bench [options]

  --device cpu|webgpu|auto  device, or several separated by commas (default cpu)
  --only LIST               of ${groups.join(", ")} (default all)
  --filter TEXT             only cases whose name contains TEXT
  --batch LIST              batch sizes of passes (default 1,4) and training steps (default 8 on a GPU, else 1)
  --repeat N                samples per case (default 5)
  --seconds N               no further samples of a case after N seconds (default 60)
  --threads N               CPU threads, also of PyTorch (default all processors)
  --compare-torch           PyTorch in turns with us: on the CPU by default and with OMP_WAIT_POLICY=PASSIVE
  --torch-device cpu|cuda   where PyTorch computes (default cpu); cuda: float32, and TF32 and bf16 as extra columns
  --peak-tflops N           the card's float32 peak by its data sheet: adds the share of it that we reach
  --python FILE             a Python with torch (default $PYTHON, python3, /usr/bin/python3)
  --compare-jax             matrix products of npm's @jax-js/jax in turns with us (fetches it)
  --assert                  exit code 1 when a target is missed
  --profile                 time by kernel and shape instead of the benchmark (CPU device)
  --quick                   tiny sizes, to see that everything runs; the figures mean nothing
  --list                    the names of the cases, without running them
  --json FILE               also writes the results as JSON
  --machine TEXT            description of the machine for the JSON
  --help                    this text

Times are medians over the samples after a warm-up; a sample of a short case is the mean of many runs. GFLOP/s count the
multiplications and additions of matrix products, convolutions and visible attention pairs (bench/flops.ts). "peak" is
the device's memory at its highest, weights included; "rss" the process's memory after the case.
Exit code 0 when everything ran, 1 on errors of usage, 2 when some case failed.`;

export type DeviceChoice = "cpu" | "webgpu" | "auto";

export interface BenchOptions {
  readonly devices: readonly DeviceChoice[];
  readonly only: readonly Group[];
  readonly filter: string;
  readonly batches: readonly number[];
  /** Where not given, it depends on the device: `trainingBatches`. */
  readonly trainingBatches: readonly number[] | undefined;
  readonly repeat: number;
  readonly seconds: number;
  readonly threads: number | undefined;
  readonly compareTorch: boolean;
  readonly torchDevice: "cpu" | "cuda";
  /** Float32 peak of the device in TFLOP/s, where the user says it. */
  readonly peakTflops: number | undefined;
  readonly python: string | undefined;
  readonly compareJax: boolean;
  readonly assert: boolean;
  readonly profile: boolean;
  readonly quick: boolean;
  readonly list: boolean;
  readonly json: string | undefined;
  readonly machine: string | undefined;
  readonly help: boolean;
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1) throw new Error(`bench: --${name} expects a positive integer, got ${text}`);
  return value;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new Error(`bench: --${name} expects a number above 0, got ${text}`);
  return value;
}

function choices<T extends string>(name: string, text: string, allowed: readonly T[]): T[] {
  return [...new Set(text.split(",").map((part) => part.trim()))].map((part) => {
    const found = allowed.find((item) => item === part);
    if (found === undefined) {
      throw new Error(`bench: --${name} expects ${allowed.join(", ")}, got ${part || "nothing"}`);
    }
    return found;
  });
}

/** Throws an error that names the option, what it expects and what came. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      device: { type: "string", default: "cpu" },
      only: { type: "string", default: groups.join(",") },
      filter: { type: "string", default: "" },
      batch: { type: "string" },
      repeat: { type: "string", default: "5" },
      seconds: { type: "string", default: "60" },
      threads: { type: "string" },
      "compare-torch": { type: "boolean", default: false },
      "torch-device": { type: "string", default: "cpu" },
      "peak-tflops": { type: "string" },
      python: { type: "string" },
      "compare-jax": { type: "boolean", default: false },
      assert: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      json: { type: "string" },
      machine: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const { quick, profile, assert, list, json, machine, python, help } = values;
  const batches = values.batch?.split(",").map((part) => count("batch", part.trim()));
  const options: BenchOptions = {
    devices: choices("device", values.device, ["cpu", "webgpu", "auto"]),
    only: choices("only", values.only, groups),
    filter: values.filter,
    batches: batches ?? [1, 4],
    trainingBatches: batches,
    repeat: count("repeat", values.repeat),
    seconds: count("seconds", values.seconds),
    threads: values.threads === undefined ? undefined : count("threads", values.threads),
    compareTorch: values["compare-torch"],
    torchDevice: choices("torch-device", values["torch-device"], ["cpu", "cuda"])[0],
    peakTflops: values["peak-tflops"] === undefined ? undefined : positive("peak-tflops", values["peak-tflops"]),
    compareJax: values["compare-jax"],
    ...{ quick, profile, assert, list, json, machine, python, help },
  };
  if (quick && options.compareTorch) {
    throw new Error("bench: --compare-torch compares at full size; leave --quick out");
  }
  if (options.torchDevice === "cuda" && !options.compareTorch) {
    throw new Error("bench: --torch-device says where --compare-torch computes, which is not given");
  }
  if (profile && options.devices.some((device) => device !== "cpu")) {
    throw new Error(
      `bench: --profile expects --device cpu, whose kernels run at once, got ${options.devices.join(",")}`,
    );
  }
  return options;
}
