/**
 * Crops as tokens: every crop and its mirror image through a finished tokenizer once, kept in a file for all
 * transformers. Transformers never see pixels; what a batch is made of is in transformers.ts.
 */
import { type Device, disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import { openSafetensors, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { sha256Hex } from "../util/hash.ts";
import { cropPixels, type Crops } from "./images.ts";

/** Tokens of a set of crops. */
export interface TokenSet {
  readonly count: number;
  readonly tokenCount: number;
  /** [2, count, tokenCount]: the crops, then their mirror images. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Class of each crop. */
  readonly classes: Uint8Array;
  /** Identifies crops and tokenizer. */
  readonly fingerprint: string;
}

/** Images encoded at a time. */
const batchSize = 64;

/** What tokens were made of: sha256 of the crops' pixels, of their classes and of the tokenizer's file. */
export async function tokensFingerprint(crops: Crops, tokenizerSha256: string): Promise<string> {
  const classes = await sha256Hex(Uint8Array.from(crops.classes));
  return `crops ${crops.fingerprint}, classes ${classes.slice(0, 16)}, tokenizer ${tokenizerSha256}`;
}

/** Encodes and quantises all crops. */
export async function tokenise(
  device: Device,
  tokenizer: ImageTokenizer,
  crops: Crops,
  tokenizerSha256: string,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<TokenSet> {
  const { count, side } = crops;
  const { tokenCount, imageSize, valueRange: [low, high] } = tokenizer;
  if (side !== imageSize) throw new Error(`tokenise: expected crops of ${imageSize} pixels, got ${side}`);
  const tokens = new Int32Array(2 * count * tokenCount);
  for (let start = 0; start < 2 * count; start += batchSize) {
    const n = Math.min(batchSize, 2 * count - start);
    const indices = Array.from({ length: n }, (_, i) => (start + i) % count);
    const pixels = cropPixels(crops, indices, (i) => start + i >= count);
    const chosen = scope(() => {
      const images = fromArray(device, pixels.map((v) => v * (high - low) + low), [n, side, side, 3]);
      return tokenizer.quantize(tokenizer.encode(images)).tokens;
    });
    tokens.set(await chosen.ints(), start * tokenCount);
    disposeAll(chosen);
    onProgress(start + n, 2 * count);
  }
  const fingerprint = await tokensFingerprint(crops, tokenizerSha256);
  return { count, tokenCount, tokens, classes: crops.classes, fingerprint };
}

/** Writes tokens; `readTokens` reads them. */
export async function writeTokens(path: string, set: TokenSet): Promise<void> {
  const { count, tokenCount, tokens, classes, fingerprint } = set;
  await writeSafetensors(path, [
    { name: "tokens", shape: [2, count, tokenCount], dtype: "i16", data: () => Int16Array.from(tokens) },
    { name: "classes", shape: [count], dtype: "u8", data: () => classes },
  ], { format: "model-tracer-tokens/1", fingerprint });
}

/** Reads tokens back. Throws when they were not made from what `fingerprint` says. */
export async function readTokens(path: string, fingerprint?: string): Promise<TokenSet> {
  const source = await openSafetensors(path);
  try {
    const written = source.metadata.get("fingerprint") ?? "";
    if (fingerprint !== undefined && written !== fingerprint) {
      throw new Error(`${path}: tokens expected of ${fingerprint}, got ${written} (remove the file to make it anew)`);
    }
    const shape = source.tensors.get("tokens")?.shape;
    if (shape?.length !== 3) throw new Error(`${path}: expected tokens [2, count, tokenCount]`);
    const tokens = await source.readI32("tokens"), classes = Uint8Array.from(await source.readI32("classes"));
    return { count: shape[1], tokenCount: shape[2], tokens, classes, fingerprint: written };
  } finally {
    source.close();
  }
}

/** Entropy in nats of the distribution of tokens `from` to `to` of every crop, as they are (not mirrored). */
export function unigramEntropy(set: TokenSet, codes: number, from = 0, to = set.tokenCount): number {
  const counts = new Float64Array(codes);
  for (let i = 0; i < set.count; i++) {
    for (let t = from; t < to; t++) counts[set.tokens[i * set.tokenCount + t]]++;
  }
  const total = set.count * (to - from);
  return counts.reduce((sum, n) => n === 0 ? sum : sum - n / total * Math.log(n / total), 0);
}
