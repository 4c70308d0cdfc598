/** What a card gives: sizes found by allocating, the card that was asked for, and why none is seen. */
import assert from "node:assert/strict";
import { type Card, cards } from "../../../bench/stub/cards.ts";
import { StubGpu } from "../../../bench/stub/gpu.ts";
import { openAdapter } from "../../../core/wgsl/adapter.ts";
import { WebGpuDevice } from "../../../core/wgsl/device.ts";
import { hiddenCard } from "../../../core/wgsl/driver.ts";
import { availableBytes, largestAllocation } from "../../../core/wgsl/probe.ts";
import { DeviceError } from "../../../util/errors.ts";

const MIB = 2 ** 20, GIB = 2 ** 30;

/** Runs `body` where WebGPU offers these cards: the first for high performance, the last for low power. */
async function withCards<T>(offered: readonly Card[], body: (stubs: readonly StubGpu[]) => Promise<T>): Promise<T> {
  const stubs = offered.map((card) => new StubGpu({ card }));
  const adapter = ({ gpu, card }: StubGpu) => ({
    info: { description: card.name, vendor: "", architecture: "", device: "", isFallbackAdapter: card.software },
    limits: card.limits,
    features: new Set<string>(),
    requestDevice: () => Promise.resolve(gpu),
  });
  const requestAdapter = ({ powerPreference, forceFallbackAdapter }: GPURequestAdapterOptions) => {
    if (forceFallbackAdapter) return Promise.resolve(null);
    const stub = stubs.at(powerPreference === "low-power" ? -1 : 0);
    return Promise.resolve(stub ? adapter(stub) : null);
  };
  const own = Object.getOwnPropertyDescriptor(navigator, "gpu");
  Object.defineProperty(navigator, "gpu", { value: { requestAdapter }, configurable: true });
  try {
    return await body(stubs);
  } finally {
    if (own) Object.defineProperty(navigator, "gpu", own);
    else Reflect.deleteProperty(navigator, "gpu");
  }
}

Deno.test("largestAllocation() is what limits say where it can be had, found by one allocation", async () => {
  const { gpu, counts } = new StubGpu({ card: cards.h200 });
  assert.equal(await largestAllocation(gpu, 2 ** 31 - 1), 2 ** 31 - 256);
  assert.deepEqual([counts.made, counts.destroyed], [1, 1]);
});

Deno.test("largestAllocation() comes within 16 MiB of what a driver refuses", async () => {
  for (const most of [1, 17 * MIB, 214 * MIB, 246 * MIB, GIB + 1, 2 ** 31 - 257]) {
    const { gpu, counts } = new StubGpu({ card: { ...cards.smallBar, maxAllocationBytes: most } });
    const found = await largestAllocation(gpu, 2 ** 31 - 1);
    assert.ok(found <= most && found > most - 16 * MIB && found % 256 === 0, `${found} of ${most}`);
    assert.ok(counts.made <= 9);
    assert.equal(counts.destroyed, counts.made);
  }
});

Deno.test("availableBytes() is what is free, in whole blocks, and gives it back", async () => {
  const stub = new StubGpu({ card: cards.l4 });
  assert.equal(await availableBytes(stub.gpu, GIB, 100 * GIB), 24 * GIB);
  assert.equal(await availableBytes(stub.gpu, GIB, 10.5 * GIB), 10.5 * GIB);
  assert.equal(stub.aliveBytes, 0);
});

Deno.test("a card with a small window takes only tensors that it gives, and says so", async () => {
  await withCards([cards.smallBar], async ([stub]) => {
    const adapter = await openAdapter({});
    const device = new WebGpuDevice(adapter, {});
    const { maxTensorBytes } = device.info;
    assert.ok(maxTensorBytes <= 214 * MIB && maxTensorBytes > 198 * MIB);
    assert.throws(() => device.alloc(268 * MIB), {
      name: "RangeError",
      message:
        /^webgpu alloc: .* \(268\.0 MiB\) are more than one tensor may have here \(\d+\.\d MiB: .* smaller batch/,
    });
    device.alloc(maxTensorBytes);
    await device.sync();
    assert.equal(stub.counts.made - stub.counts.destroyed, 3); // the tensor and two small buffers of the device's own
  });
});

Deno.test("a card that gives no memory is refused", async () => {
  await withCards([{ ...cards.l4, memoryBytes: MIB }], async () => {
    await assert.rejects(openAdapter({}), { name: "DeviceError", message: /NVIDIA L4 gives no memory/ });
  });
});

Deno.test("a card is chosen by part of its name, and others are named when it is not there", async () => {
  await withCards([cards.h200, cards.l4], async () => {
    assert.equal((await openAdapter({})).name, "NVIDIA H200");
    assert.equal((await openAdapter({ card: "l4" })).name, "NVIDIA L4");
    assert.equal((await openAdapter({ powerPreference: "low-power" })).name, "NVIDIA L4");
    Deno.env.set("MODEL_TRACER_CARD", "A100");
    try {
      await assert.rejects(openAdapter({}), (error: Error) => {
        assert.ok(error instanceof DeviceError);
        assert.match(error.message, /"A100" in its name \(MODEL_TRACER_CARD\), found NVIDIA H200 and NVIDIA L4/);
        return true;
      });
      assert.equal((await openAdapter({ card: "H200" })).name, "NVIDIA H200");
    } finally {
      Deno.env.delete("MODEL_TRACER_CARD");
    }
  });
});

if (Deno.build.os === "linux") {
  Deno.test("hiddenCard() says what NVIDIA's driver lacks for Vulkan, and nothing where there is no such driver", () => {
    const found = (...files: string[]) => hiddenCard((path) => files.some((file) => path.endsWith(`/${file}`)));
    assert.equal(found(), undefined);
    assert.match(
      found("libcuda.so.1", "libvulkan.so.1")!,
      /libGLX_nvidia\.so\.0 and nvidia_icd\.json are missing .*NVIDIA_DRIVER_CAPABILITIES=all/,
    );
    assert.match(found("libcuda.so.1", "libGLX_nvidia.so.0", "nvidia_icd.json")!, /libvulkan\.so\.1 is missing/);
    assert.match(found("libcuda.so.1", "libGLX_nvidia.so.0", "libvulkan.so.1", "nvidia_icd.json")!, /MIG/);
  });
}
