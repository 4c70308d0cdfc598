/**
 * The worker that has the device: opens a tracer and runs one batch after the other, so that the server's own thread never
 * waits for a device. It decides nothing about what to do when something fails.
 */
import type { DeviceUse, FromDevice, ToDevice } from "./protocol.ts";
import { MappedTracer } from "./mapped_tracer.ts";

/** The part of a worker's global scope that is used, which the compiler does not know by default. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToDevice>) => void;
  postMessage(message: FromDevice, transfer?: Transferable[]): void;
};

let tracer: MappedTracer | undefined;

function use({ tracer: { run: { device, pool } } }: MappedTracer): DeviceUse {
  const { liveBytes, pooledBytes, peakBytes } = device.memory();
  return { liveBytes, pooledBytes, peakBytes, heapBytes: Deno.memoryUsage().heapTotal, loaded: pool.loaded };
}

scope.onmessage = async ({ data: message }) => {
  if (message.type === "open") {
    try {
      tracer = await MappedTracer.open(message.options, (text) => scope.postMessage({ type: "note", text }));
      scope.postMessage({
        ...{ type: "opened", info: tracer.info, use: use(tracer) },
        secondsPerImage: tracer.secondsPerImage,
      });
    } catch (error) {
      scope.postMessage({ type: "failed", message: (error as Error).message });
    }
    return;
  }
  const { id, images } = message;
  try {
    if (tracer === undefined) throw new Error("the tracer is not open");
    const start = performance.now();
    const results = await tracer.attribute(images, (done) => scope.postMessage({ type: "progress", id, done }));
    const seconds = (performance.now() - start) / 1000;
    scope.postMessage({ type: "result", id, results, seconds, use: use(tracer) });
  } catch (error) {
    scope.postMessage({ type: "error", id, message: (error as Error).message });
  }
};
