import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { benchOptions, checkBenchOptions } from "../../bench/options.ts";
import { fromArguments, splitArguments } from "../../util/arguments.ts";
import { readValues } from "../../util/options.ts";

const parseOptions = (args: readonly string[]) =>
  readValues(benchOptions, fromArguments(splitArguments(args, benchOptions)), checkBenchOptions);

Deno.test("parseOptions() measures everything on the CPU by default", () => {
  const options = parseOptions([]);
  deepStrictEqual(options.devices, ["cpu"]);
  deepStrictEqual(options.only, ["matmul", "conv", "attention", "passes", "scoring", "generation", "training"]);
  strictEqual(options.batches, undefined);
  deepStrictEqual([options.repeat, options.seconds, options.threads, options.out], [5, 60, undefined, undefined]);
});

Deno.test("parseOptions() takes lists, and each item once", () => {
  const options = parseOptions(["--device", "cpu,webgpu", "--only", "conv, matmul,conv", "--batch", "2,8"]);
  deepStrictEqual(options.devices, ["cpu", "webgpu"]);
  deepStrictEqual(options.only, ["conv", "matmul"]);
  deepStrictEqual(options.batches, [2, 8]);
});

Deno.test("parseOptions() refuses what it does not know, saying what it expects", () => {
  throws(() => parseOptions(["--device", "gpu"]), {
    message: "--device: expected cpu, webgpu or auto, got gpu",
  });
  throws(() => parseOptions(["--only", "matmul,"]), {
    message: "--only: expected matmul, conv, attention, passes, scoring, generation or training, got nothing",
  });
  throws(() => parseOptions(["--repeat", "0"]), { message: "--repeat: expected a whole number, 1 or more, got 0" });
  throws(() => parseOptions(["--batch", "1,x"]), { message: "--batch: expected a whole number, 1 or more, got x" });
  throws(() => parseOptions(["--threads", "1.5"]), {
    message: "--threads: expected a whole number, 1 or more, got 1.5",
  });
  throws(() => parseOptions(["--fast"]), /--fast/);
});

Deno.test("parseOptions() refuses combinations that would mislead", () => {
  throws(() => parseOptions(["--quick", "--compare-torch"]), /full size; leave --quick out/);
  throws(() => parseOptions(["--torch-device", "cuda"]), /where --compare-torch computes/);
  throws(() => parseOptions(["--peak-tflops", "0"]), /--peak-tflops: expected a number above 0, got 0/);
  const { torchDevice, peakTflops } = parseOptions("--compare-torch --torch-device cuda --peak-tflops 67".split(" "));
  deepStrictEqual([torchDevice, peakTflops], ["cuda", 67]);
  throws(() => parseOptions(["--profile", "--device", "cpu,webgpu"]), /--profile expects one --device/);
  strictEqual(parseOptions(["--profile"]).profile, true);
});
