import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { parseOptions } from "../../bench/options.ts";

Deno.test("parseOptions() measures everything on the CPU by default", () => {
  const options = parseOptions([]);
  deepStrictEqual(options.devices, ["cpu"]);
  deepStrictEqual(options.only, ["matmul", "conv", "attention", "passes", "scoring", "training"]);
  deepStrictEqual([options.batches, options.trainingBatches], [[1, 4], undefined]);
  deepStrictEqual([options.repeat, options.seconds, options.threads, options.json], [5, 60, undefined, undefined]);
});

Deno.test("parseOptions() takes lists, and each item once", () => {
  const options = parseOptions(["--device", "cpu,webgpu", "--only", "conv, matmul,conv", "--batch", "2,8"]);
  deepStrictEqual(options.devices, ["cpu", "webgpu"]);
  deepStrictEqual(options.only, ["conv", "matmul"]);
  deepStrictEqual([options.batches, options.trainingBatches], [[2, 8], [2, 8]]);
});

Deno.test("parseOptions() refuses what it does not know, saying what it expects", () => {
  throws(() => parseOptions(["--device", "gpu"]), {
    message: "bench: --device expects cpu, webgpu, auto, got gpu",
  });
  throws(() => parseOptions(["--only", "matmul,"]), {
    message: "bench: --only expects matmul, conv, attention, passes, scoring, training, got nothing",
  });
  throws(() => parseOptions(["--repeat", "0"]), { message: "bench: --repeat expects a positive integer, got 0" });
  throws(() => parseOptions(["--batch", "1,x"]), { message: "bench: --batch expects a positive integer, got x" });
  throws(() => parseOptions(["--threads", "1.5"]), { message: "bench: --threads expects a positive integer, got 1.5" });
  throws(() => parseOptions(["--fast"]), /--fast/);
  throws(() => parseOptions(["matmul"]), /matmul/);
});

Deno.test("parseOptions() refuses combinations that would mislead", () => {
  throws(() => parseOptions(["--quick", "--compare-torch"]), /full size; leave --quick out/);
  throws(() => parseOptions(["--torch-device", "cuda"]), /where --compare-torch computes/);
  throws(() => parseOptions(["--peak-tflops", "0"]), /--peak-tflops expects a number above 0, got 0/);
  const { torchDevice, peakTflops } = parseOptions("--compare-torch --torch-device cuda --peak-tflops 67".split(" "));
  deepStrictEqual([torchDevice, peakTflops], ["cuda", 67]);
  throws(() => parseOptions(["--profile", "--device", "webgpu"]), /--profile expects --device cpu/);
  strictEqual(parseOptions(["--profile"]).profile, true);
});
