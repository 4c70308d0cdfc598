/** A second thread of the decoder process for tests: the first byte of a file says what becomes of it. */
import { answer, warmUp } from "../../../../attribution/images/decoder/answer.ts";
import type { Frame } from "../../../../attribution/images/decoder/frames.ts";
import type { Request } from "../../../../attribution/images/decoder/messages.ts";

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Frame>) => void;
  postMessage(message: unknown): void;
};

/** Never written, so that nothing is optimised away. */
const kept: unknown[] = [];

const fates: Readonly<Record<number, () => unknown>> = {
  1: () => { // takes a processor for ever
    for (;;) kept.length = 0;
  },
  2: () => new Promise(() => {}), // never answers
  3: () => { // takes memory that is not V8's heap
    for (;;) kept.push(new Uint8Array(2 ** 24).fill(1));
  },
  4: () => { // takes V8's heap, until V8 ends the process
    for (;;) kept.push(new Array(2 ** 20).fill({}));
  },
  5: () =>
    setTimeout(() => {
      throw new Error("nobody catches this");
    }),
  6: () => ({ data: { width: 1, height: 1, sizes: [16], hasImage: false }, blocks: [new Uint8Array(5)] }),
  7: () => ({ data: "what?", blocks: [] }),
  8: () => new BroadcastChannel("abort").postMessage("now"),
};

scope.onmessage = async ({ data: { data, blocks } }) => {
  const fate = fates[blocks[0][0]];
  const answered = fate === undefined ? await answer(data as Request, blocks[0]) : await fate();
  if (answered instanceof Object) scope.postMessage(answered);
};

await warmUp();
scope.postMessage("ready");
