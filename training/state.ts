/**
 * The state of a run in one safetensors file: parameters, both moments of Adam, targets of the epoch, and the position
 * in the run. It is written under a temporary name and renamed, so that there is always a complete one.
 */
import { join } from "node:path";
import { type OptimizerState } from "../core/tensor/mod.ts";
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { DeviceInfo } from "../core/tensor/mod.ts";
import type { Recipe } from "./recipe.ts";
import type { SampleSettings } from "./sampled.ts";

/** Everything that must be the same for a resumed run to give the result of an uninterrupted one. */
export interface Settings {
  readonly recipe: Recipe;
  /** Options of the run. */
  readonly inputs: {
    readonly models: string;
    readonly pairs: readonly string[];
    readonly data: readonly string[];
    readonly init: string | null;
    readonly limit: number | null;
    readonly out: string;
    /** Null if pairs are files. */
    readonly sample: SampleSettings | null;
  };
  /** Hash of the model set. */
  readonly modelSet: string;
  /** sha256 of the encoder to start from; null for that of the set. */
  readonly initSha256: string | null;
  /** Fingerprint of the pairs. */
  readonly data: string;
  /** Fingerprint of the images of another family; null without any. */
  readonly others: string | null;
  readonly device: DeviceInfo["kind"];
}

/** One finished epoch; epoch 0 is before training. */
export interface EpochRow {
  /** Counted from 1; 0 is before training. */
  readonly epoch: number;
  /** Steps from the beginning of the run. */
  readonly step: number;
  /** Learning rate of the epoch. */
  readonly lr: number;
  /** Mean squared error of the latent over the steps of the epoch; null before training. */
  readonly trainLoss: number | null;
  /** Mean l2 norm of all gradients together over the steps of the epoch; null before training. */
  readonly gradientNorm: number | null;
  /** Mean squared error of the latent over held-out images; null where there are none. */
  readonly heldOutLoss: number | null;
  /** Share of held-out tokens that the encoder gives back, 0 to 1; null where there are no images. */
  readonly tokenRecovery: number | null;
  /** How well the losses tell held-out images from the other family's, 0.5 to 1; null where there are too few. */
  readonly auc: number | null;
  /** Training images per second of the epoch; null before training. */
  readonly imagesPerSecond: number | null;
  /** Seconds of the run up to here. */
  readonly seconds: number;
}

/** The position of a run, with sums since its last epoch. */
export interface Position {
  /** Finished epochs. */
  epoch: number;
  /** Training images of the current epoch that are done. */
  position: number;
  /** Finished steps. */
  step: number;
  /** Sum of the losses of the current epoch. */
  lossSum: number;
  /** Sum of the gradient norms of the current epoch. */
  normSum: number;
  /** Finished steps of the current epoch. */
  epochSteps: number;
  /** Time for these steps. */
  epochSeconds: number;
  /** Time since the beginning of the run. */
  seconds: number;
  /** Loss of the first step. */
  firstLoss: number | null;
  /** The epoch with the lowest held-out loss. */
  best: { readonly epoch: number; readonly heldOutLoss: number } | null;
  history: EpochRow[];
}

/** The state of a run. */
/** The state of a run. */
export interface RunState {
  readonly settings: Settings;
  readonly position: Position;
  /** Values by part of a parameter. */
  readonly parameters: ReadonlyMap<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>;
  readonly optimizer: OptimizerState;
  /** Tokens [count * tokenCount] of all pairs for the current epoch, if the encoder chose them. */
  readonly targets: Int32Array<ArrayBuffer> | null;
}

/** Name of the file. */
/** Name of the file. */
export const stateFile = "state.safetensors";
const format = "model-tracer-training/1";

/** Writes a safetensors file. */
/** Writes a safetensors file. */
export type WriteTensors = typeof writeSafetensors;

/** Saves the state of a run. When that fails, throws with advice; the former state stays. */
export async function saveState(dir: string, state: RunState, write: WriteTensors = writeSafetensors): Promise<void> {
  const entries: SafetensorsEntry[] = [];
  const add = (name: string, shape: readonly number[], values: Float32Array | Int32Array) =>
    entries.push({ name, shape, dtype: values instanceof Int32Array ? "i32" : "f32", data: () => values });
  for (const [name, { shape, values }] of state.parameters) add(`parameters/${name}`, shape, values);
  for (const [name, { shape, values }] of state.optimizer.tensors) add(`optimizer/${name}`, shape, values);
  if (state.targets) add("targets", [state.targets.length], state.targets);
  const path = join(dir, stateFile);
  const hasState = await isFile(path);
  await writeOrExplain(
    path,
    entries,
    {
      format,
      settings: JSON.stringify(state.settings),
      position: JSON.stringify(state.position),
      optimizerStep: String(state.optimizer.step),
    },
    hasState ? `go on with --resume ${dir}` : "start again",
    write,
  );
}

function isFile(path: string): Promise<boolean> {
  return Deno.stat(path).then((info) => info.isFile, () => false);
}

/** Writes a safetensors file. When that fails, throws with advice: make room, then do `then`. */
export async function writeOrExplain(
  path: string,
  entries: readonly SafetensorsEntry[],
  metadata: Record<string, string>,
  then: string,
  write: WriteTensors = writeSafetensors,
): Promise<void> {
  const bytes = entries.reduce((sum, { shape }) => sum + 4 * shape.reduce((product, d) => product * d, 1), 0);
  const size = `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  await explainFailure(path, size, then, () => write(path, entries, metadata));
}

/** Runs `write`, which writes a file atomically. When it fails, throws with path, size and advice. */
export async function explainFailure(
  path: string,
  size: string,
  then: string,
  write: () => Promise<void>,
): Promise<void> {
  try {
    await write();
  } catch (cause) {
    throw new Error(
      `${path}: cannot be written (${size}): ${(cause as Error).message}; ` +
        (await isFile(path) ? "the file that was there before is intact" : "nothing was left behind") +
        `: make room, then ${then}`,
      { cause },
    );
  }
}

/** Reads the state of a run. Throws when the folder has none, or the file is not one. */
export async function loadState(dir: string): Promise<RunState> {
  const path = join(dir, stateFile);
  if (!await isFile(path)) {
    throw new Error(
      `--resume ${dir}: expected the folder of a run, with ${stateFile} in it, ` +
        (await isFile(dir) ? "got a file" : "found none there"),
    );
  }
  let source: Awaited<ReturnType<typeof openSafetensors>>;
  try {
    source = await openSafetensors(path);
  } catch (cause) {
    throw new Error(`--resume ${dir}: expected the state of a training run, got ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    const { metadata } = source;
    if (metadata.get("format") !== format) {
      throw new Error(
        `--resume ${path}: expected the state of a training run, got ${metadata.get("format") ?? "another file"}`,
      );
    }
    const parameters = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
    const moments = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
    for (const { name, shape } of source.tensors.values()) {
      const [kind, rest] = [name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1)];
      const into = kind === "parameters" ? parameters : kind === "optimizer" ? moments : null;
      into?.set(rest, { shape, values: await source.readF32(name) });
    }
    return {
      settings: JSON.parse(metadata.get("settings")!),
      position: JSON.parse(metadata.get("position")!),
      parameters,
      optimizer: { step: Number(metadata.get("optimizerStep")), tensors: moments },
      targets: source.tensors.has("targets") ? await source.readI32("targets") : null,
    };
  } finally {
    source.close();
  }
}

/** Names of options that differ from the names of their fields. */
const optionNames: Readonly<Record<string, string>> = {
  weightDecay: "--weight-decay",
  stepSize: "--step-size",
  imageLoss: "--image-loss",
  weightType: "--weight-type",
};

/** The command-line option of a field, for messages. */
export function optionName(field: string): string {
  return optionNames[field] ?? `--${field}`;
}
