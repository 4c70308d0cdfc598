/**
 * What a run has learnt so far, in one safetensors file: parameters, both moments of Adam, targets of the epoch, and where
 * in its epochs the run is. Written whole under another name and renamed, so that there is always a complete one.
 */
import { join } from "node:path";
import { type OptimizerState } from "../core/tensor/mod.ts";
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import type { DeviceInfo } from "../core/tensor/mod.ts";
import type { Recipe } from "./recipe.ts";
import type { SampleSettings } from "./sampled.ts";

/** What must be the same for a run to go on as if it had never stopped. */
export interface Settings {
  readonly recipe: Recipe;
  /** Folders as they were given. */
  readonly inputs: {
    readonly models: string;
    readonly pairs: readonly string[];
    readonly data: readonly string[];
    readonly init: string | null;
    readonly limit: number | null;
    readonly out: string;
    /** Null where pairs are files. */
    readonly sample: SampleSettings | null;
  };
  /** Hash of the model set, sha256 of the encoder to start from, fingerprints of pairs and of the other family's images. */
  readonly modelSet: string;
  readonly initSha256: string | null;
  readonly data: string;
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

/** Where a run is. */
export interface Position {
  /** Finished epochs. */
  epoch: number;
  /** Training images of the current epoch that are done. */
  position: number;
  /** Finished steps. */
  step: number;
  /** Sums over the steps of the current epoch, and their number. */
  lossSum: number;
  normSum: number;
  epochSteps: number;
  epochSeconds: number;
  seconds: number;
  firstLoss: number | null;
  best: { readonly epoch: number; readonly heldOutLoss: number } | null;
  history: EpochRow[];
}

export interface RunState {
  readonly settings: Settings;
  readonly position: Position;
  /** By part of a parameter. */
  readonly parameters: ReadonlyMap<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>;
  readonly optimizer: OptimizerState;
  /** Tokens of every pair for the current epoch, where the encoder chose them. */
  readonly targets: Int32Array<ArrayBuffer> | null;
}

export const stateFile = "state.safetensors";
const format = "model-tracer-training/1";

export type WriteTensors = typeof writeSafetensors;

/**
 * Saves a run in its folder. Throws, when it cannot be written, what to do; the state that was there stays as it was.
 */
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

/** Writes a safetensors file. When that fails, the error says what is still there, and to make room and do `then`. */
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

/** Runs what writes a file whole or not at all; when that fails, the error has the path, the size and what to do. */
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

/** Option names of settings, for messages. */
const optionNames: Readonly<Record<string, string>> = {
  weightDecay: "--weight-decay",
  stepSize: "--step-size",
  imageLoss: "--image-loss",
  weightType: "--weight-type",
};

/** How an option that a run was started with is called. */
export function optionName(field: string): string {
  return optionNames[field] ?? `--${field}`;
}
