/**
 * A run that measures images without deciding: the signals of all tokenizers and, on request, the likelihoods of all
 * transformers. Calibration, robustness, baselines and the table of features build on it.
 */
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { isUnreadable, type MeasuredLine, type MeasurementLine, type Settings } from "../evidence/evidence.ts";
import type { ImageInput } from "../images/load.ts";
import { measure, type Wants } from "./pipeline.ts";
import { type Measuring, openRun, type RunEvents, type RunOptions } from "./open_run.ts";

/** What is measured, and where. */
export interface MeasuringOptions extends RunOptions, Measuring {
  /** By content, the families whose variants score an image, where transformers run. Default: all. */
  readonly wanted?: (sha256: string) => readonly FamilyName[];
}

/** Progress of a run that measures. */
export interface MeasuringEvents extends RunEvents {
  /** Called for every image when its line is complete, in the order of the images. */
  readonly onLine?: (line: MeasurementLine, index: number) => void;
}

/** What summary.json holds. */
export interface MeasuringSummary {
  readonly status: "done" | "interrupted" | "failed";
  /** Numbers of images. For `computed` of the `measured` ones a network had to run; the others were in the journal. */
  readonly images: {
    readonly total: number;
    readonly measured: number;
    readonly unreadable: number;
    readonly computed: number;
    /** Images with rows in the journal that did not match their checksums, measured again. Absent for none. */
    readonly damaged?: number;
  };
  readonly modelSet: string;
  readonly settings: Settings;
  /** Name of the device; null where everything was recalled, and none was opened. */
  readonly device: string | null;
  readonly started: string;
}

/**
 * Measures images in their order, and returns how many. Lines go to `onLine` and to the report. Throws before any
 * network runs when memory, weights or files do not fit.
 */
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
  const summary = (status: MeasuringSummary["status"]): MeasuringSummary => {
    const { recalled: _, ...counts } = run.counts;
    return {
      status,
      images: { total: images.length, measured, unreadable, ...counts },
      modelSet: set.hash,
      settings: run.settings,
      device: run.opened.device?.info.name ?? null,
      started,
    };
  };
  await run.begin({ images });
  events.onStart?.(images.length);
  try {
    const { scoring, wanted = () => set.families } = options;
    const wants: Wants = (_families, _facts, sha256) => scoring === undefined ? [] : wanted(sha256);
    for await (const line of run.lines(images, (inputs) => measure(inputs, wants, run.measuring))) {
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

/** Measures images and returns their lines, one per image; undefined for images that could not be measured. */
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
