import assert from "node:assert/strict";
import { type Frame, readFrames, writeFrame } from "../../../../attribution/images/decoder/frames.ts";

/** The bytes of messages. */
async function written(...frames: Frame[]): Promise<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(undefined, undefined, {
    highWaterMark: 99,
  });
  const writer = writable.getWriter();
  for (const frame of frames) await writeFrame(writer, frame);
  void writer.close();
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

/** What is read of bytes that come in pieces of `size`. */
async function read(bytes: Uint8Array, size: number, maxBytes = 1000): Promise<Frame[]> {
  const pieces = Array.from(
    { length: Math.ceil(bytes.length / size) },
    (_, i) => bytes.slice(i * size, (i + 1) * size),
  );
  return await Array.fromAsync(readFrames(ReadableStream.from(pieces), maxBytes));
}

const frames: Frame[] = [
  {
    data: { op: "pixels", name: "ä\n" },
    blocks: [new Uint8Array([1, 2, 3]), new Uint8Array(), new Uint8Array(200).fill(7)],
  },
  { data: "ready", blocks: [] },
  { data: null, blocks: [new Uint8Array([9])] },
];

Deno.test("messages are read as they were written, whatever pieces they come in", async () => {
  const bytes = await written(...frames);
  for (const size of [1, 3, 64, 1000]) assert.deepEqual(await read(bytes, size), frames);
});

Deno.test("a stream that ends within a message ends without it", async () => {
  const bytes = await written(...frames), first = await written(frames[0]);
  for (const length of [0, 5, 30, first.length - 1]) assert.deepEqual(await read(bytes.slice(0, length), 16), []);
  assert.deepEqual(await read(bytes.slice(0, first.length + 9), 16), [frames[0]]);
});

Deno.test("other bytes, and messages that are too large, are refused", async () => {
  const bytes = await written(...frames);
  await assert.rejects(
    read(new TextEncoder().encode("<html>something else</html>"), 8),
    /expected a message, got other/,
  );
  await assert.rejects(read(bytes, 8, 100), { name: "RangeError", message: /at most 100 bytes, got 203/ });
  const lengthy = bytes.slice();
  lengthy.fill(255, 4, 8); // the length of the JSON
  await assert.rejects(read(lengthy, 8), /expected a message, got other/);
  await assert.rejects(written({ data: "x".repeat(5e6), blocks: [] }), RangeError);
});
