import assert from "node:assert/strict";
import { UnreadableImageError } from "../../../attribution/images/decode.ts";
import { decodePixels } from "../../../attribution/images/load.ts";
import { Decoders } from "../../../attribution/service/decoding.ts";
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

Deno.test("Decoders ends a worker that takes too long, and goes on with another", async () => {
  const slow = () => {
    const url = URL.createObjectURL(new Blob(["onmessage = () => { for (;;); }"], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  };
  let spawned = 0;
  await withDecoders({ workers: 1, timeoutMs: 200, spawn: () => (spawned++, slow()) }, async (decoders) => {
    const results = await Promise.allSettled([1, 2].map(() => decoders.decode(first.slice(), [16])));
    for (const result of results) {
      assert.ok(result.status === "rejected" && result.reason instanceof UnreadableImageError);
      assert.match(result.reason.message, /decoding took more than 200 ms/);
    }
    assert.deepEqual([spawned, decoders.replaced], [2, 2]);
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
