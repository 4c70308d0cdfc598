/** Decoding of images in a process of its own, and where that cannot be, in this one. */
import { liftsBoundsChecks } from "../../../core/cpu/engine.ts";
import { DEFAULT_MAX_PIXELS, type RgbImage } from "../image.ts";
import type { ImageInput, Pixels } from "../load.ts";
import { type ClientOptions, DecoderClient } from "./decoder_client.ts";
import { type ImageDecoder, ownDecoder } from "./image_decoder.ts";
import { type DecoderLimits, readAnswer, type Request } from "./messages.ts";

export { type ImageDecoder, ownDecoder } from "./image_decoder.ts";
export { DecodeOverloadError, type DecoderLimits } from "./messages.ts";

/** Processor time for an image with its edits. The largest images take a few seconds. */
const processorMs = 120_000;

/**
 * Memory of the decoder process: an image of 64 Mi pixels takes 0.9 GiB, which its edits may double.
 * @param maxPixels Of the largest image.
 */
export function decoderMemory(maxPixels: number): number {
  return 2 ** 29 + 40 * maxPixels;
}

/** The program that runs, wherever it lies, on Linux: all that a compiled program may start. */
const ownProgram = "/proc/self/exe";

/**
 * The executable that starts the decoder process, undefined where this process may not run it: `--allow-run=deno`, or
 * the path of Deno. Of a compiled program it is the program itself.
 */
export function decoderExecutable(): string | undefined {
  return (Deno.build.standalone ? [ownProgram] : [Deno.execPath(), "deno"]).find((command) =>
    Deno.permissions.querySync({ name: "run", command }).state === "granted"
  );
}

/**
 * Opens a decoder: a process of its own where this one may start it, else this process. Close it at the end. Throws
 * where this process runs without bounds checks and may not start another one.
 */
export function openDecoder(): ImageDecoder {
  const executable = decoderExecutable();
  if (executable !== undefined) {
    const decoder = new ProcessDecoder({ executable });
    decoder.client.start().catch(() => {}); // the first image will say so
    return decoder;
  }
  if (!liftsBoundsChecks()) return ownDecoder;
  throw new Error(
    "decoding: this process runs WebAssembly without bounds checks and reads no images therefore; " +
      "allow the process that does (--allow-run=deno), or leave out --no-wasm-bounds-checks",
  );
}

/** How a decoder's process is started, and its limits. */
export type ProcessOptions = Omit<ClientOptions, "limits"> & { readonly limits?: Partial<DecoderLimits> };

/** Decodes in a process of its own, some images ahead of those that are waited for. */
export class ProcessDecoder implements ImageDecoder {
  readonly client: DecoderClient;

  constructor({ limits, ...options }: ProcessOptions) {
    const memoryBytes = decoderMemory(DEFAULT_MAX_PIXELS);
    this.client = new DecoderClient({ ahead: 16, ...options, limits: { processorMs, memoryBytes, ...limits } });
  }

  async pixels(
    input: ImageInput,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    sizes: Iterable<number>,
    maxPixels: number = DEFAULT_MAX_PIXELS,
  ): Promise<Pixels> {
    if (input.decoded !== undefined) return input.decoded.pixels;
    return await this.#ask({ ...transforms(input), op: "pixels", sizes: [...sizes], maxPixels }, input.image, bytes);
  }

  async stored(
    input: ImageInput,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    maxPixels: number = DEFAULT_MAX_PIXELS,
  ): Promise<RgbImage> {
    const { edits, image } = input;
    if (image !== undefined && (edits ?? []).length === 0) return image;
    const pixels = await this.#ask({ edits, op: "stored", sizes: [], maxPixels }, image, bytes);
    if (pixels.image === undefined) throw new Error("decoding: expected an image, got none");
    return pixels.image;
  }

  async notes(bytes: Uint8Array<ArrayBuffer>): Promise<readonly string[]> {
    const pixels = await this.#ask({ op: "notes", sizes: [], maxPixels: 1 }, undefined, bytes);
    return pixels.notes ?? [];
  }

  /** What decodePixels() returns. */
  async decodePixels(
    bytes: Uint8Array<ArrayBuffer>,
    sizes: readonly number[],
    maxPixels: number,
  ): Promise<Pixels> {
    return await this.#ask({ op: "pixels", sizes, maxPixels, keepImage: true }, undefined, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }

  async #ask(
    request: Request,
    image: RgbImage | undefined,
    bytes: Uint8Array<ArrayBuffer> | undefined,
  ): Promise<Pixels> {
    const block = image?.data ?? bytes;
    if (block === undefined) throw new TypeError("decoding: expected the bytes of a file or pixels, got none of them");
    const data: Request = { ...request, image: image && { width: image.width, height: image.height } };
    return readAnswer(data, await this.client.ask({ data, blocks: [block as Uint8Array<ArrayBuffer>] }));
  }
}

function transforms({ edits, pose, augmentation }: ImageInput): Pick<Request, "edits" | "pose" | "augmentation"> {
  return { edits, pose, augmentation };
}
