/**
 * The process that decodes images, so that no other one parses a file that a stranger wrote. It is started by
 * decoder_client.ts, with bounds checks and without permissions, but for reading the program's own sources to start its
 * second thread, which it gives back before it reads the first byte. A compiled program is its own decoder: it starts with the
 * permissions that were fixed when it was compiled, and gives all of them back at the same moment. Questions come from
 * stdin, answers go to stdout, in their order.
 *
 * This thread reads, writes and looks at the clocks; the other one decodes. An image that takes too much ends the process:
 * a thread that computes cannot be ended (denoland/deno#35657).
 */
import process from "node:process";
import { giveUpLoading, giveUpPermissions } from "./confine.ts";
import { type Frame, readFrames, writeFrame } from "./frames.ts";
import { type Answer, type DecoderLimits, decoderWord, type Failure } from "./messages.ts";

/** Looks at the clocks within the limit of processor time, and at least and at most so many milliseconds apart. */
const looks = 20, leastMs = 5, mostMs = 100;

/** Bytes of a question at most: those of the largest file that is read (decode.ts). */
const maxBytes = 2 ** 32;

/** A question that the thread works on, and when it began. */
interface Current {
  readonly elapsed: number;
  readonly processor: number;
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Answers questions until stdin ends, then ends the process. `threadSource` is another one in tests. */
export async function serveDecoder(
  limits: DecoderLimits,
  threadSource = new URL("./decoder_thread.ts", import.meta.url),
): Promise<never> {
  // Ctrl-C reaches the whole group of processes: the owner decides when this one ends.
  for (const signal of Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"]) {
    Deno.addSignalListener(signal as Deno.Signal, () => {});
  }
  const thread = new Worker(threadSource, {
    type: "module",
    deno: { permissions: "none" },
  });
  await new Promise<void>((resolve) => thread.onmessage = () => resolve());
  giveUpLoading();
  giveUpPermissions();

  const output = Deno.stdout.writable.getWriter();
  let written = Promise.resolve();
  const send = (data: unknown, blocks: Frame["blocks"] = []) =>
    written = written.then(() => writeFrame(output, { data, blocks }));
  await send("ready");

  const waiting: Frame[] = [];
  let current: Current | undefined;
  const next = () => {
    const question = current === undefined ? waiting.shift() : undefined;
    if (question === undefined) return;
    current = { elapsed: performance.now(), processor: processorMs() };
    thread.postMessage(question, question.blocks.map(({ buffer }) => buffer));
  };
  thread.onmessage = ({ data: { data, blocks } }: MessageEvent<Frame>) => {
    current = undefined;
    void send({ ...data as Answer, memory: Deno.memoryUsage().rss }, blocks);
    next();
  };
  thread.onerror = (event) => {
    event.preventDefault();
    void giveUp({ kind: "unreadable", reason: "corrupt", message: `decoding failed: ${event.message}` });
  };
  const giveUp = async (failure: Failure) => {
    clearInterval(watch);
    await send({ failure });
    Deno.exit(0);
  };
  const watch = setInterval(() => {
    const failure = current && overrun(current, limits);
    if (failure !== undefined) void giveUp(failure);
  }, Math.min(mostMs, Math.max(leastMs, limits.processorMs / looks)));

  for await (const question of readFrames(Deno.stdin.readable, maxBytes)) {
    waiting.push(question);
    next();
  }
  Deno.exit(0); // the owner has gone
}

/** Which limit an image has exceeded, if any. */
function overrun({ elapsed, processor }: Current, limits: DecoderLimits): Failure | undefined {
  const { processorMs: allowed, elapsedMs = Infinity, memoryBytes } = limits;
  if (processorMs() - processor >= allowed) {
    const message = `decoding took more than ${allowed} ms of processor time`;
    return { kind: "unreadable", reason: "corrupt", message };
  }
  if (Deno.memoryUsage().rss > memoryBytes) {
    const message = `decoding needs more than ${Math.round(memoryBytes / 2 ** 20)} MiB of memory`;
    return { kind: "unreadable", reason: "too-large", message };
  }
  if (performance.now() - elapsed >= elapsedMs) {
    return { kind: "overload", message: `decoding had less than ${allowed} ms of a processor in ${elapsedMs} ms` };
  }
  return undefined;
}

/** In a compiled program that was started as its own decoder, answers questions, and never resolves. Else resolves at once. */
export async function decodeIfAsked(): Promise<void> {
  if (Deno.args[0] === decoderWord) await serveDecoder(JSON.parse(Deno.args[1]));
}

if (import.meta.main) await serveDecoder(JSON.parse(Deno.args[0]));
