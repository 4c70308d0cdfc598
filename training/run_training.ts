/**
 * A training run with its files: opens weights, data and the folder of the run, checks that they fit, trains, and
 * writes the encoder. It prints nothing; callers follow progress through `TrainingEvents`.
 */
import { dirname, join, resolve } from "node:path";
import { openDecoder } from "../attribution/images/decoder/mod.ts";
import { labelsOf } from "../attribution/labels.ts";
import { familyNames } from "../models/registry.ts";
import { type DeviceName, openDevice } from "../core/open_device.ts";
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import { chooseModels } from "../attribution/run/choose_models.ts";
import { writeLog } from "./log.ts";
import { measureLatents } from "./latents.ts";
import { split } from "./order.ts";
import { writeEncoder } from "./output.ts";
import { requireStepMemory } from "./memory.ts";
import { openTrainingData, type PairSource, type TrainingData } from "./pairs.ts";
import { makeRecipe, type Recipe } from "./recipe.ts";
import { bestFile, encoderFile, lockRun } from "./run_folder.ts";
import { openSampledData, sampleDefaults, type SampleSettings, withSampleMemory } from "./sampled.ts";
import { type EpochRow, loadState, optionName, type RunState, saveState, type Settings, stateFile } from "./state.ts";
import { train, trainingImages } from "./train.ts";
import { Trainee } from "./trainee.ts";
import { expectNoFile, isFile, PartFile } from "../util/files.ts";
import { hashFile } from "../util/hash.ts";

/** Options of `runTraining`. A run that resumes needs only `resume`. */
export interface TrainingJobOptions {
  /** Family whose encoder is trained. Required unless the run resumes. */
  readonly family?: FamilyName;
  /** Fields that replace those of the official recipe. */
  readonly recipe?: Partial<Recipe>;
  /** Folder of the model set. Default: weights/official where it is complete, else weights/tiny. */
  readonly models?: string;
  /** Folders of images with JSON files of their tokens, as generation writes them. */
  readonly pairs?: readonly string[];
  /** Folders with a folder of plain images per label. The encoder chooses their tokens. */
  readonly data?: readonly string[];
  /** Draw pairs from the transformers of the set. Excludes `pairs`, `data` and `limit`. */
  readonly sample?: Partial<SampleSettings> & { readonly count?: number };
  /** File of the encoder to start from. Default: the encoder of the set. */
  readonly init?: string;
  /** Use only so many images, evenly spaced. Default: all. */
  readonly limit?: number;
  /** File of the trained encoder. Default: `encoder.safetensors` in the folder of the run. */
  readonly out?: string;
  /** Replace a file at `out`. Default false: that throws, but for the file of the run itself. */
  readonly force?: boolean;
  /** Folder of the run. Default: `runs/<family>`. */
  readonly run?: string;
  /** Folder of a run to resume. All other options must be those that the run was started with. */
  readonly resume?: string;
  /** Default `auto`. */
  readonly device?: DeviceName;
  /** CPU threads. Default: as many as the machine has processors. */
  readonly threads?: number;
  /** Seconds between states that are saved within an epoch. Default 600. */
  readonly saveSeconds?: number;
  /** Aborting it ends the run after the current step and saves its state. */
  readonly signal?: AbortSignal;
}

/** Progress of a training. */
export interface TrainingEvents {
  /** Called with a fact that the user should know. */
  readonly onNote?: (text: string) => void;
  /** Called before each preparation for the first step, with a description. */
  readonly onPrepare?: (text: string) => void;
  /** Called once before the first step, with the training images of the whole run and those that are done. */
  readonly onStart?: (total: number, done: number) => void;
  /** Called with the training images done since the beginning of the run. */
  readonly onProgress?: (images: number) => void;
  /** Called when an epoch is done and saved. Epoch 0 is before training. */
  readonly onEpoch?: (row: EpochRow) => void;
}

/** The result of a training. */
export interface TrainingSummary {
  /** `interrupted`: the signal was aborted; `resume` continues the run. */
  readonly status: "done" | "interrupted";
  /** Folder of the run. */
  readonly run: string;
  /** Path of the trained encoder; null when interrupted. */
  readonly out: string | null;
  /** The epoch with the lowest held-out loss; null without held-out images. */
  readonly best: { readonly epoch: number; readonly heldOutLoss: number } | null;
  /** The last finished epoch. */
  readonly last: EpochRow | undefined;
}

/** Fine-tunes an encoder, or resumes a run. Throws before the first step on wrong options, weights or data. */
export async function runTraining(
  options: TrainingJobOptions,
  events: TrainingEvents = {},
): Promise<TrainingSummary> {
  await using cleanup = new AsyncDisposableStack();
  if (options.resume !== undefined) cleanup.use(await lockRun("--resume", options.resume));
  const state = options.resume === undefined ? undefined : await loadState(options.resume);
  if (state) requireSame(options.resume!, state.settings, options);
  const { recipe, run, set, ...setting } = await setUp(options, state, events);
  let inputs = setting.inputs;
  const out = options.out ?? inputs.out;
  // A run that is resumed may have written its result before it ended.
  const isOwn = out === (state ? inputs.out : join(run, encoderFile));
  if (!isOwn) await expectNoFile("--out", out, options.force);
  const initSha256 = state ? state.settings.initSha256 : inputs.init && await hashFile(inputs.init);

  const device = await openDevice(state?.settings.device ?? options.device ?? "auto", { threads: options.threads });
  cleanup.defer(() => device.close());
  const { kind, software, name } = device.info;
  if (inputs.sample) {
    inputs = { ...inputs, sample: await withSampleMemory(set, device, recipe.family, inputs.sample) };
  }
  if (kind === "webgpu") events.onNote?.(`using ${software ? "a software adapter: " : ""}${name}`);
  events.onPrepare?.(`loading the ${recipe.family} tokenizer`);
  const init = state || inputs.init === null ? undefined : await openCheckpoint(inputs.init);
  const { imageLoss, checkpointing } = recipe;
  const { config } = set.manifest.families[recipe.family].tokenizer;
  await requireStepMemory(device, { family: recipe.family, config, batch: recipe.batch, checkpointing });
  const trainee = await Trainee.open(device, set, recipe.family, { imageLoss, checkpointing, init });
  cleanup.defer(() => trainee.dispose());
  const data = await openData({ recipe, inputs }, set, trainee, events, cleanup);
  const settings: Settings = {
    ...{ recipe, inputs, modelSet: set.hash, initSha256 },
    data: data.pairs.fingerprint,
    others: data.others?.fingerprint ?? null,
    device: device.info.kind,
  };
  // Throws when nothing is left to train on, so it comes before the folder of the run is created.
  const total = trainingImages(data.pairs, recipe);
  // The folder of the run may also be that of the result; it must exist before the result is checked.
  const isOutInRun = resolve(dirname(out)) === resolve(run);
  if (!isOutInRun) {
    // So that no other run writes it. The folder of the run has a lock of its own.
    const claim = await PartFile.create("--out", out);
    cleanup.defer(() => claim.discard());
  }
  if (state) requireFits(options.resume!, state, settings, set, trainee);
  else cleanup.use(await createRun(run));
  if (isOutInRun) await requireFolder("--out", out);
  const files = new RunFiles(run, trainee, settings, data.pairs);
  if (state) await files.repair(state);
  events.onStart?.(total, trainedImages(state, total, recipe));
  const result = await train(trainee, {
    settings,
    data,
    resume: state,
    save: (current) => saveState(run, current),
    saveSeconds: options.saveSeconds,
    signal: options.signal,
    onProgress: events.onProgress,
    onEpoch: async (row, isBest) => {
      await files.addEpoch(row, isBest);
      events.onEpoch?.(row);
    },
  });
  const last = files.history.at(-1);
  const isDone = result.status === "done";
  if (isDone) await files.writeEncoder(out, last!);
  return { status: result.status, run, out: isDone ? out : null, best: result.position.best, last };
}

/** Recipe, folder, inputs and model set of a run: those of its saved state, or by the options and defaults. */
async function setUp(
  options: TrainingJobOptions,
  state: RunState | undefined,
  events: TrainingEvents,
): Promise<
  { readonly recipe: Recipe; readonly run: string; readonly inputs: Settings["inputs"]; readonly set: ModelSet }
> {
  if (state !== undefined) {
    const { recipe, inputs } = state.settings;
    return { recipe, run: options.resume!, inputs, set: await openModelSet(inputs.models) };
  }
  const { family } = options;
  if (family === undefined) throw new Error(`--family: expected ${familyNames.join(" or ")}`);
  const recipe = makeRecipe(family, options.recipe);
  const run = options.run ?? join("runs", family);
  const set = await chooseModels(options.models, events);
  const inputs = {
    models: options.models ?? set.path,
    pairs: options.pairs ?? [],
    data: options.data ?? [],
    init: options.init ?? null,
    limit: options.limit ?? null,
    out: options.out ?? join(run, encoderFile),
    sample: sampleSettings(options),
  };
  return { recipe, run, inputs, set };
}

/** Opens the pairs: drawn from the transformers of the set, or read from files. */
async function openData(
  { recipe, inputs }: Pick<Settings, "recipe" | "inputs">,
  set: ModelSet,
  trainee: Trainee,
  events: TrainingEvents,
  cleanup: AsyncDisposableStack,
): Promise<TrainingData> {
  if (inputs.sample) {
    const sample = await withSampleMemory(set, trainee.device, recipe.family, inputs.sample);
    const sampled = await openSampledData(set, trainee.device, recipe, sample, events.onPrepare);
    cleanup.defer(() => sampled.dispose());
    return sampled;
  }
  return await openTrainingData(trainee.tokenizer, {
    decoder: cleanup.use(openDecoder()),
    pairs: inputs.pairs,
    data: inputs.data,
    labels: labelsOf(set),
    limit: inputs.limit ?? undefined,
    onProgress: (done, total) => events.onPrepare?.(`reading images: ${done} of ${total}`),
  });
}

/** Training images that an interrupted run has seen. */
function trainedImages(state: RunState | undefined, total: number, { epochs }: Recipe): number {
  if (state === undefined) return 0;
  const { epoch, position } = state.position;
  return epoch * total / epochs + position;
}

/** Log and encoders of a run. */
class RunFiles {
  readonly history: EpochRow[] = [];
  readonly #heldOut: readonly number[];

  constructor(
    readonly run: string,
    readonly trainee: Trainee,
    readonly settings: Settings,
    readonly pairs: PairSource,
  ) {
    this.#heldOut = split(pairs.count, settings.recipe.holdout, settings.recipe.seed).heldOut;
  }

  /**
   * Writes the log and the best encoder of a resumed run again: the state of an epoch is saved before them, and the run
   * may have ended in between.
   */
  async repair(state: RunState): Promise<void> {
    const { history, best, epoch, position } = state.position;
    this.history.push(...history);
    await writeLog(this.run, this.history);
    if (best?.epoch === epoch && position === 0) {
      for (const [name, { values }] of state.parameters) this.trainee.restore(name, values);
      await this.writeEncoder(join(this.run, bestFile), history.at(-1)!);
    }
  }

  async addEpoch(row: EpochRow, isBest: boolean): Promise<void> {
    this.history.push(row);
    await writeLog(this.run, this.history);
    if (isBest) await this.writeEncoder(join(this.run, bestFile), row);
  }

  async writeEncoder(path: string, row: EpochRow): Promise<void> {
    const { run, trainee, settings, pairs } = this;
    const latents = await measureLatents(trainee, pairs, this.#heldOut, settings.recipe.batch);
    await writeEncoder(path, trainee, { settings, row, run, latents });
  }
}

/** Settings of pairs that are drawn; null without `sample.count`. Throws on options that exclude each other. */
function sampleSettings({ sample, pairs = [], data = [], limit }: TrainingJobOptions): SampleSettings | null {
  const { count, ...means } = sample ?? {};
  if (count === undefined) {
    if (Object.values(means).some((value) => value !== undefined)) {
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
    variants: means.variants ?? variants,
    memoryBytes: means.memoryBytes ?? memoryBytes,
    weightType: means.weightType ?? weightType,
  };
}

/** Throws, naming them, when options differ from those that the run was started with. */
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

/** Throws, naming it, when weights, data or parameters differ from those of the run. */
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

/** Makes the folder of a new run and locks it. */
async function createRun(dir: string): Promise<AsyncDisposable | undefined> {
  try {
    await Deno.mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new Error(`--run ${dir}: cannot make this folder: ${(cause as Error).message}`, { cause });
  }
  const lock = await lockRun("--run", dir);
  if (await isFile(join(dir, stateFile))) {
    await lock?.[Symbol.asyncDispose]();
    throw new Error(`--run ${dir}: has a run already: go on with --resume ${dir}, or name another folder`);
  }
  return lock;
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
