import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import type { BenchCase } from "../../bench/case.ts";
import { type Contender, runsPerSample } from "../../bench/contender.ts";
import { disturbed, measure, type Measured, median, ratio } from "../../bench/measure.ts";
import { formatMiB, formatSeconds, resultTable } from "../../bench/report.ts";
import { betterTorch, verdicts } from "../../bench/targets.ts";
import { findPython } from "../../bench/torch.ts";
import { openCpuDevice } from "../../core/cpu/mod.ts";
import { full, scope } from "../../core/tensor/mod.ts";

const benchCase: BenchCase = { group: "passes", name: "some pass, batch 1", batch: 1, flops: 6e9, run() {} };

/** A contender whose samples are given. */
function scripted(name: string, samples: number[], log: string[]): Contender {
  return {
    name,
    supports: () => true,
    warmUp: () => Promise.resolve(void log.push(`${name} warm-up`)),
    sample: () => Promise.resolve((log.push(name), samples.shift()!)),
    release: () => Promise.resolve(),
    close() {},
  };
}

const limits = { repeat: 3, maxSeconds: 60, pauseMs: 0 };

Deno.test("median() is the middle, or the mean of the two in the middle", () => {
  strictEqual(median([3, 1, 2]), 2);
  strictEqual(median([4, 1, 2, 3]), 2.5);
  throws(() => median([]), /at least one value/);
});

Deno.test("ratio() compares round by round", () => {
  // The second round was disturbed for both, the third for us alone.
  strictEqual(ratio([2, 20, 30], [1, 10, 1]), 2);
});

Deno.test("measure() warms everybody up and then takes samples in turns", async () => {
  const device = openCpuDevice({ threads: 1 });
  const log: string[] = [];
  const ours = scripted("cpu", [2, 4, 3], log), rival = scripted("torch", [1, 1, 1], log);
  const measured = await measure(benchCase, device, ours, [rival], limits);
  device.close();
  deepStrictEqual(log, ["cpu warm-up", "torch warm-up", "cpu", "torch", "cpu", "torch", "cpu", "torch"]);
  deepStrictEqual(measured.seconds, { median: 3, best: 2, samples: [2, 4, 3] });
  strictEqual(measured.gflops, 2);
  strictEqual(measured.imagesPerSecond, 1 / 3);
  deepStrictEqual(measured.rivals, [{ name: "torch", median: 1, best: 1, samples: [1, 1, 1], ratio: 3 }]);
  ok(measured.rssBytes > 0 && measured.rssPeakBytes > 0);
});

Deno.test("measure() reports the device's peak during the case, and none of what came before", async () => {
  const device = openCpuDevice({ threads: 1 });
  scope(() => void full(device, [1024, 1024], 0));
  const run = () => scope(() => void full(device, [1024], 0));
  const ours = scripted("cpu", [1, 1, 1], []);
  ours.sample = () => (run(), Promise.resolve(1));
  const { devicePeakBytes } = await measure({ ...benchCase, run }, device, ours, [], limits);
  device.close();
  ok(devicePeakBytes >= 4096 && devicePeakBytes < 65536, `${devicePeakBytes}`);
});

Deno.test("runsPerSample() fills the time wanted with short runs, within bounds", () => {
  strictEqual(runsPerSample(2, 0.1), 1);
  strictEqual(runsPerSample(0.03, 0.1), 4);
  strictEqual(runsPerSample(0, 0.1), 2000);
});

function result(name: string, group: Measured["group"], gflops: number, rivals: [string, number, number][]): Measured {
  return {
    ...{
      name,
      group,
      batch: 1,
      flops: 1e9,
      gflops,
      imagesPerSecond: null,
      devicePeakBytes: 2 ** 30,
      rssBytes: 1,
      rssPeakBytes: 1,
    },
    seconds: { median: 1, best: 1, samples: [1] },
    processors: 2,
    rivals: rivals.map(([name, median, ratio]) => ({ name, median, best: median, samples: [median], ratio })),
  };
}

Deno.test("betterTorch() is the faster of the two settings", () => {
  const measured = result("x", "passes", 1, [["torch", 3, 0.5], ["torch passive", 1, 1.5]]);
  strictEqual(betterTorch(measured)?.name, "torch passive");
  strictEqual(betterTorch(result("x", "passes", 1, [])), undefined);
});

const cpu = { kind: "cpu", software: false, name: "WASM SIMD (relaxed), 2 threads" } as const;

Deno.test("verdicts() holds passes against PyTorch at its better setting", () => {
  const of = (ratio: number, device: Parameters<typeof verdicts>[1] = cpu) =>
    verdicts(
      result("rarb same condition, batch 1", "passes", 90, [["torch", 3, 0.4], ["torch passive", 1, ratio]]),
      device,
    ).find(({ what }) => what === "time / torch passive")!;
  deepStrictEqual([of(1.4).met, of(1.6).met], [true, false]);
  strictEqual(of(1.4).wanted, "at most 1.5");
  const wide = { ...cpu, name: "WASM SIMD (relaxed, 256 bits), 2 threads" };
  deepStrictEqual([of(1.2, wide).met, of(1.4, wide).met], [true, false]);
});

Deno.test("verdicts() holds a hardware adapter against PyTorch's float32 on the card, not against less exact products", () => {
  const of = (name: string, device: Partial<Parameters<typeof verdicts>[1]> = {}) =>
    verdicts(result(name, "passes", 90, [["torch cuda", 1, 1.6], ["torch cuda tf32", 0.1, 16]]), {
      ...{ ...cpu, kind: "webgpu", ...device },
    }).filter(({ what }) => what.startsWith("time"))
      .map(({ what, wanted, met }) => [what, wanted, met]);
  deepStrictEqual(of("var16 same condition, batch 4"), [["time / torch cuda", "at most 1.43", false]]);
  deepStrictEqual(of("vqvae decoder, batch 4"), [["time / torch cuda", "at most 2", true]]);
  deepStrictEqual(of("vqvae decoder, batch 4", { software: true }), []);
  deepStrictEqual(of("vqvae training step, batch 8"), [["time / torch cuda", "at most 2", true]]);
  deepStrictEqual(of("vqvae training step recomputing, batch 8"), []);
});

Deno.test("resultTable() has the share of the card's peak where that is known", () => {
  const rows = resultTable([result("a", "matmul", 670, [])], [], 67).trimEnd().split("\n");
  ok(rows[0].trimEnd().endsWith("of peak"));
  ok(rows[1].trimEnd().endsWith("1.0 %"), rows[1]);
});

Deno.test("verdicts() holds training steps of one image that keep activations against PyTorch", () => {
  const of = (name: string) =>
    verdicts(result(name, "training", 90, [["torch", 3, 2.4], ["torch passive", 2, 2.6]]), cpu).map((
      { what, wanted, met },
    ) => [what, wanted, met]);
  const missed = [["time / torch passive", "at most 2.5", false]];
  deepStrictEqual(of("maskgit-vq training step, batch 1"), missed);
  deepStrictEqual(of("vqvae training step, batch 1"), missed);
  deepStrictEqual(of("vqvae training step recomputing, batch 1"), []);
  deepStrictEqual(of("vqvae training step, batch 8"), []);
});

Deno.test("verdicts() holds matrix products against GFLOP/s and jax-js, but not on a hardware adapter", () => {
  const measured = result("linear 8x8x8", "matmul", 80, [["jax-js wasm", 1, 1.2]]);
  deepStrictEqual(verdicts(measured, cpu).map(({ what, met }) => [what, met]), [
    ["GFLOP/s", true],
    ["time / jax-js wasm", false],
  ]);
  deepStrictEqual(verdicts(measured, { ...cpu, kind: "webgpu" }), []);
  strictEqual(verdicts({ ...measured, gflops: 14 }, { ...cpu, kind: "webgpu", software: true })[0].met, false);
});

Deno.test("disturbed() finds the cases that did not get their processors", () => {
  const alone = result("a", "matmul", 80, []), shared = { ...alone, name: "b", processors: 1.1 };
  deepStrictEqual(disturbed([alone, shared], 2).map(({ name }) => name), ["b"]);
});

Deno.test("formatSeconds() and formatMiB() keep three digits that count", () => {
  deepStrictEqual([1.2345, 0.01234, 0.00001234].map(formatSeconds), ["1.23 s", "12.3 ms", "12.3 us"]);
  deepStrictEqual([2 ** 20, 200.4 * 2 ** 20].map(formatMiB), ["1.0 MiB", "200 MiB"]);
});

Deno.test("resultTable() has images per second where there are images", () => {
  const kernel = result("linear", "matmul", 80, []), step = { ...kernel, name: "step", imagesPerSecond: 12.345 };
  const [head, ...rows] = resultTable([kernel, step], []).trimEnd().split("\n");
  const column = head.indexOf("images/s");
  ok(column > 0);
  deepStrictEqual(rows.map((row) => row.slice(column, column + 8).trim()), ["", "12.3"]);
});

Deno.test("resultTable() has a column pair per rival, empty where it did not take part", () => {
  const rows = resultTable([result("a", "matmul", 80, []), result("b", "matmul", 80, [["r", 0.5, 2]])], ["r"]).split(
    "\n",
  );
  ok(rows[0].trimEnd().endsWith("ratio"));
  ok(!rows[1].includes("2.00x"));
  ok(rows[2].endsWith("500 ms  2.00x"));
});

Deno.test("findPython() says what to install when no Python has torch", async () => {
  await rejects(findPython("no-such-python"), {
    message: /expects a Python with torch, found none \(tried no-such-python\)\. .*apt-get install python3-torch/,
  });
});
