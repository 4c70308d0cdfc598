/**
 * A run that measures images and decides nothing: signals of both tokenizers and, where they are asked for, what all
 * transformers say of the tokens. Calibration, robustness, baselines and the table of features are made of it.
 */
import type { ModelSet } from "../../models/model_set.ts";
import { isUnreadable, type MeasuredLine, type MeasurementLine, type Settings } from "../evidence/evidence.ts";
import type { ImageInput } from "../images/load.ts";
import { measure } from "./pipeline.ts";
import { type Measuring, openRun, type RunEvents, type RunOptions } from "./open_run.ts";

export type MeasuringOptions = RunOptions & Measuring;

export interface MeasuringEvents extends RunEvents {
  /** An image is done; lines come in the order of the images. */
  readonly onLine?: (line: MeasurementLine, index: number) => void;
}

/** What summary.json holds. */
export interface MeasuringSummary {
  readonly status: "done" | "interrupted" | "failed";
  /** `computed`: those of `measured` for which a network had to run; the others were in the journal. */
  readonly images: {
    readonly total: number;
    readonly measured: number;
    readonly unreadable: number;
    readonly computed: number;
  };
  readonly modelSet: string;
  readonly settings: Settings;
  readonly device: string;
  readonly started: string;
}

/** Measures images in their order. Throws before any work when memory, weights or files do not allow it. */
export async function measureImages(
  set: ModelSet,
  images: readonly ImageInput[],
  options: MeasuringOptions,
  events: MeasuringEvents = {},
): Promise<MeasuringSummary> {
  await using cleanup = new AsyncDisposableStack();
  const run = await openRun(set, options, options, events, cleanup);
  let measured = 0, unreadable = 0;
  const started = new Date().toISOString();
  const summary = (status: MeasuringSummary["status"]): MeasuringSummary => ({
    status,
    images: { total: images.length, measured, unreadable, computed: run.counts.computed },
    modelSet: set.hash,
    settings: run.settings,
    device: run.device.info.name,
    started,
  });
  events.onStart?.(images.length);
  try {
    const wanted = options.scoring === undefined ? [] : set.families;
    for await (const line of run.lines(images, (own) => measure(own, () => wanted, run.measuring))) {
      events.onLine?.(line, measured + unreadable);
      if (isUnreadable(line)) unreadable++;
      else measured++;
    }
  } catch (error) {
    await run.report?.finish(summary("failed"));
    throw error;
  }
  const result = summary(measured + unreadable === images.length ? "done" : "interrupted");
  await run.report?.finish(result);
  return result;
}

/** Measures and gathers what could be measured, with the place of its image; undefined for the others. */
export async function gatherLines(
  set: ModelSet,
  images: readonly ImageInput[],
  options: MeasuringOptions,
  events: MeasuringEvents = {},
): Promise<{ summary: MeasuringSummary; lines: readonly (MeasuredLine | undefined)[] }> {
  const lines: (MeasuredLine | undefined)[] = images.map(() => undefined);
  const summary = await measureImages(set, images, options, {
    ...events,
    onLine: (line, index) => {
      if (!isUnreadable(line)) lines[index] = line;
      events.onLine?.(line, index);
    },
  });
  return { summary, lines };
}
