/** The options of `deno task bench`, their values, and which of them go together. */
import { type Check, choice, defineOptions, listOf, type Values, type ValueType, whole } from "../util/options.ts";
import { groups } from "./case.ts";

/** A list in which each item counts once. */
function setOf<T>(type: ValueType<T>): ValueType<readonly T[]> {
  const { words, parse } = listOf(type);
  return { words, parse: (text) => [...new Set(parse(text))] };
}

const aboveZero: ValueType<number> = {
  parse(text) {
    const value = Number(text);
    if (value > 0 && value < Infinity) return value;
    throw new Error(`expected a number above 0, got ${text}`);
  },
};

export const benchOptions = defineOptions({
  devices: {
    name: "device",
    value: "LIST",
    type: setOf(choice(["cpu", "webgpu", "auto"])),
    default: "cpu",
    help: "one or several, with commas",
  },
  threads: { value: "N", type: whole(1), help: "threads of the processor, also of PyTorch", unset: "all" },
  only: { value: "LIST", type: setOf(choice(groups)), default: groups.join(","), help: "kinds of cases" },
  filter: { value: "TEXT", default: "", help: "only cases whose name contains TEXT" },
  batches: {
    name: "batch",
    value: "LIST",
    type: listOf(whole(1)),
    help: "batch sizes of passes and training steps",
    unset: "1,4 of passes, and 8 of training steps on a GPU, else 1",
  },
  repeat: { value: "N", type: whole(1), default: "5", help: "samples per case" },
  seconds: { value: "N", type: whole(1), default: "60", help: "no further samples of a case after N seconds" },
  compareTorch: { help: "PyTorch in turns with us: on the CPU by default and with OMP_WAIT_POLICY=PASSIVE" },
  torchDevice: {
    value: "NAME",
    type: choice(["cpu", "cuda"]),
    default: "cpu",
    help: "where PyTorch computes; cuda: float32, and TF32 and bf16 as extra columns",
  },
  peakTflops: {
    value: "N",
    type: aboveZero,
    help: "the card's float32 peak by its data sheet: adds the share of it that we reach",
  },
  python: { value: "FILE", help: "a Python with torch", unset: "$PYTHON, python3, /usr/bin/python3" },
  compareJax: { help: "matrix products of npm's @jax-js/jax in turns with us (fetches it)" },
  compareOnnx: {
    help: "products and convolutions of npm's onnxruntime-node in turns with us, on the CPU (fetches it)",
  },
  assert: { help: "exit code 1 when a target is missed" },
  count: {
    help: "counts of the WebGPU device on an imagined card instead of the benchmark: no adapter is needed; " +
      "with --profile also by call",
  },
  profile: { help: "time by kernel and shape instead of the benchmark; on WebGPU by timestamp queries" },
  quick: { help: "tiny sizes, to see that everything runs; the figures mean nothing" },
  list: { help: "the names of the cases, without running them" },
  out: { value: "FILE", help: "also write the results to FILE as JSON" },
  force: { help: "replace a file at --out" },
  machine: { value: "TEXT", help: "description of the machine in the results" },
});

export type BenchOptions = Values<typeof benchOptions>;
export type DeviceChoice = BenchOptions["devices"][number];

/** Combinations that would mislead. */
export const checkBenchOptions: Check<typeof benchOptions> = (values) => {
  const { quick, compareTorch, compareJax, compareOnnx, torchDevice, profile, devices, count } = values;
  return [
    ...quick && compareTorch ? ["--compare-torch compares at full size; leave --quick out"] : [],
    ...torchDevice === "cuda" && !compareTorch
      ? ["--torch-device says where --compare-torch computes, which is not given"]
      : [],
    ...count && (quick || compareTorch || compareJax || compareOnnx)
      ? ["--count counts passes at full size without a device; leave --quick and all of --compare-* out"]
      : [],
    ...profile && devices.length > 1 ? [`--profile expects one --device, got ${devices.join(",")}`] : [],
  ];
};
