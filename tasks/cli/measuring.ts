/**
 * Options that every task has that measures images: weights, device, memory, journal. Values are checked here, meanings are
 * the library's.
 */
import { DEFAULT_MAX_PIXELS } from "../../attribution/images/decode.ts";
import { journalIn } from "../../attribution/run/report.ts";
import { type QuantizerName, quantizerNames } from "../../attribution/quantisation/quantizers.ts";
import { byteSize, choice, number } from "./args.ts";

/** For parseOptions(). */
export const measuringOptions = {
  models: { type: "string" },
  report: { type: "string" },
  journal: { type: "string" },
  resume: { type: "boolean", default: false },
  quantization: { type: "string" },
  device: { type: "string", default: "auto" },
  threads: { type: "string" },
  memory: { type: "string" },
  "weight-type": { type: "string", default: "f32" },
  "max-pixels": { type: "string", default: String(DEFAULT_MAX_PIXELS) },
} as const;

/** Lines about the journal in a usage text. */
export const journalUsage =
  `  --journal FILE      keep all that is measured in this file and compute only what it lacks, whichever task measured it
                      (default: journal.sqlite in the report's folder): a run that was stopped goes on
  --resume            goes without saying: what the journal has is always used`;

/** Lines about device and memory in a usage text. */
export const measuringUsage =
  `  --device NAME       auto, cpu or webgpu (default auto: a hardware adapter, else the processor)
  --threads N         CPU threads (default: all)
  --memory SIZE       limit for weights and activations on the device (default: three quarters of the free memory, at
                      most 8GiB; 4GiB on a hardware adapter)
  --weight-type TYPE  f32, or f16 for half the memory (default f32)
  --max-pixels N      refuse larger images (default ${DEFAULT_MAX_PIXELS})`;

/** A line per way to decide, for usage texts. */
export function methodUsage(methods: Readonly<Record<string, { readonly description: string }>>): string {
  return Object.entries(methods).map(([name, { description }]) =>
    `                        ${name.padEnd(11)} ${description}`
  )
    .join("\n");
}

interface Values {
  readonly models?: string;
  readonly report?: string;
  readonly journal?: string;
  readonly quantization?: string;
  readonly device: string;
  readonly threads?: string;
  readonly memory?: string;
  readonly "weight-type": string;
  readonly "max-pixels": string;
}

/** The checked values; `usual` is the report's folder when the user names none. */
export function measuringValues(values: Values, usual: string) {
  const report = values.report ?? usual;
  return {
    models: values.models,
    report,
    journal: values.journal ?? journalIn(report),
    quantization: values.quantization === undefined
      ? undefined
      : choice<QuantizerName>("--quantization", values.quantization, quantizerNames),
    device: choice("--device", values.device, ["auto", "cpu", "webgpu"]),
    threads: values.threads === undefined ? undefined : number("--threads", values.threads, { low: 1, integer: true }),
    memoryBytes: values.memory === undefined ? undefined : byteSize("--memory", values.memory),
    weightType: choice("--weight-type", values["weight-type"], ["f32", "f16"]),
    maxPixels: number("--max-pixels", values["max-pixels"], { low: 1, integer: true }),
  };
}

/** What to tell the user of a run that is over: what it cost, and where that is kept. */
export function journalNote(computed: number, journal: string): string {
  const images = computed === 1 ? "1 image" : `${computed} images`;
  return computed === 0
    ? `nothing had to be measured, all of it is in ${journal}`
    : `measured ${images}, kept in ${journal}`;
}

/** What to tell the user of a run that was interrupted. */
export function interruptedNote(journal: string): string {
  return `interrupted; to continue, run the same command again (evidence is in ${journal})`;
}

/** Prints an error as a task does, without a stack, and ends with exit code 1. */
export function fail(task: string, error: unknown): never {
  const lines = (error instanceof Error ? error.message : String(error)).split("\n");
  console.error(lines.map((line, i) => (i === 0 ? `${task}: ${line}` : line)).join("\n"));
  Deno.exit(1);
}
