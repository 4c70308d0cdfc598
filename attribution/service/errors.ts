/** Errors as clients see them: a status, a stable code and a sentence. Internal errors show no details. */
import { HTTPException } from "npm:hono@4.13.19/http-exception";
import { DecodeOverloadError } from "../images/decoder/mod.ts";
import { UnreadableImageError, type UnreadableReason } from "../images/decode.ts";
import { DeadlineError, QueueFullError } from "./batcher.ts";

export type Status = 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 422 | 499 | 500 | 503 | 504;

export class HttpError extends Error {
  override readonly name = "HttpError";

  constructor(
    readonly status: Status,
    readonly code: string,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

const unreadableStatus: Readonly<Record<UnreadableReason, Status>> = {
  "empty": 400,
  "not-an-image": 415,
  "unsupported": 415,
  "too-large": 413,
  "truncated": 422,
  "corrupt": 422,
  "io": 422,
};

/** What a client is told of an error; undefined for an internal one. */
export function publicError(error: unknown): HttpError | undefined {
  if (error instanceof HttpError) return error;
  // The only middleware that throws these is the one that checks keys.
  if (error instanceof HTTPException) {
    return new HttpError(401, "unauthorised", "expected a valid key: Authorization: Bearer KEY", {
      "www-authenticate": 'Bearer realm="model-tracer"',
    });
  }
  if (error instanceof UnreadableImageError) {
    return new HttpError(unreadableStatus[error.reason] ?? 422, error.reason, error.message);
  }
  if (error instanceof QueueFullError) {
    return new HttpError(503, "busy", error.message, { "retry-after": String(error.retryAfter) });
  }
  if (error instanceof DecodeOverloadError) {
    return new HttpError(503, "overload", error.message, { "retry-after": "10" });
  }
  if (error instanceof DeadlineError) return new HttpError(504, "deadline", error.message);
  return undefined;
}
