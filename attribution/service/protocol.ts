/** What the server and the worker that has the device say to each other. Types only. */
import type { DecodedImage, MappedTracerOptions, MappedVerdict, ServedInfo } from "./mapped_tracer.ts";

/** To the worker that has the device; one batch at a time. */
export type ToDevice =
  | { readonly type: "open"; readonly options: MappedTracerOptions }
  | { readonly type: "attribute"; readonly id: number; readonly images: readonly DecodedImage[] };

export interface DeviceUse {
  readonly liveBytes: number;
  readonly pooledBytes: number;
  readonly peakBytes: number;
  /** Of the worker's own objects. */
  readonly heapBytes: number;
  readonly loaded: readonly string[];
}

export type FromDevice =
  | { readonly type: "note"; readonly text: string }
  | {
    readonly type: "opened";
    readonly info: ServedInfo;
    readonly use: DeviceUse;
    /** What an image that every family might have made is expected to take. */
    readonly secondsPerImage: number;
  }
  /** Nothing will come of this worker: the weights are wrong, or there is no device. */
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "progress"; readonly id: number; readonly done: number }
  | {
    readonly type: "result";
    readonly id: number;
    readonly results: readonly MappedVerdict[];
    readonly seconds: number;
    readonly use: DeviceUse;
  }
  | { readonly type: "error"; readonly id: number; readonly message: string };
