/**
 * `deno task train --family rar|var`: fine-tunes a family's encoder into the inverse of its decoder.
 * Parses the command line, runs training/ and shows it; stdout has nothing but results.
 */
import { runTraining, type TrainingJobOptions } from "../training/run_training.ts";
import { officialRecipes, optimizers, schedules } from "../training/recipe.ts";
import type { EpochRow } from "../training/state.ts";
import { byteSize, choice, number, parseOptions } from "./cli/args.ts";
import { Progress, writeStdout } from "./cli/progress.ts";

const { rar, var: varRecipe } = officialRecipes;

const usage =
  `Fine-tunes the encoder of a family on the family's own images, so that it gives back the latent that the decoder
got; decoder and codebook stay as they are.

usage: deno task train --family rar|var --pairs DIR [options]
       deno task train --family rar|var --data Dataset/train [options]
       deno task train --family rar|var --sample N [options]
       deno task train --resume RUN

  --family NAME         rar or var
  --pairs DIR           generated images (with all folders below), each with its tokens beside it: 7.json for 7.png has
                        {"tokens": [...], "family"?, "variant"?, "class"?, "seed"?}, as deno task generate writes them;
                        images of the other family are used for the AUC; may be given more than once
  --data DIR            folders of plain images named after their labels; their targets are the tokens that the encoder
                        gives them, chosen anew every epoch; labels of the other family are used for the AUC; may be
                        given more than once, and together with --pairs
  --sample N            N pairs drawn from the family's transformers as they are needed, and some images of the other
                        family's for the AUC; kept in memory while there is room
  --variants LIST       of the family, to draw from: rarb,rarl (default: all in turns)
  --memory SIZE         for the networks that draw (default 4GiB)
  --weight-type TYPE    of the transformers that draw: f32, or f16 for half the memory (default f32)
  --models DIR          set of weights (default weights/tiny)
  --init FILE           start from this trained encoder instead of the set's own
  --limit N             only N images of the family, evenly spaced
  --holdout SHARE       share of the images to evaluate on, not trained on (default ${rar.holdout})
  --run DIR             folder for the state, log.csv and best.safetensors (default runs/rar or runs/var)
  --out FILE            the trained encoder (default encoder.safetensors in the folder of the run)
  --resume DIR          go on with a run; everything else is taken from it
  --save-every SECONDS  also save within an epoch (default 600)

  --epochs N            default ${rar.epochs} (rar), ${varRecipe.epochs} (var)
  --batch N             images per step, default ${rar.batch} (rar), ${varRecipe.batch} (var)
  --lr RATE             default ${rar.lr} (rar), ${varRecipe.lr} (var)
  --optimizer NAME      ${optimizers.join(", ")} (default adam)
  --weight-decay W      for adamw and adam-l2 (default 0.01)
  --clip NORM           largest norm of all gradients together (default 0: off)
  --schedule NAME       ${schedules.join(", ")} (default steplr)
  --gamma G             steplr: the rate falls by this factor (default ${rar.gamma})
  --step-size N         steplr: every so many epochs (default ${rar.stepSize})
  --image-loss W        adds W times the squared error of the decoded prediction (default 0)
  --augment             post-processing of growing strength, in half of the steps
  --checkpointing       recompute activations on the way back: less memory, more time, the same result
  --seed N              default 0

  --device NAME         auto, cpu or webgpu (default auto: a hardware adapter, else the processor)
  --threads N           CPU threads (default: all)
  --json                one JSON line per epoch and a last one for the run, instead of text
  --help                this text

Ctrl-C saves the run; --resume goes on bit for bit. Exit code: 0 done, 1 usage or fatal error, 130 interrupted.`;

function trainingOptions(args: readonly string[]): { job: TrainingJobOptions; json: boolean } | "help" {
  const { values, positionals } = parseOptions(args, {
    family: { type: "string" },
    pairs: { type: "string", multiple: true },
    data: { type: "string", multiple: true },
    models: { type: "string" },
    init: { type: "string" },
    limit: { type: "string" },
    holdout: { type: "string" },
    run: { type: "string" },
    out: { type: "string" },
    resume: { type: "string" },
    "save-every": { type: "string" },
    sample: { type: "string" },
    variants: { type: "string" },
    memory: { type: "string" },
    "weight-type": { type: "string" },
    epochs: { type: "string" },
    batch: { type: "string" },
    lr: { type: "string" },
    optimizer: { type: "string" },
    "weight-decay": { type: "string" },
    clip: { type: "string" },
    schedule: { type: "string" },
    gamma: { type: "string" },
    "step-size": { type: "string" },
    "image-loss": { type: "string" },
    augment: { type: "boolean" },
    checkpointing: { type: "boolean" },
    seed: { type: "string" },
    device: { type: "string" },
    threads: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) return "help";
  if (positionals.length > 0) throw new Error(`expected options only, got ${positionals[0]} (--help)`);
  const real = (option: keyof typeof values, low = 0) => {
    const value = values[option] as string | undefined;
    return value === undefined ? undefined : number(`--${option}`, value, { low });
  };
  const whole = (option: keyof typeof values, low = 1) => {
    const value = values[option] as string | undefined;
    return value === undefined ? undefined : number(`--${option}`, value, { low, integer: true });
  };
  const word = <const T extends string>(option: keyof typeof values, allowed: readonly T[]) => {
    const value = values[option] as string | undefined;
    return value === undefined ? undefined : choice(`--${option}`, value, allowed);
  };
  const { resume, run, pairs, data, models, init, out } = values;
  if (resume !== undefined && run !== undefined) throw new Error("--resume and --run: expected one of them");
  const family = word("family", ["rar", "var"]);
  if (family === undefined && resume === undefined) throw new Error("--family: expected rar or var (--help)");
  return {
    json: values.json,
    job: {
      family,
      recipe: {
        epochs: whole("epochs"),
        batch: whole("batch"),
        lr: real("lr"),
        optimizer: word("optimizer", optimizers),
        weightDecay: real("weight-decay"),
        clip: real("clip"),
        schedule: word("schedule", schedules),
        gamma: real("gamma"),
        stepSize: whole("step-size"),
        seed: whole("seed", 0),
        holdout: real("holdout"),
        imageLoss: real("image-loss"),
        augment: values.augment,
        checkpointing: values.checkpointing,
      },
      models,
      pairs,
      data,
      sample: {
        count: whole("sample"),
        variants: values.variants?.split(",").map((variant) => variant.trim()),
        memoryBytes: values.memory === undefined ? undefined : byteSize("--memory", values.memory),
        weightType: word("weight-type", ["f32", "f16"]),
      },
      init,
      limit: whole("limit"),
      out,
      run,
      resume,
      device: word("device", ["auto", "cpu", "webgpu"]),
      threads: whole("threads"),
      saveSeconds: real("save-every"),
    },
  };
}

/** `epoch  3  loss 0.01234  held-out 0.02345  tokens 56.1 %  AUC 0.987`. */
function describeRow({ epoch, trainLoss, heldOutLoss, tokenRecovery, auc, lr, imagesPerSecond }: EpochRow): string {
  const cell = (name: string, value: number | null, format: (value: number) => string) =>
    value === null ? "" : `  ${name} ${format(value)}`;
  const short = (value: number) => value.toPrecision(4);
  return `epoch ${String(epoch).padStart(3)}${cell("loss", trainLoss, short)}${cell("held-out", heldOutLoss, short)}` +
    cell("tokens", tokenRecovery, (value) => `${(100 * value).toFixed(1)} %`) +
    cell("AUC", auc, (value) => value.toFixed(3)) +
    cell("rate", trainLoss === null ? null : lr, (value) => String(Number(value.toPrecision(6)))) +
    cell("images/s", imagesPerSecond, (value) => value.toPrecision(3)) + "\n";
}

/** Aborts on Ctrl-C or SIGTERM; the second time the process ends at once. */
function interruptible(progress: Progress): AbortSignal {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort();
    progress.note("train: interrupted: finishing the step and saving (again to stop at once)");
  };
  for (const name of Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, interrupt);
  }
  return controller.signal;
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = trainingOptions(args);
  if (parsed === "help") {
    writeStdout(usage + "\n");
    return 0;
  }
  const { job, json } = parsed;
  const progress = new Progress();
  let before = 0;
  const summary = await runTraining({ ...job, signal: interruptible(progress) }, {
    onNote: (text) => progress.note(`train: ${text}`),
    onPrepare: (text) => progress.prepare(text),
    onStart: (total, done) => {
      before = done;
      progress.start(total - done);
    },
    onProgress: (images) => progress.update(images - before),
    onEpoch: (row) => {
      progress.clear();
      writeStdout(json ? JSON.stringify(row) + "\n" : describeRow(row));
    },
  });
  progress.clear();
  if (json) writeStdout(JSON.stringify(summary) + "\n");
  if (summary.status === "interrupted") {
    progress.note(`train: interrupted and saved; to go on: deno task train --resume ${summary.run}`);
    return 130;
  }
  const best = summary.best === null
    ? ""
    : `; lowest held-out loss ${summary.best.heldOutLoss.toPrecision(4)} after epoch ${summary.best.epoch}`;
  progress.note(`train: done; ${summary.out} has the encoder${best}`);
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).split("\n");
    console.error(lines.map((line, i) => (i === 0 ? `train: ${line}` : line)).join("\n"));
    Deno.exit(1);
  }
}
