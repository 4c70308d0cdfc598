// The process that decodes: it answers what this process would, may do nothing, and its end is the end of one image.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { decoderCommand } from "../../../../attribution/images/decoder/decoder_client.ts";
import { openDecoder, ownDecoder, ProcessDecoder } from "../../../../attribution/images/decoder/mod.ts";
import type { ImageInput } from "../../../../attribution/images/load.ts";
import { parseEdits } from "../../../../attribution/images/edits/mod.ts";
import { fixture, goldenImage } from "../fixtures.ts";
import { asCompiled } from "./as_compiled.ts";

const executable = Deno.execPath();
const good = fixture("q95_420.jpg");
const input: ImageInput = { imageName: "a" };

Deno.test("the decoder process gives the pixels, notes and facts that this process does", async () => {
  await using decoder = new ProcessDecoder({ executable });
  const image = await ownDecoder.stored(input, good);
  const inputs: [ImageInput, Uint8Array<ArrayBuffer> | undefined][] = [
    [input, good],
    [input, fixture("lossy.webp")],
    [input, goldenImage("img0_64x64.png")],
    [{ ...input, edits: parseEdits("jpeg:80,crop:3") }, good],
    [{ ...input, pose: { left: -3, top: 2, width: 30, height: 30, turn: 90, mirror: true } }, good],
    [{ ...input, image }, undefined],
  ];
  const answers = await Promise.all(inputs.map(([input, bytes]) => decoder.pixels(input, bytes, [16, 24])));
  for (const [i, [input, bytes]] of inputs.entries()) {
    assert.deepEqual(answers[i], await ownDecoder.pixels(input, bytes, [16, 24]));
  }
  const [edited] = [inputs[3]];
  assert.deepEqual(await decoder.stored(...edited), await ownDecoder.stored(...edited));
  const odd = new Uint8Array(
    await Deno.readFile(new URL("../../../fixtures/odd_images/exif-rotated.jpg", import.meta.url)),
  );
  assert.deepEqual(await decoder.notes(odd), await ownDecoder.notes(odd));
  assert.ok((await decoder.notes(odd)).length > 0);
  assert.equal(decoder.client.replaced, 0);
});

Deno.test("the decoder process reports errors as this process does", async () => {
  await using decoder = new ProcessDecoder({ executable });
  const cut = good.slice(0, 200);
  const errorOf = async (promise: Promise<unknown>) => {
    const { name, reason, message } = await promise.then(() => assert.fail("no error"), (error) => error);
    return { name, reason, message };
  };
  const small = { ...input, edits: parseEdits("crop:300") },
    wrong = { ...input, edits: [{ name: "jpeg", quality: 0 }] };
  for (
    const [input, bytes] of [[{ imageName: "a" }, cut], [small, good], [wrong, good]] as [ImageInput, typeof good][]
  ) {
    const expected = await errorOf(ownDecoder.pixels(input, bytes, [16]));
    assert.deepEqual(await errorOf(decoder.pixels(input, bytes, [16])), expected);
  }
  assert.equal((await errorOf(decoder.pixels(input, good, [16], 100))).reason, "too-large");
});

const powers = new URL("./powers.ts", import.meta.url);
const limits = { processorMs: 1000, memoryBytes: 2 ** 30 };

/** Asserts that a process that runs powers.ts can do nothing of what it tries. */
async function assertPowerless(command: Deno.Command): Promise<void> {
  const process = command.spawn();
  const { stderr } = await process.output();
  const outcomes = JSON.parse(new TextDecoder().decode(stderr));
  assert.ok(Object.keys(outcomes).length >= 18);
  for (const [name, outcome] of Object.entries(outcomes)) {
    assert.match(outcome as string, /^(NotCapable|Worker is not defined|.*expected no further module)$/, name);
  }
  await process.stdin.abort();
}

Deno.test("the decoder process may do nothing, and gets nothing of the environment", async () => {
  await assertPowerless(decoderCommand({ executable, program: powers, limits }));
});

Deno.test("the decoder process of a compiled program may do nothing either", async () => {
  await asCompiled(fileURLToPath(powers), async (executable) => {
    await assertPowerless(decoderCommand({ executable, isCompiled: true, limits }));
  });
});

Deno.test("a compiled program decodes as its own decoder, and one that is no decoder says so", async () => {
  await asCompiled(fileURLToPath(new URL("./program.ts", import.meta.url)), async (executable) => {
    await using decoder = new ProcessDecoder({ executable, isCompiled: true });
    assert.deepEqual(await decoder.pixels(input, good, [16]), await ownDecoder.pixels(input, good, [16]));
    await assert.rejects(decoder.pixels(input, good.slice(0, 200), [16]), { name: "UnreadableImageError" });
    assert.equal(decoder.client.replaced, 0);
    await using wrong = new ProcessDecoder({ executable });
    await assert.rejects(wrong.pixels(input, good, [16]), /did not start \(exit code 1\):\nexpected to be a decoder/);
  });
});

/** The byte that decides an odd file's fate, and then some. */
const odd = (fate: number) => new Uint8Array([fate, 0, 0, 0]);

/** What becomes of a file, while others wait that are good. */
async function fateOf(
  fate: number,
  limits: { processorMs?: number; elapsedMs?: number; memoryBytes?: number } = {},
): Promise<{ readonly error: Error & { reason?: string }; readonly replaced: number }> {
  const program = new URL("./odd_process.ts", import.meta.url);
  await using decoder = new ProcessDecoder({ executable, program, limits });
  const files = [good, good, odd(fate), good, good];
  const outcomes = await Promise.allSettled(files.map((bytes) => decoder.pixels(input, bytes, [16])));
  assert.deepEqual(outcomes.map(({ status }) => status === "fulfilled"), [true, true, false, true, true]);
  return { error: (outcomes[2] as PromiseRejectedResult).reason, replaced: decoder.client.replaced };
}

Deno.test("a file that takes too much processor time is unreadable, and the others are read", async () => {
  const { error, replaced } = await fateOf(1, { processorMs: 300 });
  assert.deepEqual([error.name, (error as { reason?: string }).reason], ["UnreadableImageError", "corrupt"]);
  assert.equal(error.message, "decoding took more than 300 ms of processor time");
  assert.equal(replaced, 1);
});

Deno.test("a machine that has no time is no fault of the file", async () => {
  const { error } = await fateOf(2, { processorMs: 10_000, elapsedMs: 1500 });
  assert.equal(error.name, "DecodeOverloadError");
  assert.match(error.message, /less than 10000 ms of a processor in 1500 ms/);
});

Deno.test("a file that takes too much memory is unreadable, and the others are read", async () => {
  const { error, replaced } = await fateOf(3, { memoryBytes: 400 * 2 ** 20 });
  assert.deepEqual([error.name, error.reason], ["UnreadableImageError", "too-large"]);
  assert.match(error.message, /more than 400 MiB of memory/);
  assert.equal(replaced, 1);
});

Deno.test("a file of which the process dies is unreadable, found among those in work, and the others are read", async () => {
  const { error, replaced } = await fateOf(8);
  assert.deepEqual([error.name, error.reason], ["UnreadableImageError", "corrupt"]);
  assert.match(error.message, /the decoder process ended within this file \(SIG/);
  assert.equal(replaced, 2, "once with others in work, once alone");
  const thrown = await fateOf(5);
  assert.deepEqual([thrown.error.name, thrown.error.reason], ["UnreadableImageError", "corrupt"]);
  assert.match(thrown.error.message, /nobody catches this/);
});

Deno.test("of a compiled program, too, only the file is lost that takes too much or that the process dies of", async () => {
  await asCompiled(fileURLToPath(new URL("./odd_process.ts", import.meta.url)), async (executable) => {
    const messages = [];
    // A machine that is slow to hand out memory takes seconds for the heap: it must not be the processor time that ends it.
    for (const [fate, processorMs] of [[1, 1000], [3, 30_000], [4, 30_000], [8, 30_000]]) {
      const limits = { processorMs, memoryBytes: 400 * 2 ** 20 };
      await using decoder = new ProcessDecoder({ executable, isCompiled: true, limits });
      const files = [good, odd(fate), good].map((bytes) => decoder.pixels(input, bytes, [16]));
      const [before, lost, after] = await Promise.allSettled(files);
      assert.deepEqual([before.status, after.status], ["fulfilled", "fulfilled"]);
      const { reason } = lost as PromiseRejectedResult;
      assert.equal(reason.name, "UnreadableImageError");
      messages.push(reason.message);
    }
    const [processor, pixels, heap, death] = messages;
    assert.equal(processor, "decoding took more than 1000 ms of processor time");
    assert.equal(pixels, "decoding needs more than 400 MiB of memory");
    assert.equal(heap, pixels, "V8's own limit is not set, but the process looks at its memory");
    assert.match(death, /the decoder process ended within this file \(SIG/);
  });
});

Deno.test("a file of which V8's heap runs full is unreadable", async () => {
  const program = new URL("./odd_process.ts", import.meta.url);
  await using decoder = new ProcessDecoder({ executable, program });
  const message = /more memory than the decoder process has/;
  await assert.rejects(decoder.pixels(input, odd(4), [16]), { reason: "too-large", message });
});

Deno.test("answers that make no sense are errors of their file", async () => {
  for (const fate of [6, 7]) {
    const { error, replaced } = await fateOf(fate);
    assert.equal(error.name, "UnreadableImageError");
    assert.match(error.message, /the decoder's answer makes no sense/);
    assert.equal(replaced, 0);
  }
});

Deno.test("a decoder that cannot start says why", async () => {
  const program = new URL("./gone.ts", import.meta.url);
  await using decoder = new ProcessDecoder({ executable, program });
  await assert.rejects(decoder.pixels(input, good, [16]), {
    name: "Error",
    message: /the decoder process did not start \(exit code 1\):\n.*Module not found/s,
  });
});

Deno.test("a process that holds much memory after an image is replaced before the next one", async () => {
  await using decoder = new ProcessDecoder({ executable, keptBytes: 2 ** 20 });
  const images = await Promise.all([1, 2, 3].map(() => decoder.pixels(input, good, [16])));
  assert.deepEqual(images[2], images[0]);
  assert.equal((await decoder.pixels(input, good, [16])).width, images[0].width);
  const { spawned, replaced } = decoder.client;
  assert.deepEqual([spawned, replaced], [2, 0], "one process for those that were asked together, then another");
});

Deno.test("a closed decoder ends what it was asked, and starts no process any more", async () => {
  const decoder = new ProcessDecoder({ executable });
  const asked = assert.rejects(decoder.pixels(input, good, [16]), /the decoder is closed/);
  await decoder[Symbol.asyncDispose]();
  await asked;
  await assert.rejects(decoder.pixels(input, good, [16]), /the decoder is closed/);
});

Deno.test("openDecoder() decodes here where it may start no process", { permissions: { run: false } }, () => {
  assert.equal(openDecoder(), ownDecoder);
});

Deno.test("openDecoder() refuses to decode here without bounds checks", async () => {
  const program = new URL("./open_here.ts", import.meta.url).pathname;
  const run = async (...args: string[]) => {
    const { stdout } = await new Deno.Command(executable, { args: ["run", "--no-prompt", ...args, program] }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  assert.equal(await run(), "here");
  assert.equal(await run("--v8-flags=--expose-gc-as=wasmWithoutBoundsChecks"), "refused");
  assert.equal(await run("--v8-flags=--expose-gc-as=wasmWithoutBoundsChecks", `--allow-run=${executable}`), "process");
});
