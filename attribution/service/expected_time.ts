/**
 * How long an image takes on a device, before any has been attributed, and the limits of time that follow. Tokenizers are
 * timed while the server warms up; transformers, whose first image may take minutes, are counted and divided by what the
 * device makes of a product of their size.
 */
import { type Device, disposeAll, linear, packWeight, randomUniform, scope } from "../../core/tensor/mod.ts";

/** Rows and columns of the product that is timed: those of a transformer of middle size. */
const timed = { rows: 512, width: 1024 };
/** Milliseconds for which it is repeated. */
const spanMs = 50;

/** Operations per second of the device in products, measured for a moment. */
export async function productRate(device: Device): Promise<number> {
  const { rows, width } = timed;
  const [x, weight] = scope(() => [
    randomUniform(device, [rows, width], 1),
    packWeight(randomUniform(device, [width, width], 2), "linear"),
  ]);
  try {
    const repeat = async (times: number) => {
      const start = performance.now();
      for (let i = 0; i < times; i++) linear(x, weight).dispose();
      await device.sync();
      return (performance.now() - start) / 1000;
    };
    await repeat(1); // builds the kernel
    const once = await repeat(1);
    const times = Math.min(1000, Math.max(1, Math.round(spanMs / 1000 / once)));
    return 2 * rows * width * width * times / await repeat(times);
  } finally {
    disposeAll([x, weight]);
  }
}

/** Limits of time that fit what an image takes. */
export interface TimeLimits {
  /** Of a request, in milliseconds. */
  readonly deadlineMs: number;
  /** Of a batch, in milliseconds. */
  readonly batchMs: number;
  /** Largest number of images in a batch. */
  readonly maxBatch: number;
  /** What the operator should know; undefined where all is well. */
  readonly caution?: string;
}

/** What a request and a batch may take where an image takes no time at all, in milliseconds. */
const usual = { deadlineMs: 30_000, batchMs: 300_000 };

/** Time is estimated, and a request may come while a batch runs: this many times what an image takes. */
const patience = 4;

/** Longer deadlines are of no use to anybody over HTTP, in milliseconds. */
const longest = 3_600_000;

/**
 * Limits for a device on which an image takes `seconds`. What the operator has set stays. A batch is no larger than that it
 * is done within half of a deadline.
 */
export function timeLimits(
  seconds: number,
  given: { readonly deadlineMs?: number; readonly batchMs?: number; readonly maxBatch: number },
): TimeLimits {
  const image = 1000 * seconds;
  const wanted = Math.max(usual.deadlineMs, Math.ceil(patience * image));
  const deadlineMs = given.deadlineMs ?? Math.min(longest, wanted);
  const maxBatch = Math.max(1, Math.min(given.maxBatch, Math.floor(deadlineMs / 2 / Math.max(image, 1))));
  const batchMs = given.batchMs ?? Math.max(usual.batchMs, Math.ceil(patience * image * maxBatch));
  const isTooSlow = image > deadlineMs || image > batchMs;
  if (!isTooSlow && wanted === usual.deadlineMs) return { deadlineMs, batchMs, maxBatch };
  const about = `an image is expected to take about ${inWords(seconds)} on this device`;
  const help = "a GPU, --method perplexity or two-stage, --search off, or a set of fewer variants make it quicker";
  return {
    ...{ deadlineMs, batchMs, maxBatch },
    caution: isTooSlow
      ? `${about}, which is longer than requests (--deadline-ms ${deadlineMs}) or batches (--batch-ms ${batchMs}) may: ` +
        `most will be answered with 504; ${help}`
      : `${about}; requests get ${inWords(deadlineMs / 1000)} (--deadline-ms); ${help}`,
  };
}

function inWords(seconds: number): string {
  return seconds < 120 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}
