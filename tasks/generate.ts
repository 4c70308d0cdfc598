/**
 * `deno task generate --model NAME`: images of a variant, drawn with its own sampler.
 * Parses the command line, runs generation/ and shows it; stdout has nothing but results.
 */
import {
  type GenerationOptions,
  type GenerationSummary,
  runGeneration,
  type WrittenImage,
} from "../generation/generate.ts";
import type { ClassChoice } from "../generation/settings.ts";
import { maxSeed } from "../models/sampling.ts";
import { byteSize, choice, number, parseOptions } from "./cli/args.ts";
import { duration, Progress, writeStdout } from "./cli/progress.ts";

const usage = `Draws images from a variant with its own sampler, each with its tokens beside it for training.

usage: deno task generate --model NAME --out DIR [options]

  --model NAME        a variant of the set of weights, such as rarb or var16, or all; may be given more than once (then
                      every variant has a folder of its own in DIR)
  --out DIR           folder for 0.png, 1.png, ...; 0.json has {"tokens", "family", "variant", "class", "seed", "index",
                      "sampler", "modelSet", "device"}
  --models DIR        set of weights (default weights/tiny)
  -n, --count N       images of each variant (default 8)
  --first N           number of the first image (default 0); image N of a seed is the same in every run
  --class ID          a class, random (one drawn for every image), or none (default random)
  --seed N            0 to ${maxSeed} (default 0)
  --latents           also write f_Z, the latent that the decoder gets, [channels, side, side], as 0.safetensors
  --resume            keep the images that DIR has and draw the missing ones

  The sampler is the variant's (in the manifest) but for what is given here:
  --guidance G        strength of classifier-free guidance; 0 turns it off
  --power P           rar: exponent of its cosine schedule
  --temperature T     rar: softmax temperature
  --top-k K           var: only the K most likely codes (0: all)
  --top-p P           var: of those, the most likely that have this share of the probability (0: all)
  --argmax            the most likely code everywhere: no random numbers, and no use for more than one image of a class

  --device NAME       auto, cpu or webgpu (default auto: a hardware adapter, else the processor)
  --threads N         CPU threads (default: all)
  --memory SIZE       limit for weights and activations on the device (default 4GiB)
  --weight-type TYPE  f32, or f16 for half the memory (default f32)
  --batch N           images at a time (default: what fits into the memory, at most 64); it changes no image
  --json              one JSON line per image and a last one for the run, instead of text
  --help              this text

Ctrl-C keeps the images that are written; the same command with --resume goes on.
Exit code: 0 done, 1 usage or fatal error, 130 interrupted.`;

function generationOptions(args: readonly string[]): { job: GenerationOptions; json: boolean } | "help" {
  const { values, positionals } = parseOptions(args, {
    model: { type: "string", multiple: true },
    out: { type: "string" },
    models: { type: "string" },
    count: { type: "string", short: "n", default: "8" },
    first: { type: "string", default: "0" },
    class: { type: "string", default: "random" },
    seed: { type: "string", default: "0" },
    latents: { type: "boolean", default: false },
    resume: { type: "boolean", default: false },
    guidance: { type: "string" },
    power: { type: "string" },
    temperature: { type: "string" },
    "top-k": { type: "string" },
    "top-p": { type: "string" },
    argmax: { type: "boolean", default: false },
    device: { type: "string", default: "auto" },
    threads: { type: "string" },
    memory: { type: "string", default: "4GiB" },
    "weight-type": { type: "string", default: "f32" },
    batch: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) return "help";
  if (positionals.length > 0) throw new Error(`expected options only, got ${positionals[0]} (--help)`);
  if (values.model === undefined) throw new Error("--model: expected a variant, such as rarb, or all (--help)");
  if (values.out === undefined) throw new Error("--out: expected a folder for the images (--help)");
  const whole = (option: string, value: string | undefined, low = 1, high?: number) =>
    value === undefined ? undefined : number(option, value, { low, high, integer: true });
  const real = (option: string, value: string | undefined) =>
    value === undefined ? undefined : number(option, value, { low: 0 });
  return {
    json: values.json,
    job: {
      variants: values.model,
      out: values.out,
      models: values.models,
      count: number("--count", values.count, { low: 1, integer: true }),
      first: whole("--first", values.first, 0, maxSeed),
      class: classChoice(values.class),
      seed: whole("--seed", values.seed, 0, maxSeed),
      latents: values.latents,
      resume: values.resume,
      sampler: {
        guidance: real("--guidance", values.guidance),
        power: real("--power", values.power),
        temperature: real("--temperature", values.temperature),
        topK: whole("--top-k", values["top-k"], 0),
        topP: real("--top-p", values["top-p"]),
      },
      argmax: values.argmax,
      device: choice("--device", values.device, ["auto", "cpu", "webgpu"]),
      threads: whole("--threads", values.threads),
      memoryBytes: byteSize("--memory", values.memory),
      weightType: choice("--weight-type", values["weight-type"], ["f32", "f16"]),
      batch: whole("--batch", values.batch),
    },
  };
}

function classChoice(text: string): ClassChoice {
  if (text === "random") return "random";
  if (text === "none") return null;
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`--class: expected the number of a class, random or none, got ${text}`);
}

/** `out/3.png  rarb  class 7`. */
function row({ path, variant, class: label }: WrittenImage): string {
  return `${path}  ${variant}  ${label === null ? "no class" : `class ${label}`}\n`;
}

function describe({ images, seconds }: GenerationSummary): string {
  const rate = seconds > 0 ? ` (${Number((images.written / seconds).toPrecision(3))} images/s)` : "";
  const kept = images.kept > 0 ? `, ${images.kept} were there` : "";
  return `${images.written} of ${images.total} images in ${duration(seconds)}${rate}${kept}`;
}

/** Aborts on Ctrl-C or SIGTERM; the second time the process ends at once. */
function interruptible(progress: Progress): AbortSignal {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort();
    progress.note("generate: interrupted: dropping the batch in progress (again to stop at once)");
  };
  for (const name of Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, interrupt);
  }
  return controller.signal;
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = generationOptions(args);
  if (parsed === "help") {
    writeStdout(usage + "\n");
    return 0;
  }
  const { job, json } = parsed;
  const progress = new Progress();
  let read = true;
  const print = (text: string) => {
    progress.clear();
    if (read) read = writeStdout(text);
  };
  const summary = await runGeneration({ ...job, signal: interruptible(progress) }, {
    onNote: (text) => progress.note(`generate: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStart: (total) => progress.start(total),
    onProgress: (images) => progress.update(images),
    onImage: (image) => print(json ? JSON.stringify(image) + "\n" : row(image)),
  });
  if (json) print(JSON.stringify(summary) + "\n");
  progress.clear();
  progress.note(`generate: ${describe(summary)}; they are in ${summary.out}`);
  if (summary.status === "interrupted") {
    progress.note("generate: interrupted; to go on, run the same command with --resume");
    return 130;
  }
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).split("\n");
    console.error(lines.map((line, i) => (i === 0 ? `generate: ${line}` : line)).join("\n"));
    Deno.exit(1);
  }
}
