import assert from "node:assert/strict";
import type { Workload } from "../../bench/case.ts";
import { type Profile, profile, profileTables, withRates } from "../../bench/profile.ts";
import { fromArray, matmul, relu, scope } from "../../core/tensor/mod.ts";
import { defaultTargets } from "../core/devices.ts";

/** A product and an activation of 64 x 64, by turns of their sizes. */
const workload: Workload = {
  group: "matmul",
  names: ["small"],
  open: (device) => {
    const x = fromArray(device, new Float32Array(64 * 64).fill(0.5), [64, 64]);
    const run = () => scope(() => void relu(matmul(x, x)));
    return Promise.resolve({
      cases: [{ group: "matmul", name: "small", batch: 1, flops: 2 * 64 ** 3, run }],
      weightBytes: 0,
      close: () => x.dispose(),
    });
  },
};

for (const target of defaultTargets) {
  Deno.test(`profile() times every kernel of a pass [${target.label}]`, async () => {
    const device = target.device();
    const [found] = await profile(workload, device, () => true);
    assert.deepEqual(found.byKernel.map(({ call, calls }) => [call, calls]).sort(), [["matmul", 1], ["unary", 1]]);
    const product = found.byShape.find(({ call }) => call.startsWith("matmul m=64 n=64 k=64"))!;
    assert.equal(product.flops, 2 * 64 ** 3);
    const inKernels = found.byKernel.reduce((sum, { seconds }) => sum + seconds, 0);
    assert.ok(product.seconds > 0 && inKernels <= found.seconds, `${inKernels} of ${found.seconds}`);
    if (device.info.kind === "webgpu") {
      assert.equal((device as unknown as { recorder: { timestamps: unknown } }).recorder.timestamps, undefined);
    }
  });
}

Deno.test("profileTables() has rates, and shares of a peak", () => {
  const time = { call: "matmul", calls: 2, seconds: 0.5, flops: 1e12, bytes: 1e9 };
  const found: Profile = { name: "pass", seconds: 1, byKernel: [time], byShape: [time] };
  const text = profileTables(found, 10);
  assert.match(text, /matmul +2 +500\.0 +50\.0 +2000\.0 +2\.0 +20\.0 %/);
  assert.match(text, /\(outside kernels\) +500\.0/);
});

Deno.test("withRates() has rates of every kernel, and shares of a peak", () => {
  const time = { call: "matmul", calls: 2, seconds: 0.5, flops: 1e12, bytes: 1e9 };
  const found: Profile = { name: "pass", seconds: 1, byKernel: [time], byShape: [{ ...time, seconds: 0 }] };
  const { byKernel, byShape, ...rest } = withRates(found, 10);
  assert.deepEqual(rest, { name: "pass", seconds: 1 });
  assert.deepEqual(byKernel, [{ ...time, tflops: 2, gigabytesPerSecond: 2, ofPeak: 0.2 }]);
  assert.deepEqual([byShape[0].tflops, byShape[0].ofPeak], [0, 0]);
  assert.equal(withRates(found).byKernel[0].ofPeak, undefined);
});
