/**
 * Results as a table for people and as JSON for machines.
 * The JSON describes the machine only by what `--machine`, the engine and the device say: no host names, no paths.
 */
import type { DeviceInfo } from "../core/tensor/mod.ts";
import type { Measured } from "./measure.ts";
import { table } from "./table.ts";
import type { Verdict } from "./targets.ts";

/** What a file of results says of the run: date, versions and machine. `versions` are added to those of the engine. */
export function reportHead(versions: Record<string, string> = {}) {
  return {
    format: 1,
    date: new Date().toISOString(),
    machine: `${navigator.hardwareConcurrency} processors, ${Deno.build.os} ${Deno.build.arch}`,
    versions: { deno: Deno.version.deno, v8: Deno.version.v8, ...versions },
  };
}

export interface Failure {
  readonly name: string;
  readonly error: string;
}

export interface DeviceResults {
  readonly device: Pick<DeviceInfo, "kind" | "name" | "software" | "maxTensorBytes">;
  readonly results: readonly Measured[];
  readonly failures: readonly Failure[];
  readonly verdicts: readonly Verdict[];
}

export interface Report {
  readonly format: 1;
  /** ISO date and time, UTC. */
  readonly date: string;
  readonly versions: Record<string, string>;
  readonly system: string;
  readonly machine: string;
  readonly settings: Record<string, unknown>;
  readonly devices: readonly DeviceResults[];
}

/** Seconds as text with three digits that count. */
export function formatSeconds(seconds: number): string {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toPrecision(3)} ms`;
  return `${(seconds * 1e6).toPrecision(3)} us`;
}

export function formatMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 100 * 2 ** 20 ? 1 : 0)} MiB`;
}

/**
 * The columns of a case; names of rivals come in the order of `rivals`. With a peak the share of it comes before them.
 */
function resultRow(measured: Measured, rivals: readonly string[], peakTflops?: number): string[] {
  const { name, seconds, flops, gflops, imagesPerSecond, devicePeakBytes, rssBytes } = measured;
  return [
    name,
    (flops / 1e9).toFixed(flops < 1e9 ? 3 : 1),
    formatSeconds(seconds.median),
    formatSeconds(seconds.best),
    `${seconds.samples.length}`,
    gflops.toFixed(1),
    imagesPerSecond === null ? "" : imagesPerSecond.toPrecision(3),
    formatMiB(devicePeakBytes),
    formatMiB(rssBytes),
    measured.processors.toFixed(1),
    ...peakTflops === undefined ? [] : [`${(gflops / peakTflops / 10).toFixed(1)} %`],
    ...rivals.flatMap((rival) => {
      const timing = measured.rivals.find(({ name }) => name === rival);
      return timing ? [formatSeconds(timing.median), `${timing.ratio.toFixed(2)}x`] : ["", ""];
    }),
  ];
}

export function resultTable(results: readonly Measured[], rivals: readonly string[], peakTflops?: number): string {
  const head = ["case", "GFLOP", "median", "best", "n", "GFLOP/s", "images/s", "peak", "rss", "cpus"];
  if (peakTflops !== undefined) head.push("of peak");
  return table([
    [...head, ...rivals.flatMap((name) => [name, "ratio"])],
    ...results.map((measured) => resultRow(measured, rivals, peakTflops)),
  ]);
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  return table([
    ["target", "what", "median", "best", "wanted", ""],
    ...verdicts.map(({ case: name, what, value, best, wanted, met }) => [
      name,
      what,
      value.toFixed(2),
      best.toFixed(2),
      wanted,
      met ? "met" : "MISSED",
    ]),
  ]);
}
