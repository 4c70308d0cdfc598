import assert from "node:assert/strict";
import { DeviceFailedError, DeviceWorker } from "../../../attribution/service/device.ts";
import type { DecodedImage, MappedTracerOptions } from "../../../attribution/service/mapped_tracer.ts";

const options: MappedTracerOptions = {
  device: "cpu",
  allowSoftware: false,
  memoryBytes: 1,
  weightType: "f32",
  unsureBelow: 0,
  maxBatch: 4,
  preload: false,
};
const image: DecodedImage = { sha256: "0".repeat(64), pixels: { width: 1, height: 1, bySize: new Map() } };

/** Workers that follow the protocol and then do what a text says to a batch; `n` is the number of the worker, from 0. */
function scripted(batch: string, open = `postMessage({ type: "opened", info: { n }, use: {}, secondsPerImage: 0.5 })`) {
  let n = 0;
  const workers: Worker[] = [];
  const spawn = () => {
    const source = `
      const n = ${n++};
      onmessage = ({ data }) => {
        if (data.type === "open") { ${open}; }
        else { const { id, images } = data; ${batch}; }
      };
      const result = (id, images) =>
        postMessage({ type: "result", id, results: images.map(() => ({ n })), seconds: 0.1, use: {} });`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    URL.revokeObjectURL(url);
    workers.push(worker);
    return worker;
  };
  return { spawn, workers };
}

async function withDevice(
  script: ReturnType<typeof scripted>,
  body: (device: DeviceWorker, restarts: string[]) => Promise<void>,
  batchMs = 600_000,
): Promise<void> {
  const restarts: string[] = [];
  const device = new DeviceWorker(options, batchMs, script.spawn, { onRestart: (reason) => restarts.push(reason) });
  try {
    await body(device, restarts);
  } finally {
    device.close();
  }
}

Deno.test("DeviceWorker opens another device when the first is lost, and tries the batch again", async () => {
  const lost =
    `if (n === 0) postMessage({ type: "error", id, message: "webgpu: device lost" }); else result(id, images)`;
  await withDevice(scripted(lost), async (device, restarts) => {
    const results = await device.attribute([image, image], () => {});
    assert.deepEqual(results, [{ n: 1 }, { n: 1 }]);
    assert.deepEqual(restarts, ["webgpu: device lost"]);
    assert.deepEqual(await device.attribute([image], () => {}), [{ n: 1 }]);
  });
});

Deno.test("DeviceWorker replaces a worker that dies in a batch", async () => {
  await withDevice(
    scripted(`if (n === 0) throw new Error("out of memory"); result(id, images)`),
    async (device, restarts) => {
      assert.deepEqual(await device.attribute([image], () => {}), [{ n: 1 }]);
      assert.match(restarts[0], /worker failed: .*out of memory/);
    },
  );
});

Deno.test("DeviceWorker replaces a worker whose batch takes too long", async () => {
  await withDevice(scripted(`if (n > 0) result(id, images)`), async (device, restarts) => {
    assert.deepEqual(await device.attribute([image], () => {}), [{ n: 1 }]);
    assert.deepEqual(restarts, ["a batch took more than 3000 ms"]);
  }, 3000);
});

Deno.test("DeviceWorker tries a batch twice, and the next one on the device that it has", async () => {
  const script = scripted(
    `if (images.length > 1) postMessage({ type: "error", id, message: "bad" }); else result(id, images)`,
  );
  await withDevice(script, async (device, restarts) => {
    await assert.rejects(device.attribute([image, image], () => {}), /bad/);
    assert.equal(restarts.length, 1);
    assert.deepEqual(await device.attribute([image], () => {}), [{ n: 1 }]);
  });
});

Deno.test("DeviceWorker.open() rejects with the reason when there is no device, and no batch is tried", async () => {
  const script = scripted("", `postMessage({ type: "failed", message: "no adapter" })`);
  await withDevice(script, async (device, restarts) => {
    await assert.rejects(
      device.open(),
      (error) => error instanceof DeviceFailedError && error.message === "no adapter",
    );
    await assert.rejects(device.attribute([image], () => {}), DeviceFailedError);
    assert.deepEqual([restarts.length, script.workers.length], [0, 1]);
  });
});

Deno.test("DeviceWorker passes progress on, and ignores what is not of the batch in progress", async () => {
  const script = scripted(`
    postMessage({ type: "progress", id: id - 1, done: 0.1 });
    postMessage({ type: "result", id: id - 1, results: [], seconds: 0, use: {} });
    postMessage({ type: "progress", id, done: 0.5 });
    result(id, images)`);
  await withDevice(script, async (device) => {
    const heard: number[] = [];
    assert.equal((await device.attribute([image], (done) => heard.push(done))).length, 1);
    assert.deepEqual(heard, [0.5]);
  });
});
