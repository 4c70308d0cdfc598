/**
 * What the decoder process is asked and what it answers. The process that asks trusts nothing of an answer: whatever a
 * file has made of the decoder, it gets numbers, text and bytes of the sizes that it expects, or an error.
 */
import * as v from "npm:valibot@1.5.0";
import type { Augmentation } from "../augment/mod.ts";
import type { Edit } from "../edits/mod.ts";
import { imageFactsSchema } from "../facts/facts.ts";
import { type RgbImage, UnreadableImageError } from "../image.ts";
import type { Pixels } from "../load.ts";
import type { Pose } from "../pose.ts";
import type { Frame } from "./frames.ts";

/** The folder of the program, which the decoder process may read until its second thread has started. */
export const sources = new URL("../../../", import.meta.url);

/**
 * The first word on the command line of a compiled program (`deno compile`) that makes it a decoder process. Its limits
 * follow, as JSON.
 */
export const decoderWord = "--decode-images";

/** Limits of the decoder process. */
export interface DecoderLimits {
  /** Milliseconds of processor time for an image. */
  readonly processorMs: number;
  /** Milliseconds after which an image is given up although it did not get that much. Default: never. */
  readonly elapsedMs?: number;
  /** Bytes of memory that the process may hold. */
  readonly memoryBytes: number;
}

/** A question about one file, or about one image, whose bytes are the only block of the frame. */
export interface Request {
  readonly op: "pixels" | "stored" | "notes";
  readonly sizes: readonly number[];
  readonly maxPixels: number;
  /** The pixels also have the image as stored, if it is small (decodePixels()). */
  readonly keepImage?: boolean;
  readonly edits?: readonly Edit[];
  readonly pose?: Pose;
  readonly augmentation?: Augmentation;
  /** The block is an RGB image of this size. Default: it is a file. */
  readonly image?: { readonly width: number; readonly height: number };
}

/** The machine had too little time for an image, whatever the image is. */
export class DecodeOverloadError extends Error {
  /** `DecodeOverloadError`. */
  override readonly name = "DecodeOverloadError";
}

/** An error as an answer has it. */
export interface Failure {
  /** `unreadable`: this file; `range`: the edits; `overload`: the machine; `fault`: this program. */
  readonly kind: "unreadable" | "range" | "overload" | "fault";
  readonly reason?: UnreadableImageError["reason"];
  readonly message: string;
}

/** What an answer says besides its blocks. */
export type Answer =
  | { readonly failure: Failure }
  | {
    readonly width: number;
    readonly height: number;
    /** Of the blocks: pixels at these sizes. */
    readonly sizes: readonly number[];
    /** Whether a last block has the image. */
    readonly hasImage: boolean;
    readonly notes?: readonly string[];
    readonly facts?: unknown;
  };

/** The failure that an error is. */
export function failureOf(error: unknown): Failure {
  const { message } = error as Error;
  if (error instanceof UnreadableImageError) return { kind: "unreadable", reason: error.reason, message };
  return { kind: error instanceof RangeError ? "range" : "fault", message };
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const side = v.pipe(count, v.minValue(1), v.maxValue(2 ** 31));
const text = v.pipe(v.string(), v.maxLength(4096));
const reasons = ["not-an-image", "truncated", "too-large", "unsupported", "corrupt", "empty", "io"] as const;

const failureSchema = v.object({
  failure: v.object({
    kind: v.picklist(["unreadable", "range", "overload", "fault"]),
    reason: v.optional(v.picklist(reasons)),
    message: text,
  }),
});

const pixelsSchema = v.object({
  width: side,
  height: side,
  sizes: v.array(side),
  hasImage: v.boolean(),
  notes: v.optional(v.array(text)),
  facts: v.optional(imageFactsSchema),
});

/** What an answer to `request` holds: pixels and, if it has one, the image. Throws the error that the answer is. */
export function readAnswer(request: Request, { data, blocks }: Frame): Pixels {
  const failed = v.safeParse(failureSchema, data);
  if (failed.success) throw errorOf(failed.output.failure);
  const parsed = v.safeParse(pixelsSchema, data);
  if (!parsed.success) throw strange("expected an answer");
  const { width, height, sizes, hasImage, notes, facts } = parsed.output;
  const asked = request.op === "pixels" ? [...new Set(request.sizes)] : [];
  // Of several sizes, an image has pixels at the one at which it is judged.
  const wanted = asked.length < 2 ? asked : asked.filter((size) => size === sizes[0]);
  const isAnswer = String(sizes) === String(wanted) && (asked.length === 0) === (wanted.length === 0);
  if (!isAnswer || blocks.length !== wanted.length + Number(hasImage)) {
    throw strange(`expected pixels at ${asked.length > 1 ? "one of " : ""}the sizes ${asked}, got ${sizes}`);
  }
  if (width * height > request.maxPixels) throw strange(`${width}x${height} pixels are more than ${request.maxPixels}`);
  const bySize = new Map(wanted.map((size, i) => {
    if (blocks[i].length !== size * size * 12) throw strange(`${blocks[i].length} bytes for ${size}x${size} pixels`);
    return [size, new Float32Array(blocks[i].buffer)];
  }));
  const data8 = hasImage ? blocks.at(-1)! : undefined;
  if (data8 && data8.length !== width * height * 3) {
    throw strange(`${data8.length} bytes for ${width}x${height} pixels`);
  }
  const image: RgbImage | undefined = data8 && { width, height, data: data8 };
  return { width, height, bySize, ...notes && { notes }, ...facts && { facts }, ...image && { image } };
}

/** The error that a failure is to the one who asked. */
function errorOf({ kind, reason = "corrupt", message }: Failure): Error {
  if (kind === "unreadable") return new UnreadableImageError(reason, message);
  if (kind === "range") return new RangeError(message);
  return kind === "overload" ? new DecodeOverloadError(message) : new Error(message);
}

function strange(message: string): UnreadableImageError {
  return new UnreadableImageError("corrupt", `the decoder's answer makes no sense: ${message}`);
}
