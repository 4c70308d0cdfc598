/**
 * `deno task weights check` (`weights-check`): whether this installation would find its own images. It calls
 * generation/check/ and shows what it measured. A task of its own: it computes, and needs neither network nor writing.
 */
import {
  type CheckedVariant,
  checkSet,
  type CheckSetResult,
  type PlannedVariant,
} from "../generation/check/check_set.ts";
import { type ClassesFound, expectedOf, numberOf, titleOf } from "../generation/check/judge.ts";
import { maxSeed } from "../models/sampling.ts";
import { formatBytes } from "../util/bytes.ts";
import { anyText, listOf, real, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { interruptible } from "./cli/interrupt.ts";
import { jsonLines, models, networkOptions, seed } from "./cli/options.ts";
import { duration, type Progress } from "./cli/progress.ts";
import { textTable } from "./cli/table.ts";

export const command = defineCommand({
  name: "weights-check",
  about:
    "Says whether this installation would find its own images: draws a few with each variant of a set, finds their " +
    "tokens again, compares likelihoods and verdicts with what is known of the set. The cheapest variants come first.",
  usage: ["[options]"],
  options: {
    models,
    only: { value: "NAMES", many: true, type: listOf(anyText), help: "only these variants: rarb,var16", unset: "all" },
    each: {
      value: "N",
      type: whole(1, 1000),
      help: "images of each variant",
      unset: "2, and up to 16 while there is time",
    },
    minutes: {
      value: "N",
      type: real(0, 10_000),
      default: "10",
      help: "begin no variant that would take longer than this in all; the cheapest one is always tried",
    },
    seed: { ...seed, type: whole(0, maxSeed) },
    ...networkOptions,
    json: jsonLines("the result, as one object"),
  },
  notes:
    "deno task weights check does the same. Figures of a set are in figures.json in its folder; those that are published of the official networks, in " +
    "weights/official_figures.json. Ctrl-C ends the check and judges what is measured.",
  exitCodes: {
    2: "done: this installation would not find its own images",
    3: "done, but there are no figures to compare with",
    130: "interrupted",
  },
});

/** `rarb (0.4 TFLOP an image, about 20 s), ...`. */
function planText(plan: readonly PlannedVariant[]): string {
  return plan.map(({ variant, teraflop, seconds }) => {
    const time = seconds === undefined ? "" : `, about ${duration(seconds)}`;
    const [amount, unit] = teraflop < 0.1 ? [1000 * teraflop, "GFLOP"] : [teraflop, "TFLOP"];
    return `${variant} (${Number(amount.toPrecision(2))} ${unit} an image${time})`;
  }).join(", ");
}

function variantTable(variants: readonly CheckedVariant[]): string {
  const nats = (value: number | undefined) => value === undefined ? "-" : value.toFixed(2);
  return textTable(
    ["variant", "images", "tokens found", "QuantLoss", "nats drawn", "nats found", "margin", "class kept", "seconds"],
    variants.map(({ variant, images, tokensRecovered, quantLoss, drawnNats, foundNats, margin, classes, seconds }) => [
      variant,
      String(images),
      `${(100 * tokensRecovered).toFixed(1)} %`,
      quantLoss.toPrecision(3),
      ...[drawnNats, foundNats, margin].map(nats),
      classes === undefined ? "-" : `${classes.kept} of ${classes.images}`,
      seconds.toFixed(1),
    ]),
  );
}

/** What became of the classes of all images, beside chance; empty where none were inferred. */
function classesText(variants: readonly CheckedVariant[]): string {
  const found = variants.flatMap(({ classes }) => classes ?? []);
  if (found.length === 0) return "";
  const sum = (value: (of: ClassesFound) => number) => found.reduce((total, one) => total + value(one), 0);
  const images = sum((one) => one.images), chance = sum((one) => one.images * one.chance) / images;
  return `classes: the own one is kept in ${sum(({ kept }) => kept)} of ${images} images (by chance in ${
    (100 * chance).toPrecision(2)
  } %), and likeliest in ${sum(({ first }) => first)}; calibrate --budget keeps more, or fewer\n\n`;
}

function comparisonTable({ comparisons }: CheckSetResult): string {
  return textTable(
    ["compared", "images", "measured", "expected", ""],
    comparisons.map((row) => [
      titleOf(row),
      String(row.images),
      numberOf(row, row.measured),
      expectedOf(row),
      row.result === "shown" ? row.reason ?? "no range" : row.decides ? row.result : `${row.result} (decides nothing)`,
    ]),
  ) + [...new Set(comparisons.map(({ source }) => source))].map((source) => `source: ${source}\n`).join("");
}

function show(result: CheckSetResult, progress: Progress): void {
  progress.print(variantTable(result.variants) + "\n" + classesText(result.variants));
  if (result.comparisons.length > 0) progress.print(comparisonTable(result) + "\n");
  progress.print(result.summary + "\n");
}

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const { json, only, ...options } = values;
  const signal = interruptible(progress);
  const result = await checkSet({ ...options, only: only?.flat(), signal }, {
    ...progress.events,
    onPlan: (plan) => progress.note(`plan, at most ${options.minutes} minutes: ${planText(plan)}`),
    onVariant: ({ variant, images, seconds }) =>
      progress.note(`${variant}: ${images} ${images === 1 ? "image" : "images"} in ${duration(seconds)}`),
  });
  if (json) progress.print(JSON.stringify(result) + "\n");
  else show(result, progress);
  const { left, seconds, devicePeakBytes, device } = result;
  if (left.length > 0 && result.status === "done") {
    progress.note(`no time was left for ${left.join(", ")}; --minutes gives more`);
  }
  progress.note(`${duration(seconds)} on ${device}, at most ${formatBytes(devicePeakBytes)} of its memory`);
  if (result.status === "interrupted") return 130;
  return { good: 0, bad: 2, unknown: 3 }[result.result];
}

if (import.meta.main) await runTask(command, main);
