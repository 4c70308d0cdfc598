/**
 * Splits a form (multipart/form-data, RFC 7578) into its files. `Response.formData()` has no limits: it works for 10 to 20
 * seconds on a body of 30 MB with half a million parts, and nothing else has its turn. Here the number of parts and their
 * headers are bounded, and a long search pauses. npm's @fastify/busboy has limits, too, but never ends for a part whose
 * header does not.
 */
import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import { HttpError } from "./errors.ts";

export interface FormFile {
  /** The name that the client gives, at most 255 characters. */
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Parts of a form that are not files; they are not used. */
export const maxOtherParts = 64;
/** Bytes of a part's header lines together. */
export const maxPartHeader = 4096;
/** Bytes that are searched before others have their turn, about two milliseconds' work. */
const windowBytes = 2 ** 18;

/** Throws HttpError: 400 for what is no form or has no files, 413 for more files or other parts than are allowed. */
export async function splitForm(
  type: string,
  body: Uint8Array<ArrayBuffer>,
  maxFiles: number,
): Promise<FormFile[]> {
  const reader = new FormReader(body, boundaryOf(type));
  const files: FormFile[] = [];
  let others = 0;
  for (let part = await reader.first(); part !== undefined; part = await reader.next()) {
    const name = fileName(part.header);
    if (name === undefined) {
      if (++others <= maxOtherParts) continue;
      throw new HttpError(413, "too-many-parts", `expected at most ${maxOtherParts} parts besides images, got more`);
    }
    if (files.length === maxFiles) {
      throw new HttpError(413, "too-many-images", `expected at most ${maxFiles} images, got more`);
    }
    files.push({ name: name.slice(0, 255), bytes: body.slice(part.start, part.end) });
  }
  if (files.length === 0) {
    throw new HttpError(400, "no-images", "expected at least one file in the multipart body, got none");
  }
  return files;
}

/** A part: its header lines, and where its content starts and ends in the body. */
interface Part {
  readonly header: string;
  readonly start: number;
  readonly end: number;
}

/** Finds one part after the other. Throws a 400 for what is not well-formed. */
class FormReader {
  readonly #body: Buffer;
  readonly #delimiter: Buffer;
  /** After the last delimiter. */
  #at = 0;

  constructor(body: Uint8Array<ArrayBuffer>, boundary: string) {
    this.#body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  }

  async first(): Promise<Part | undefined> {
    const opening = this.#delimiter.subarray(2);
    const isFirst = this.#body.subarray(0, opening.length).equals(opening);
    // Anything before the first delimiter is not part of the form.
    this.#at = isFirst ? opening.length : await this.#find(0) + this.#delimiter.length;
    return await this.next();
  }

  /** Undefined after the delimiter that ends the form. */
  async next(): Promise<Part | undefined> {
    const text = this.#body.toString("latin1", this.#at, this.#at + maxPartHeader + 4);
    if (text.startsWith("--")) return undefined;
    const lines = /^[ \t]*\r\n((?:[^]*?\r\n)??)\r\n/.exec(text);
    if (lines === null) throw malformed(`expected headers of at most ${maxPartHeader} bytes in every part`);
    const start = this.#at + lines[0].length;
    const end = await this.#find(start);
    this.#at = end + this.#delimiter.length;
    return { header: Buffer.from(lines[1], "latin1").toString("utf8"), start, end };
  }

  /** Where the next delimiter begins. */
  async #find(from: number): Promise<number> {
    const body = this.#body, delimiter = this.#delimiter;
    for (let at = from; at < body.length; at += windowBytes) {
      const found = body.subarray(at, at + windowBytes + delimiter.length - 1).indexOf(delimiter);
      if (found >= 0) return at + found;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw malformed("it ends before its last boundary");
  }
}

/** The boundary that a content type names, of at most 70 characters (RFC 2046). */
function boundaryOf(type: string): string {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70})(?=[\s;]|$))/i.exec(type) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw malformed("its header names no boundary of 1 to 70 characters");
  return boundary;
}

/** The file name in the header lines of a part; undefined for a part that is not a file. */
function fileName(header: string): string | undefined {
  const disposition = /^content-disposition:(.*)$/im.exec(header)?.[1] ?? "";
  const match = /;\s*filename=(?:"((?:\\.|[^"\\])*)"|([^\s;"]*))/i.exec(disposition);
  return match?.[1]?.replace(/\\(["\\])/g, "$1") ?? match?.[2];
}

function malformed(why: string): HttpError {
  return new HttpError(
    400,
    "malformed-multipart",
    `the body is not the multipart/form-data that its header says: ${why}`,
  );
}
