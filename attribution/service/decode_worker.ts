/**
 * A worker that decodes untrusted images. It has no permissions, and its owner ends it when it takes too long.
 */
import { UnreadableImageError } from "../images/decode.ts";
import { decodePixels } from "../images/load.ts";
import type { FromDecoder, ToDecoder } from "./protocol.ts";
import { sha256Hex } from "../../util/hash.ts";

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToDecoder>) => void;
  postMessage(message: FromDecoder, transfer: Transferable[]): void;
};

scope.onmessage = async ({ data: { bytes, sizes, maxPixels } }) => {
  try {
    const pixels = await decodePixels(bytes, sizes, maxPixels);
    const sha256 = await sha256Hex(bytes);
    const moved = [...pixels.bySize.values()].map(({ buffer }) => buffer as ArrayBuffer);
    scope.postMessage({ type: "decoded", sha256, pixels }, moved);
  } catch (error) {
    const { reason, message } = error instanceof UnreadableImageError
      ? error
      : { reason: "corrupt", message: (error as Error).message };
    scope.postMessage({ type: "unreadable", reason, message }, []);
  }
};
