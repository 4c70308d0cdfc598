import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { OpenWorkload, Workload } from "../../bench/case.ts";
import { llamagenWorkloads } from "../../bench/count/cases.ts";
import { attentionFlops, blockVisible, causal, convFlops, matmulFlops, rarFlops } from "../../bench/flops.ts";
import { kernelShape, watch } from "../../bench/kernel_work.ts";
import { kernelWork } from "../../core/tensor/work.ts";
import { kernelWorkloads } from "../../bench/kernels.ts";
import { fullSizes, passWorkloads, quickSizes } from "../../bench/passes.ts";
import { scoringWorkloads } from "../../bench/scoring.ts";
import { trainingWorkloads } from "../../bench/training.ts";
import { llamagen } from "../../models/llamagen/family.ts";
import type { Device, KernelName, Storage } from "../../core/tensor/mod.ts";

/** At 32x32 pixels most of what gradients of weights multiply is padding. */
const largerImages = {
  rarTokenizer: { ...quickSizes.rarTokenizer, resolution: 256 },
  vqvae: { ...quickSizes.vqvae, patchNums: [1, 2, 16], resolution: 256 },
};

/** A device that computes nothing. */
function idleDevice(): Device {
  return {
    info: { kind: "cpu", name: "idle", software: false, maxTensorBytes: 2 ** 32 },
    alloc: (bytes) => ({ bytes }),
    free() {},
    write() {},
    read: (_, bytes) => Promise.resolve(new ArrayBuffer(bytes)),
    run() {},
    packedBytes: (_, shape) => 4 * shape.reduce((a, b) => a * b, 1),
    sync: () => Promise.resolve(),
    memory: () => ({ liveBytes: 0, pooledBytes: 0, peakBytes: 0, liveCount: 0 }),
    resetPeak() {},
    limitMemory() {},
    trim() {},
    close() {},
  };
}

/** FLOPs of every case of a workload as counted from its kernel calls, beside those by formula. */
async function counted(workload: Workload): Promise<{ name: string; formula: number; calls: number }[]> {
  let flops = 0;
  const device = watch(idleDevice(), (call) => flops += call.flops);
  const open: OpenWorkload = await workload.open(device);
  const results = open.cases.map((benchCase) => {
    flops = 0;
    benchCase.run();
    return { name: benchCase.name, formula: benchCase.flops, calls: flops };
  });
  open.close();
  return results;
}

Deno.test("matmulFlops(), convFlops() and attentionFlops() count two operations per multiply-add", () => {
  strictEqual(matmulFlops(2, 3, 5), 60);
  strictEqual(convFlops(4, 4, 3, 8, 3), 2 * 16 * 8 * 27);
  // Scores and values of 3 visible pairs, 2 heads of width 5.
  strictEqual(attentionFlops(2, 5, [1, 2]), 2 * (2 * 3 * 2 * 5));
});

Deno.test("blockVisible() and causal() list the visible keys of every row", () => {
  deepStrictEqual(blockVisible([1, 3, 2]), [1, 4, 4, 4, 6, 6]);
  deepStrictEqual(causal(4), [1, 2, 3, 4]);
});

Deno.test("rarFlops() of RAR-B is what the paper's sizes give by hand", () => {
  const { condition, image } = rarFlops(fullSizes.rar);
  // 24 blocks of 12 d^2 weights over 258 rows, the head over 257, and 258 * 259 / 2 visible pairs per head and block.
  strictEqual(image, 2 * 258 * 24 * 12 * 768 ** 2 + 2 * 257 * 1024 * 768 + 24 * 4 * 768 * (258 * 259 / 2));
  strictEqual(condition, 2 * 258 * 768 * (24 * 6 + 2) * 768);
});

for (
  const workload of [
    // LlamaGen's transformer has a test of its own, below.
    ...passWorkloads([1, 3], quickSizes).filter(({ names }) => !names[0].startsWith("llamagenb")),
    ...scoringWorkloads(quickSizes, 2),
    ...kernelWorkloads(true),
    llamagenWorkloads()[0],
  ]
) {
  Deno.test(`flops of ${workload.names[0]} are those of the kernels it runs`, async () => {
    const cases = await counted(workload);
    deepStrictEqual(cases.map(({ name }) => name), workload.names);
    for (const { name, formula, calls } of cases) {
      ok(formula > 0, name);
      strictEqual(calls, formula, name);
    }
  });
}

Deno.test("flops of LlamaGen's passes are those of the kernels it runs but for rotations, which are products here", async () => {
  const { layers, width, heads, tokenCount } = llamagen.officialVariants[0].config;
  const rotations = 2 * layers * matmulFlops(tokenCount * heads, width / heads, width / heads);
  const [condition, ...passes] = await counted(llamagenWorkloads()[1]);
  deepStrictEqual([condition.formula, condition.calls], [0, 0]);
  for (const { name, formula, calls } of passes) strictEqual(calls, formula + 8 * rotations, name);
});

for (const workload of trainingWorkloads([2], { ...quickSizes, ...largerImages })) {
  // Kernels for gradients may compute more than the formula has: products with what padding added, scores once more.
  // Recomputing does the encoder's forward pass, a third of the step, twice.
  const most = workload.names[0].includes("recomputing") ? 1.6 : 1.25;
  Deno.test(`flops of ${workload.names[0]} are at most those of the kernels it runs`, async () => {
    const [{ formula, calls }, ...others] = await counted(workload);
    deepStrictEqual(others, []);
    ok(calls >= formula && calls < most * formula, `${calls} of kernels, ${formula} by formula`);
  });
}

Deno.test("kernelWork() counts each operand of a matrix product once", () => {
  const storage: Storage = { bytes: 0 };
  const common = { a: storage, b: storage, out: storage, batch: 1, transA: false, transB: false, packed: true };
  const args = {
    ...common,
    ...{ m: 4, n: 5, k: 6, aBatchStride: 0, bBatchStride: 0 },
    bType: "f16",
    epilogue: { activation: "gelu", bias: storage, residual: storage },
  } as const;
  deepStrictEqual(kernelWork("matmul", args), { flops: 240, bytes: 4 * (24 + 15 + 20 + 5 + 20) });
  strictEqual(kernelShape("matmul", args), "m=4 n=5 k=6 gelu residual");
});

Deno.test("watch() reports every call and passes it on", () => {
  const ran: KernelName[] = [];
  const device = idleDevice();
  device.run = (kernel) => void ran.push(kernel);
  const seen: string[] = [];
  const watched = watch(device, ({ kernel, shape, bytes }) => seen.push(`${kernel} ${shape} ${bytes}`));
  watched.run("fill", { out: watched.alloc(16), n: 4, value: 0, dtype: "f32" });
  deepStrictEqual(ran, ["fill"]);
  deepStrictEqual(seen, ["fill n=4 16"]);
});
