/**
 * The thread of the decoder process that decodes, one image at a time. It has no permission, and loads nothing after its
 * warm-up. decoder_process.ts looks after it.
 */
import { answer, warmUp } from "./answer.ts";
import { giveUpLoading } from "./confine.ts";
import type { Frame } from "./frames.ts";
import type { Request } from "./messages.ts";

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Frame>) => void;
  postMessage(message: Frame | "ready", transfer?: Transferable[]): void;
};

scope.onmessage = async ({ data: { data, blocks } }) => {
  const answered = await answer(data as Request, blocks[0]);
  scope.postMessage(answered, answered.blocks.map(({ buffer }) => buffer));
};

await warmUp();
giveUpLoading();
scope.postMessage("ready");
