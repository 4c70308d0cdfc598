/**
 * A training run with its files: opens weights, data and the run's folder, checks that everything fits before any work,
 * trains, and writes the result. It prints nothing: what a command line shows it is told through `TrainingEvents`.
 */
import { dirname, join, resolve } from "node:path";
import { labelsOf } from "../attribution/labels.ts";
import { familyNames } from "../models/registry.ts";
import { type DeviceName, openDevice } from "../core/open_device.ts";
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import { writeLog } from "./log.ts";
import { measureLatents } from "./latents.ts";
import { split } from "./order.ts";
import { writeEncoder } from "./output.ts";
import { openTrainingData, type TrainingData } from "./pairs.ts";
import { makeRecipe, type Recipe } from "./recipe.ts";
import { openSampledData, sampleDefaults, type SampleSettings } from "./sampled.ts";
import { type EpochRow, loadState, optionName, type RunState, saveState, type Settings, stateFile } from "./state.ts";
import { train, trainingImages } from "./train.ts";
import { Trainee } from "./trainee.ts";
import { hashFile } from "../util/hash.ts";

/** What `runTraining` is to do. A run that resumes needs nothing but `resume`. */
export interface TrainingJobOptions {
  /** Needed, but for a run that resumes. */
  readonly family?: FamilyName;
  /** What differs from the official recipe. */
  readonly recipe?: Partial<Recipe>;
  /** Folder of the model set. */
  readonly models?: string;
  /** Folders of images with their tokens beside them, as generation writes them. */
  readonly pairs?: readonly string[];
  /** Folders of plain images in folders named after their labels; the encoder chooses their tokens. */
  readonly data?: readonly string[];
  /** Pairs are drawn from the set's transformers; `pairs`, `data` and `limit` are not given then. */
  readonly sample?: Partial<SampleSettings> & { readonly count?: number };
  /** Encoder to start from instead of the set's own. */
  readonly init?: string;
  /** Only this many images, evenly spaced. */
  readonly limit?: number;
  /** Where the trained encoder goes; `encoder.safetensors` in the run's folder when not given. */
  readonly out?: string;
  /** Folder of the run; `runs/<family>` when not given. */
  readonly run?: string;
  /** Folder of a run to go on with. Whatever else is given must be what the run was started with. */
  readonly resume?: string;
  /** `auto` by default. */
  readonly device?: DeviceName;
  /** CPU threads; all processors by default. */
  readonly threads?: number;
  /** Seconds between states that are saved within an epoch, 600 by default. */
  readonly saveSeconds?: number;
  /** Ends the run after the current step; its state is saved. */
  readonly signal?: AbortSignal;
}

/** What `runTraining` tells while it works. */
export interface TrainingEvents {
  /** Something that a user should know, once. */
  readonly onNote?: (text: string) => void;
  /** What is being prepared, before the first step. */
  readonly onPrepare?: (text: string) => void;
  /** Training images of the whole run, and those that are done already. */
  readonly onStart?: (total: number, done: number) => void;
  /** Training images done since the beginning of the run. */
  readonly onProgress?: (images: number) => void;
  /** An epoch is done and saved; epoch 0 is before training. */
  readonly onEpoch?: (row: EpochRow) => void;
}

/** How a run ended. */
export interface TrainingSummary {
  /** `interrupted` by the signal; `resume` goes on with it. */
  readonly status: "done" | "interrupted";
  /** Folder of the run. */
  readonly run: string;
  /** The trained encoder; null when interrupted. */
  readonly out: string | null;
  /** The epoch with the lowest held-out loss; null where nothing is held out. */
  readonly best: { readonly epoch: number; readonly heldOutLoss: number } | null;
  /** The last finished epoch. */
  readonly last: EpochRow | undefined;
}

/** The encoder of the epoch with the lowest held-out loss. */
export const bestFile = "best.safetensors";

/** Runs, or goes on with, a training. Throws before any work on anything that is wrong with options, weights or data. */
export async function runTraining(
  options: TrainingJobOptions,
  events: TrainingEvents = {},
): Promise<TrainingSummary> {
  const state = options.resume === undefined ? undefined : await loadState(options.resume);
  if (state) requireSame(options.resume!, state.settings, options);
  const family = state?.settings.recipe.family ?? options.family;
  if (family === undefined) throw new Error(`--family: expected ${familyNames.join(" or ")}`);
  const recipe = state?.settings.recipe ?? makeRecipe(family, options.recipe);
  const run = options.resume ?? options.run ?? join("runs", family);
  const inputs: Settings["inputs"] = state?.settings.inputs ?? {
    models: options.models ?? join("weights", "tiny"),
    pairs: options.pairs ?? [],
    data: options.data ?? [],
    init: options.init ?? null,
    limit: options.limit ?? null,
    out: options.out ?? join(run, "encoder.safetensors"),
    sample: sampleSettings(options),
  };
  const out = options.out ?? inputs.out;
  const set = await openModelSet(inputs.models);
  const initSha256 = state ? state.settings.initSha256 : inputs.init && await hashFile(inputs.init);

  await using cleanup = new AsyncDisposableStack();
  const device = await openDevice(state?.settings.device ?? options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  if (device.info.software) events.onNote?.(`using a software adapter: ${device.info.name}`);
  events.onPrepare?.(`loading the ${family} tokenizer`);
  const init = state || inputs.init === null ? undefined : await openCheckpoint(inputs.init);
  const { imageLoss, checkpointing } = recipe;
  const trainee = await Trainee.open(device, set, family, { imageLoss, checkpointing, init });
  cleanup.defer(() => trainee.dispose());
  let data: TrainingData;
  if (inputs.sample) {
    const sampled = await openSampledData(set, device, recipe, inputs.sample, events.onPrepare);
    cleanup.defer(() => sampled.dispose());
    data = sampled;
  } else {
    data = await openTrainingData(trainee.tokenizer, {
      pairs: inputs.pairs,
      data: inputs.data,
      labels: labelsOf(set),
      limit: inputs.limit ?? undefined,
      onProgress: (done, total) => events.onPrepare?.(`reading images: ${done} of ${total}`),
    });
  }
  const settings: Settings = {
    recipe,
    inputs,
    modelSet: set.hash,
    initSha256,
    data: data.pairs.fingerprint,
    others: data.others?.fingerprint ?? null,
    device: device.info.kind,
  };
  const total = trainingImages(data.pairs, recipe);
  const inRun = resolve(dirname(out)) === resolve(run);
  if (!inRun) await requireFolder("--out", out);
  if (state) requireFits(options.resume!, state, settings, set, trainee);
  else await createRun(run);
  if (inRun) await requireFolder("--out", out);
  const { heldOut } = split(data.pairs.count, recipe.holdout, recipe.seed);
  const latents = () => measureLatents(trainee, data.pairs, heldOut, recipe.batch);
  const { epochs } = recipe;
  const finished = state === undefined ? 0 : state.position.epoch * total / epochs + state.position.position;
  if (state) {
    // An epoch's state is saved before the log and the best encoder are written; it may have ended between the two.
    const { history, best, epoch, position } = state.position;
    await writeLog(run, history);
    if (best?.epoch === epoch && position === 0) {
      for (const [name, { values }] of state.parameters) trainee.restore(name, values);
      await writeEncoder(join(run, bestFile), trainee, settings, history.at(-1)!, run, await latents());
    }
  }
  events.onStart?.(total, finished);
  const history: EpochRow[] = [...state?.position.history ?? []];
  const result = await train(trainee, {
    settings,
    data,
    resume: state,
    save: (current) => saveState(run, current),
    saveSeconds: options.saveSeconds,
    signal: options.signal,
    onProgress: events.onProgress,
    onEpoch: async (row, isBest) => {
      history.push(row);
      await writeLog(run, history);
      if (isBest) await writeEncoder(join(run, bestFile), trainee, settings, row, run, await latents());
      events.onEpoch?.(row);
    },
  });
  const last = history.at(-1);
  const isDone = result.status === "done";
  if (isDone) await writeEncoder(out, trainee, settings, last!, run, await latents());
  return { status: result.status, run, out: isDone ? out : null, best: result.position.best, last };
}

function sampleSettings({ sample, pairs = [], data = [], limit }: TrainingJobOptions): SampleSettings | null {
  const { count, ...others } = sample ?? {};
  if (count === undefined) {
    if (Object.values(others).some((value) => value !== undefined)) {
      throw new Error(
        "--variants, --memory, --weight-type: are for pairs that are drawn; expected --sample N with them",
      );
    }
    return null;
  }
  if (pairs.length + data.length > 0 || limit !== undefined) {
    throw new Error("--sample: draws all pairs itself, expected no --pairs, --data and --limit with it");
  }
  const { variants, memoryBytes, weightType } = sampleDefaults;
  return {
    count,
    variants: others.variants ?? variants,
    memoryBytes: others.memoryBytes ?? memoryBytes,
    weightType: others.weightType ?? weightType,
  };
}

/** Throws naming every given option that a run was not started with. */
function requireSame(dir: string, { recipe, inputs, device }: Settings, options: TrainingJobOptions): void {
  if (options.family !== undefined && options.family !== recipe.family) {
    throw new Error(`--resume ${dir}: is a run of the family ${recipe.family}, got --family ${options.family}`);
  }
  const { models, pairs, data, init, limit, sample } = options;
  const flat = (settings: TrainingJobOptions["sample"] | null) => ({
    sample: settings?.count,
    variants: settings?.variants,
    memory: settings?.memoryBytes,
    weightType: settings?.weightType,
  });
  const started: Record<string, unknown> = { ...recipe, ...inputs, ...flat(inputs.sample), device };
  const given = {
    ...options.recipe,
    models,
    pairs,
    data,
    init,
    limit,
    ...flat(sample),
    device: options.device === "auto" ? undefined : options.device,
  };
  const wrong = Object.entries(given)
    .filter(([field, value]) => value !== undefined && JSON.stringify(value) !== JSON.stringify(started[field]))
    .map(([field, value]) => `${optionName(field)} ${show(started[field])}, got ${show(value)}`);
  if (wrong.length > 0) {
    throw new Error(`--resume ${dir}: was started with ${wrong.join("; with ")}: start a new run with --run DIR`);
  }
}

/** Throws naming what has changed since the run was started. */
function requireFits(dir: string, state: RunState, settings: Settings, set: ModelSet, trainee: Trainee): void {
  const fail = (what: string) => {
    throw new Error(`--resume ${dir}: ${what}`);
  };
  const before = state.settings;
  if (before.modelSet !== settings.modelSet) {
    fail(`was started with other weights (${short(before.modelSet)}), ${set.dir} has ${short(settings.modelSet)}`);
  }
  if (before.data !== settings.data || before.others !== settings.others) {
    fail(
      `the images or tokens in ${[...settings.inputs.pairs, ...settings.inputs.data].join(", ")} have changed since`,
    );
  }
  for (const [name, { shape }] of trainee.parameters) {
    const saved = state.parameters.get(name);
    if (saved === undefined) fail(`${stateFile} has no parameter ${name}`);
    if (saved!.shape.join() !== shape.join()) {
      fail(`${stateFile}: ${name}: expected [${shape}], got [${saved!.shape}]`);
    }
  }
}

async function createRun(dir: string): Promise<void> {
  if (await Deno.stat(join(dir, stateFile)).then(() => true, () => false)) {
    throw new Error(`--run ${dir}: has a run already: go on with --resume ${dir}, or name another folder`);
  }
  try {
    await Deno.mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new Error(`--run ${dir}: cannot make this folder: ${(cause as Error).message}`, { cause });
  }
}

async function requireFolder(option: string, path: string): Promise<void> {
  const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
  if (isFolder) throw new Error(`${option} ${path}: expected the name of a file, this is a folder`);
  const exists = await Deno.stat(dirname(path)).then((info) => info.isDirectory, () => false);
  if (!exists) throw new Error(`${option} ${path}: the folder ${dirname(path)} does not exist`);
}

function show(value: unknown): string {
  if (value === null || value === undefined) return "none";
  return Array.isArray(value) ? value.join(" ") || "none" : String(value);
}

function short(hash: string): string {
  return hash.slice(0, 12);
}
