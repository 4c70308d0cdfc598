/**
 * Receives the body of a request within limits of bytes and time, and splits it into image files. The content type
 * decides how a body is split; it is not used as the format of an image.
 */
import { HttpError } from "./errors.ts";
import { QueueFullError } from "./batcher.ts";
import { splitForm } from "./multipart.ts";

export interface BodyLimits {
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** Names of the settings are for messages. */
  readonly maxImages: number;
}

/** Bytes that all requests together may hold. */
export class ByteBudget {
  #held = 0;

  constructor(readonly limit: number) {}

  get held(): number {
    return this.#held;
  }

  /** Throws QueueFullError when there is no room. */
  take(bytes: number): void {
    if (this.#held + bytes > this.limit) throw new QueueFullError("too many bodies are being received", 1);
    this.#held += bytes;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}

export interface ReceivedFile {
  /** The name that the client gives, at most 255 characters; null for a body that is one image. */
  readonly name: string | null;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Received {
  readonly files: readonly ReceivedFile[];
  /** Whether the body was one image, and not a list. */
  readonly single: boolean;
  /** Bytes taken from the `ByteBudget`, which the caller must give back. */
  readonly held: number;
}

/** Reads the whole body. Throws HttpError (400, 408, 413) or QueueFullError, and then gives back what it took. */
export async function receive(request: Request, limits: BodyLimits, budget: ByteBudget): Promise<Received> {
  const declared = Number(request.headers.get("content-length") ?? NaN);
  if (declared > limits.maxBytes) throw tooLarge(limits.maxBytes, request);
  const { chunks, length } = await readAll(request, limits, budget);
  try {
    const bytes = join(chunks, length);
    chunks.length = 0;
    const type = request.headers.get("content-type") ?? "";
    if (!/^\s*multipart\/form-data\b/i.test(type)) {
      return { files: [{ name: null, bytes }], single: true, held: length };
    }
    return { files: await splitForm(type, bytes, limits.maxImages), single: false, held: length };
  } catch (error) {
    budget.give(length);
    throw error;
  }
}

async function readAll(
  request: Request,
  { maxBytes, timeoutMs }: BodyLimits,
  budget: ByteBudget,
): Promise<{ chunks: Uint8Array[]; length: number }> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = request.body?.getReader();
  if (reader === undefined) return { chunks, length };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new HttpError(408, "slow-body", `the body did not arrive within ${timeoutMs} ms`, { connection: "close" }),
      );
    }, timeoutMs);
  });
  try {
    while (true) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return { chunks, length };
      if (length + value.length > maxBytes) throw tooLarge(maxBytes, request);
      budget.take(value.length);
      length += value.length;
      chunks.push(value);
    }
  } catch (error) {
    budget.give(length);
    reader.cancel().catch(() => {}); // the request has failed already
    if (error instanceof HttpError || error instanceof QueueFullError) throw error;
    throw new HttpError(400, "incomplete-body", "the body ended before it was complete", { connection: "close" });
  } finally {
    clearTimeout(timer);
    late.catch(() => {});
  }
}

function join(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

function tooLarge(maxBytes: number, request: Request): HttpError {
  request.body?.cancel().catch(() => {});
  return new HttpError(413, "body-too-large", `the body has more than ${maxBytes} bytes`, { connection: "close" });
}
