/** Answers one question in the decoder process: all parsing of files happens below this function. */
import { imageNotes } from "../decode.ts";
import { decodePixels, type ImageInput, type Pixels, pixelsOf, storedImage } from "../load.ts";
import type { Frame } from "./frames.ts";
import { type Answer, failureOf, type Request } from "./messages.ts";

/** A PNG of one grey pixel. */
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

/** Loads the decoders, which the first image would have to wait for. */
export async function warmUp(): Promise<void> {
  const pixel = Uint8Array.from(atob(onePixel), (c) => c.charCodeAt(0));
  await answer({ op: "pixels", sizes: [1], maxPixels: 1 }, pixel);
}

/** The answer to a question. Never rejects: errors are answers. */
export async function answer(request: Request, block: Uint8Array<ArrayBuffer>): Promise<Frame & { data: Answer }> {
  try {
    const { width, height, bySize, notes, facts, image } = await pixels(request, block);
    const blocks = [...bySize.values()].map((values) => new Uint8Array(values.buffer as ArrayBuffer));
    if (image !== undefined) blocks.push(image.data as Uint8Array<ArrayBuffer>);
    const data = { width, height, sizes: [...bySize.keys()], hasImage: image !== undefined, notes, facts };
    return { data, blocks };
  } catch (error) {
    return { data: { failure: failureOf(error) }, blocks: [] };
  }
}

async function pixels(request: Request, block: Uint8Array<ArrayBuffer>): Promise<Pixels> {
  const { op, image, edits, pose, augmentation, sizes, maxPixels, keepImage } = request;
  if (op === "notes") return { width: 1, height: 1, bySize: new Map(), notes: imageNotes(block) };
  const bytes = image === undefined ? block : undefined;
  const input: ImageInput = {
    imageName: "image",
    image: image && { ...image, data: block },
    edits,
    pose,
    augmentation,
  };
  if (op === "stored") {
    const { image: stored } = await storedImage(input, bytes, maxPixels);
    return { width: stored.width, height: stored.height, bySize: new Map(), image: stored };
  }
  if (keepImage && bytes !== undefined) return await decodePixels(bytes, sizes, maxPixels);
  return await pixelsOf(input, bytes, sizes, maxPixels);
}
