/**
 * Estimates the latent statistics of inverse decoders that others trained, whose files have none: the quantiser needs them
 * (docs/quantisation.md). The true tokens of an image are not known, but those of its twin are: the tokens that are found
 * are decoded, and the twin is encoded again. Its error is known exactly, and is of the size and the kind of the image's.
 * With these statistics tokens are found again, better ones, whose twins give the statistics that are kept.
 */
import { openDevice } from "../../core/open_device.ts";
import { affine, clamp, type Device, floor, fromArray, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer } from "../../models/family.ts";
import type { LatentStatistics } from "../../models/latent_statistics.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { latentsOf, type StoredLatents, storeLatents } from "../decision/latents.ts";
import { UnreadableImageError } from "../images/decode.ts";
import { type ImageDecoder, openDecoder } from "../images/decoder/mod.ts";
import type { LabelledImage } from "../images/labelled.ts";
import { readContent, toValueRange } from "../images/load.ts";
import type { Labels } from "../labels.ts";
import { openQuantizer, type QuantizerName } from "../quantisation/quantizers.ts";
import { leastMemory, planMemory } from "../run/memory_plan.ts";
import { usualMemoryLimit } from "../run/memory_limit.ts";
import type { RunOptions } from "../run/open_run.ts";
import { LatentMeter } from "../signals/latent_meter.ts";
import { invert } from "../signals/reconstruction.ts";

/** Images of a family that are used; more change little. */
export const mostImages = 48;

/** How statistics are estimated. */
export interface EstimateOptions extends
  Pick<
    RunOptions,
    "device" | "threads" | "memoryBytes" | "weightType" | "maxBatch" | "maxPixels" | "signal"
  > {
  readonly quantization: QuantizerName;
  /** Called with a fact that the user should know. */
  readonly onNote?: (text: string) => void;
  /** Called before each step, with a description. */
  readonly onPrepare?: (text: string) => void;
}

/** The same on an open device. */
type Estimating = Omit<EstimateOptions, "device"> & { readonly device: Device };

/**
 * Estimates the statistics of every family whose encoder is an inverse decoder without them, from its labelled images, and
 * supplies them to the set. Returns what a calibration file keeps; undefined when no family needs them, or when the signal
 * is aborted.
 */
export async function estimateLatents(
  set: ModelSet,
  images: readonly LabelledImage[],
  labels: Labels,
  options: EstimateOptions,
): Promise<StoredLatents | undefined> {
  const lacking: FamilyName[] = [];
  for (const family of set.families) if (await set.lacksLatents(family)) lacking.push(family);
  if (lacking.length === 0 || options.quantization === "greedy") return undefined;
  try {
    return await estimateAll(set, lacking, images, labels, options);
  } catch (error) {
    if (options.signal?.aborted && error === options.signal.reason) return undefined;
    throw error;
  }
}

async function estimateAll(
  set: ModelSet,
  lacking: readonly FamilyName[],
  images: readonly LabelledImage[],
  labels: Labels,
  options: EstimateOptions,
): Promise<StoredLatents | undefined> {
  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  const decoder = cleanup.use(openDecoder());
  const stored: StoredLatents = {};
  for (const family of lacking) {
    const own = evenly(images.filter(({ label }) => labels.familyOf(label) === family), mostImages);
    const pixels = await readPixels(own, set.tokenizerFacts(family).imageSize, decoder, options);
    if (pixels.length === 0) continue;
    const found = await estimateFamily(set, family, pixels, { ...options, device });
    if (found === undefined) continue;
    stored[family] = storeLatents(found, pixels.length);
  }
  const latents = Object.keys(stored).length === 0 ? undefined : stored;
  const supplied = await latentsOf(latents);
  if (supplied !== undefined) set.supplyLatents(supplied.byFamily, supplied.id);
  return latents;
}

/** The statistics of one family; undefined, with a note, where its encoder is no inverse of the decoder. */
async function estimateFamily(
  set: ModelSet,
  family: FamilyName,
  pixels: readonly Float32Array[],
  options: Estimating,
): Promise<LatentStatistics | undefined> {
  const { onNote, onPrepare } = options;
  onPrepare?.(`estimating the noise of the ${family} encoder from ${pixels.length} images`);
  const first = await measureTwins(set, family, pixels, options);
  const { refined, plain } = first.errors;
  if (refined >= plain) {
    onNote?.(
      `the ${family} encoder has no statistics of its noise, and is no inverse of the decoder as far as ` +
        `${pixels.length} images tell (an error of ${show(refined)} after a step towards it, ${show(plain)} before): ` +
        "tokens are found without",
    );
    return undefined;
  }
  set.supplyLatents({ [family]: first.statistics({ shrink: true }) }, "estimating");
  onPrepare?.(`estimating the noise of the ${family} encoder again, with the tokens that its first estimate finds`);
  const second = await measureTwins(set, family, pixels, options);
  onNote?.(
    `the ${family} encoder has no statistics of its noise: estimated from ${pixels.length} images of train ` +
      `(an error of ${show(Math.sqrt(second.errors.refined))} per value)`,
  );
  return second.statistics({ shrink: true });
}

/** Measures the twins of images: what the decoder makes of the tokens that are found in them. */
async function measureTwins(
  set: ModelSet,
  family: FamilyName,
  pixels: readonly Float32Array[],
  options: Estimating,
): Promise<LatentMeter> {
  const { device, weightType, quantization, signal } = options;
  const batch = await batchOf(set, family, options);
  const tokenizer = await set.loadTokenizer(device, family, { weightType });
  try {
    const quantizer = await openQuantizer(quantization, tokenizer);
    try {
      const meter = new LatentMeter(tokenizer);
      for (let at = 0; at < pixels.length; at += batch) {
        signal?.throwIfAborted();
        const some = pixels.slice(at, at + batch);
        const { imageSize: size, tokenCount } = tokenizer;
        const values = toValueRange(some, tokenizer.valueRange);
        const { tokens, target, twins } = scope(() => {
          const images = fromArray(device, values, [some.length, size, size, 3]);
          const { tokens } = quantizer.quantize(invert(tokenizer, images, true).latent);
          const target = tokenizer.dequantize(tokens);
          return { tokens, target, twins: asBytes(tokenizer, target) };
        });
        const ids = await tokens.ints();
        await meter.add(
          twins,
          target,
          some.map((_, i) => ids.slice(i * tokenCount, (i + 1) * tokenCount)),
        );
        for (const tensor of [tokens, target, twins]) tensor.dispose();
      }
      return meter;
    } finally {
      quantizer.dispose();
    }
  } finally {
    tokenizer.dispose();
  }
}

/** D(target) as an image file has it: clipped, and cut off to bytes as the official samplers do. */
function asBytes(tokenizer: ImageTokenizer, target: Tensor): Tensor {
  const [low, high] = tokenizer.valueRange;
  return scope(() => {
    const bytes = floor(clamp(affine(tokenizer.decode(target), 255 / (high - low), -low * 255 / (high - low)), 0, 255));
    return affine(bytes, (high - low) / 255, low);
  });
}

/** Images per pass, within the limit on memory. */
async function batchOf(
  set: ModelSet,
  family: FamilyName,
  { device, memoryBytes, weightType, quantization, maxBatch = 8 }: Estimating,
): Promise<number> {
  const planned = {
    networks: [{ family }],
    footprint: set.footprint.bind(set),
    tokenizerFacts: set.tokenizerFacts.bind(set),
  };
  const needs = { weightType, quantization, maxBatch };
  const limit = memoryBytes ?? await usualMemoryLimit(device, leastMemory(planned, device, needs));
  return planMemory(planned, device, { ...needs, memoryBytes: limit }).tokenizerBatch;
}

/** The pixels of images that can be read. */
async function readPixels(
  images: readonly LabelledImage[],
  size: number,
  decoder: ImageDecoder,
  { maxPixels, signal }: EstimateOptions,
): Promise<Float32Array[]> {
  const read: Float32Array[] = [];
  for (const image of images) {
    signal?.throwIfAborted();
    try {
      const { bytes } = await readContent(image, maxPixels);
      const { bySize } = await decoder.pixels(image, bytes, [size], maxPixels);
      read.push(bySize.get(size)!);
    } catch (error) {
      if (!(error instanceof UnreadableImageError)) throw error; // calibrate reports it
    }
  }
  return read;
}

/** At most `count` items, evenly spaced. */
function evenly<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.floor(i * items.length / count)]);
}

function show(value: number): string {
  return value.toPrecision(2);
}
