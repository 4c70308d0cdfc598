import assert from "node:assert/strict";
import { decodePixels } from "../../../attribution/images/load.ts";
import { Decoders } from "../../../attribution/service/decoding.ts";
import { publicError } from "../../../attribution/service/errors.ts";
import { exampleImages } from "./server.ts";

async function withDecoders(
  more: Partial<ConstructorParameters<typeof Decoders>[0]>,
  body: (decoders: Decoders) => Promise<void>,
): Promise<void> {
  const decoders = new Decoders({ workers: 2, timeoutMs: 600_000, maxPixels: 2 ** 20, ...more });
  try {
    await body(decoders);
  } finally {
    decoders.close();
  }
}

const [first, second, third] = (await exampleImages(3)).map(({ bytes }) => bytes);

Deno.test("Decoders gives the pixels that the pipeline would decode, for any number of images at once", async () => {
  await withDecoders({}, async (decoders) => {
    const files = [first, second, third, first, second];
    const images = await Promise.all(files.map((bytes) => decoders.decode(bytes.slice(), [16, 64])));
    for (const [i, { pixels }] of images.entries()) {
      assert.deepEqual(pixels, await decodePixels(files[i], [16, 64]));
    }
    assert.equal(images[0].sha256, images[3].sha256);
  });
});

/** Decoders with a worker that never answers, and a clock by which the process gets a share of a processor. */
async function withSilent(
  { share, otherThreads }: { readonly share?: number; readonly otherThreads?: () => number },
  body: (outcomes: readonly PromiseSettledResult<unknown>[], counts: readonly number[]) => void,
): Promise<void> {
  let spawned = 0;
  // Deno 2.9 does not stop a thread that computes, so that one must end by itself.
  const work = share === undefined ? "const end = performance.now() + 1500; while (performance.now() < end);" : "";
  const spawn = () => {
    spawned++;
    const url = URL.createObjectURL(new Blob([`onmessage = () => { ${work} }`], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  };
  const processorMs = share === undefined ? undefined : () => share * performance.now();
  await withDecoders({ workers: 1, timeoutMs: 200, spawn, processorMs, otherThreads }, async (decoders) => {
    const outcomes = await Promise.allSettled([1, 2].map(() => decoders.decode(first.slice(), [16])));
    body(outcomes, [spawned, decoders.replaced]);
  });
}

function expectReasons(outcomes: readonly PromiseSettledResult<unknown>[], expected: Record<string, unknown>): void {
  for (const outcome of outcomes) {
    assert.ok(outcome.status === "rejected");
    assert.throws(() => {
      throw outcome.reason;
    }, expected);
  }
}

const tooLong = { name: "UnreadableImageError", reason: "corrupt", message: /more than 200 ms of processor time/ };

Deno.test("Decoders ends a worker that takes too much processor time, and goes on with another", async () => {
  await withSilent({ share: 1 }, (outcomes, counts) => {
    expectReasons(outcomes, tooLong);
    assert.deepEqual(counts, [2, 2]);
  });
});

Deno.test("Decoders blames the machine and not the image where the worker had too little processor time", async () => {
  const overload = { name: "DecodeOverloadError" };
  await withSilent({ share: 0.1 }, (outcomes, counts) => {
    expectReasons(outcomes, overload);
    assert.deepEqual(counts, [2, 2]);
    const [{ reason }] = outcomes as PromiseRejectedResult[];
    const { status, code, headers } = publicError(reason)!;
    assert.deepEqual([status, code], [503, "overload"]);
    assert.ok(Number(headers["retry-after"]) > 0);
  });
  // The process has a whole processor, and twenty threads share it; or the worker has one of two to itself.
  await withSilent({ share: 1, otherThreads: () => 19 }, (outcomes) => expectReasons(outcomes, overload));
  await withSilent({ share: 2, otherThreads: () => 1 }, (outcomes) => expectReasons(outcomes, tooLong));
});

Deno.test("Decoders ends a worker by the system's clock, for one of the two reasons", async () => {
  await withSilent({}, (outcomes, counts) => {
    expectReasons(outcomes, { name: /^(UnreadableImageError|DecodeOverloadError)$/ });
    assert.deepEqual(counts, [2, 2]);
  });
});

Deno.test("Decoders refuses too many pixels by the header, before any worker is started", async () => {
  let spawned = 0;
  const spawn = () => (spawned++, assert.fail("no worker is needed"));
  await withDecoders({ maxPixels: 100, spawn }, async (decoders) => {
    await assert.rejects(decoders.decode(first.slice(), [16]), { name: "UnreadableImageError", reason: "too-large" });
    assert.equal(spawned, 0);
  });
});

Deno.test("the decoding worker may do nothing: no files, no network, no environment", async () => {
  // The permissions of the worker, asked for in a worker that is started with the same ones.
  const source = `
    const names = ["read", "write", "net", "env", "run", "ffi", "sys"];
    postMessage(names.map((name) => Deno.permissions.querySync({ name }).state));`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module", deno: { permissions: "none" } });
  const states = await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  worker.terminate();
  URL.revokeObjectURL(url);
  assert.ok((states as string[]).every((state) => state !== "granted"), String(states));
  const code = await Deno.readTextFile(new URL("../../../attribution/service/decoding.ts", import.meta.url));
  assert.match(code, /decode_worker\.ts[^}]*permissions: "none"/);
});
