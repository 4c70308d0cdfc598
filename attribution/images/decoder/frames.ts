/**
 * Messages over pipes: JSON and blocks of bytes. A message is four bytes of magic, the length of the JSON, the number of
 * blocks and the length of each, as little-endian numbers of 32 bits, then the JSON, then the blocks.
 */

/** A message. */
export interface Frame {
  /** What JSON.parse() gives. A reader checks it. */
  readonly data: unknown;
  readonly blocks: readonly Uint8Array<ArrayBuffer>[];
}

const magic = 0x4454_4d31; // "1MTD"
/** More would be a mistake of the writer, or a writer that is not to be trusted. */
const maxJson = 4 * 2 ** 20, maxBlocks = 16;

/** Writes one message. Calls must not overlap. */
export async function writeFrame(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  { data, blocks }: Frame,
): Promise<void> {
  const json = new TextEncoder().encode(JSON.stringify(data));
  if (json.length > maxJson || blocks.length > maxBlocks) {
    throw new RangeError(`writeFrame: expected at most ${maxJson} bytes and ${maxBlocks} blocks`);
  }
  const head = new Uint32Array([magic, json.length, blocks.length, ...blocks.map(({ length }) => length)]);
  const start = new Uint8Array(head.byteLength + json.length);
  start.set(new Uint8Array(head.buffer));
  start.set(json, head.byteLength);
  await writer.write(start);
  for (const block of blocks) if (block.length > 0) await writer.write(block);
}

/**
 * Yields messages until the stream ends. Throws RangeError for bytes that are no message, and for messages whose blocks
 * have more than `maxBytes` in all; a stream that ends within a message ends without it.
 */
export async function* readFrames(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Frame, void, void> {
  const source = new Source(stream.getReader());
  for (;;) {
    const head = await source.numbers(3);
    if (head === undefined) return;
    const [first, jsonLength, count] = head;
    if (first !== magic || jsonLength > maxJson || count > maxBlocks) {
      throw new RangeError("readFrames: expected a message, got other bytes");
    }
    const lengths = await source.numbers(count);
    const total = lengths?.reduce((sum, length) => sum + length, 0) ?? 0;
    if (total > maxBytes) throw new RangeError(`readFrames: expected at most ${maxBytes} bytes, got ${total}`);
    const json = await source.take(jsonLength);
    const blocks: Uint8Array<ArrayBuffer>[] = [];
    for (const length of lengths ?? []) {
      const block = await source.take(length);
      if (block !== undefined) blocks.push(block);
    }
    if (json === undefined || blocks.length < count) return;
    yield { data: JSON.parse(new TextDecoder().decode(json)), blocks };
  }
}

/** Takes given numbers of bytes from a stream, whatever pieces it comes in. */
class Source {
  #rest: Uint8Array = new Uint8Array();

  constructor(readonly reader: ReadableStreamDefaultReader<Uint8Array>) {}

  /** The next `length` bytes, in memory of their own; undefined if the stream ends before. */
  async take(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      if (this.#rest.length === 0) {
        const { done, value } = await this.reader.read();
        if (done) return undefined;
        this.#rest = value;
      }
      const piece = this.#rest.subarray(0, length - at);
      bytes.set(piece, at);
      at += piece.length;
      this.#rest = this.#rest.subarray(piece.length);
    }
    return bytes;
  }

  async numbers(count: number): Promise<Uint32Array | undefined> {
    const bytes = await this.take(4 * count);
    return bytes && new Uint32Array(bytes.buffer);
  }
}
