import assert from "node:assert/strict";
import { decodePixels } from "../../../attribution/images/load.ts";
import { Decoders } from "../../../attribution/service/decoding.ts";
import { publicError } from "../../../attribution/service/errors.ts";
import { exampleImages } from "./server.ts";

async function withDecoders(
  more: Partial<ConstructorParameters<typeof Decoders>[0]>,
  body: (decoders: Decoders) => Promise<void>,
): Promise<void> {
  const decoders = new Decoders({ processes: 2, timeoutMs: 600_000, maxPixels: 2 ** 20, ...more });
  try {
    await body(decoders);
  } finally {
    await decoders.close();
  }
}

const [first, second, third] = (await exampleImages(3)).map(({ bytes }) => bytes);

Deno.test("Decoders gives the pixels that the pipeline would decode, for any number of images at once", async () => {
  await withDecoders({}, async (decoders) => {
    await decoders.warmUp();
    const files = [first, second, third, first, second];
    const images = await Promise.all(files.map((bytes) => decoders.decode(bytes.slice(), [16, 64])));
    for (const [i, { pixels }] of images.entries()) {
      assert.deepEqual(pixels, await decodePixels(files[i], [16, 64]));
    }
    assert.equal(images[0].sha256, images[3].sha256);
    assert.equal(decoders.replaced, 0);
  });
});

/** Decoders whose files have a fate by their first byte (images/decoder/odd_thread.ts). */
const program = new URL("../images/decoder/odd_process.ts", import.meta.url);
const [forEver, silent] = [1, 2].map((fate) => new Uint8Array([fate]));

Deno.test("Decoders ends a process that takes too much processor time, and goes on with another", async () => {
  await withDecoders({ processes: 1, timeoutMs: 500, program }, async (decoders) => {
    const files = [forEver, first, forEver];
    const outcomes = await Promise.allSettled(files.map((bytes) => decoders.decode(bytes.slice(), [16])));
    assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "fulfilled", "rejected"]);
    const { reason } = outcomes[0] as PromiseRejectedResult;
    const { status, code, message } = publicError(reason)!;
    // A machine that has less than a quarter of a processor to spare is not the file's fault.
    const isBusy = status === 503;
    assert.deepEqual([status, code], isBusy ? [503, "overload"] : [422, "corrupt"]);
    assert.match(message, isBusy ? /less than 500 ms of a processor/ : /took more than 500 ms of processor time/);
    // The second one may still be ending.
    for (let i = 0; i < 100 && decoders.replaced < 2; i++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(decoders.replaced, 2);
  });
});

Deno.test("Decoders blames the machine and not the image where there was too little processor time", async () => {
  await withDecoders({ processes: 1, timeoutMs: 400, program }, async (decoders) => {
    const outcome = await decoders.decode(silent.slice(), [16]).then(() => assert.fail("no error"), (error) => error);
    assert.equal(outcome.name, "DecodeOverloadError");
    const { status, code, headers } = publicError(outcome)!;
    assert.deepEqual([status, code], [503, "overload"]);
    assert.ok(Number(headers["retry-after"]) > 0);
  });
});

Deno.test("Decoders refuses too many pixels", async () => {
  await withDecoders({ maxPixels: 100 }, async (decoders) => {
    await assert.rejects(decoders.decode(first.slice(), [16]), { name: "UnreadableImageError", reason: "too-large" });
  });
});

Deno.test("Decoders gives up images whose callers are gone, and all when it closes", async () => {
  await withDecoders({ processes: 1 }, async (decoders) => {
    const gone = new AbortController();
    const running = decoders.decode(first.slice(), [16]);
    const waiting = decoders.decode(second.slice(), [16], gone.signal);
    gone.abort(new Error("gone"));
    await assert.rejects(waiting, { message: "gone" });
    await running;
    const late = [first, second].map((bytes) => assert.rejects(decoders.decode(bytes.slice(), [16]), /clos/));
    await decoders.close();
    await Promise.all(late);
  });
});

Deno.test("Decoders needs the permission to start processes", { permissions: { run: false } }, () => {
  assert.throws(() => new Decoders({ processes: 1, timeoutMs: 100, maxPixels: 100 }), /--allow-run=deno/);
});
