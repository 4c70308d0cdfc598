/**
 * `deno task attribute <files or folders>`: which model generated each image.
 * Parses the command line, runs the job of attribution/run/attribute.ts and shows it; stdout has nothing but results.
 */
import { DEFAULT_MAX_PIXELS } from "../attribution/images/decode.ts";
import { conditionNames, type EvidenceLine, isUnreadable } from "../attribution/evidence/evidence.ts";
import { type JobOptions, runJob, type Summary } from "../attribution/run/attribute.ts";
import { parseShard } from "../attribution/run/journal/shards.ts";
import { journalIn } from "../attribution/run/report.ts";
import { strategies } from "../attribution/decision/calibration_file.ts";
import { type QuantizerName, quantizerNames } from "../attribution/quantisation/quantizers.ts";
import { type MethodName, methods } from "../attribution/decision/methods.ts";
import { byteSize, choice, number, parseOptions } from "./cli/args.ts";
import { interruptible } from "./cli/interrupt.ts";
import { interruptedNote, methodUsage } from "./cli/measuring.ts";
import { duration, Progress, writeStdout } from "./cli/progress.ts";
import { Score } from "./cli/score.ts";

const usage =
  `Says for each image which image-autoregressive model generated it, or that none of the known ones did (outlier).

usage: deno task attribute <files or folders>... [options]

  --models DIR        set of weights (default weights/official where it is complete, else weights/tiny)
  --out FILE          table of labels, image_name,label (default submission.csv)
  --labels FILE       table of true labels, image_name,label: says at the end how many verdicts agree
  --report DIR        evidence.jsonl, a line per image, and summary.json
  --journal FILE      keep all that is measured in this file and compute only what it lacks, whichever task measured it
                      (default: journal.sqlite in the report's folder, if there is one): a run that was killed goes on
  --shard I/N         only the images of this shard, by content (needs --journal; deno task journal merge joins shards)
  --resume            goes without saying: what the journal has is always used
  --method NAME       how to decide (default joint where the calibration has its classifiers, else perplexity):
${methodUsage(methods)}
  --outlier-prior P   joint: the share of outliers that is expected (default 0.2)
  --threshold NAME    quantile, gaussian or roc: which of the calibration's thresholds decide (default: its own choice)
  --quantization NAME ${quantizerNames.join(", ")}: how VAR's tokens are found (default: as the set was calibrated)
  --condition NAME    none, given or infer: the class under which tokens are scored (default: what the method is made for)
  --classes FILE      table of classes, image_name,class; implies --condition given
  --unsure-below P    mark verdicts of lower confidence as unsure (0 to 1, default 0; the table keeps the best label)
  --device NAME       auto, cpu or webgpu (default auto: a hardware adapter, else the processor)
  --threads N         CPU threads (default: all)
  --memory SIZE       limit for weights and activations on the device (default: three quarters of the free memory, at
                      most 8GiB; 4GiB on a hardware adapter)
  --weight-type TYPE  f32, or f16 for half the memory (default f32)
  --limit N           only the first N images
  --max-pixels N      refuse larger images (default ${DEFAULT_MAX_PIXELS})
  --json              one JSON line per image, with its evidence, instead of text
  --help              this text

Images are PNG, JPEG or WebP. One that cannot be read gets the label "unreadable" and the run goes on.
Ctrl-C finishes the pass in progress and writes what is done; with --journal or --report the same command goes on from
there.
Exit code: 0 done, 1 usage or fatal error, 2 done but some images could not be read, 130 interrupted.`;

function jobOptions(
  args: readonly string[],
): { job: Omit<JobOptions, "signal">; json: boolean; labels?: string } | "help" {
  const { values, positionals } = parseOptions(args, {
    models: { type: "string" },
    out: { type: "string" },
    labels: { type: "string" },
    report: { type: "string" },
    resume: { type: "boolean", default: false },
    journal: { type: "string" },
    shard: { type: "string" },
    method: { type: "string" },
    "outlier-prior": { type: "string" },
    threshold: { type: "string" },
    quantization: { type: "string" },
    condition: { type: "string" },
    classes: { type: "string" },
    "unsure-below": { type: "string", default: "0" },
    device: { type: "string", default: "auto" },
    threads: { type: "string" },
    memory: { type: "string" },
    "weight-type": { type: "string", default: "f32" },
    limit: { type: "string" },
    "max-pixels": { type: "string", default: String(DEFAULT_MAX_PIXELS) },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) return "help";
  if (positionals.length === 0) throw new Error("expected image files or folders (--help)");
  if (values.resume && values.report === undefined && values.journal === undefined) {
    throw new Error("--resume: expects --report DIR, the folder that has the evidence, or --journal FILE");
  }
  const whole = (option: string, value: string | undefined, high?: number) =>
    value === undefined ? undefined : number(option, value, { low: 1, high, integer: true });
  return {
    json: values.json,
    labels: values.labels,
    job: {
      inputs: positionals,
      models: values.models,
      // A shard's table would be a part of one, under the name of the whole.
      out: values.out ?? (values.shard === undefined ? "submission.csv" : undefined),
      report: values.report,
      journal: values.journal,
      shard: values.shard === undefined ? undefined : parseShard("--shard", values.shard),
      method: values.method === undefined
        ? undefined
        : choice<MethodName>("--method", values.method, Object.keys(methods)),
      rules: {
        threshold: values.threshold === undefined ? undefined : choice("--threshold", values.threshold, strategies),
        outlierPrior: values["outlier-prior"] === undefined
          ? undefined
          : number("--outlier-prior", values["outlier-prior"], { low: 0, high: 1 }),
      },
      quantization: values.quantization === undefined
        ? undefined
        : choice<QuantizerName>("--quantization", values.quantization, quantizerNames),
      condition: values.condition === undefined ? undefined : choice("--condition", values.condition, conditionNames),
      classes: values.classes,
      unsureBelow: number("--unsure-below", values["unsure-below"], { low: 0, high: 1 }),
      device: choice("--device", values.device, ["auto", "cpu", "webgpu"]),
      threads: whole("--threads", values.threads),
      memoryBytes: values.memory === undefined ? undefined : byteSize("--memory", values.memory),
      weightType: choice("--weight-type", values["weight-type"], ["f32", "f16"]),
      limit: whole("--limit", values.limit),
      maxPixels: whole("--max-pixels", values["max-pixels"]),
    },
  };
}

/** A row for people: name, label, confidence, and both families' QuantLoss. */
function row(line: EvidenceLine): string {
  const name = line.image.padEnd(28);
  if (isUnreadable(line)) return `${name}  ${line.label}  ${line.error.message}\n`;
  const losses = Object.entries(line.families).map(([family, { quantLoss }]) =>
    `${family} ${quantLoss.toPrecision(4)}`
  );
  const unsure = line.unsure ? "  unsure" : "";
  return `${name}  ${line.label.padEnd(10)}  ${line.confidence.toFixed(3)}  QuantLoss ${losses.join(", ")}${unsure}\n`;
}

function describe({ images, labels, unsure, seconds }: Summary): string {
  const counts = Object.entries(labels).map(([label, count]) => `${label} ${count}`).sort().join(", ");
  const rate = seconds > 0 ? ` (${Number((images.done / seconds).toPrecision(3))} images/s)` : "";
  const recalled = images.recalled > 0 ? `, ${images.recalled} from earlier runs` : "";
  return `${images.done} of ${images.total} images in ${duration(seconds)}${rate}${recalled}: ${counts || "none"}` +
    (unsure > 0 ? `; ${unsure} unsure` : "");
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = jobOptions(args);
  if (parsed === "help") {
    writeStdout(usage + "\n");
    return 0;
  }
  const { job, json, labels } = parsed;
  const score = labels === undefined ? undefined : await Score.open(labels);
  const progress = new Progress();
  let read = true;
  const summary = await runJob({ ...job, signal: interruptible("attribute", progress) }, {
    onNote: (text) => progress.note(`attribute: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStart: (total) => progress.start(total),
    onProgress: (images) => progress.update(images),
    onLine: (line) => {
      if (isUnreadable(line)) progress.note(`attribute: unreadable: ${line.image}: ${line.error.message}`);
      score?.add(line);
      progress.clear();
      if (read) read = writeStdout(json ? JSON.stringify(line) + "\n" : row(line));
    },
  });
  if (score !== undefined) {
    if (json) progress.note(score.table());
    else writeStdout("\n" + score.table());
  }
  const written = summary.images.done > 0 && job.out !== undefined
    ? `; ${job.out} has ${summary.images.done} rows`
    : "";
  progress.note(`attribute: ${describe(summary)}${written}`);
  if (summary.status === "interrupted") {
    const journal = job.journal ?? (job.report === undefined ? undefined : journalIn(job.report));
    const note = journal === undefined
      ? "interrupted; with --journal FILE or --report DIR, a run can be continued"
      : interruptedNote(journal);
    progress.note(`attribute: ${note}`);
    return 130;
  }
  return summary.images.unreadable > 0 ? 2 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).split("\n");
    console.error(lines.map((line, i) => (i === 0 ? `attribute: ${line}` : line)).join("\n"));
    Deno.exit(1);
  }
}
