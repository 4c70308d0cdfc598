/**
 * The optimisation loop with which every network of the zoo is trained: steps, a log, evaluations, and a state to go on
 * from. What a step computes, and on which data, is the business of the caller; nothing here knows a network.
 */
import { join } from "node:path";
import {
  Adam,
  type AdamOptions,
  clipGradients,
  differentiate,
  disposeAll,
  gradientNorm,
  type Schedule,
  type Tensor,
} from "../core/tensor/mod.ts";
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import { yieldToEventLoop } from "../util/event_loop.ts";

/** How long and how fast. */
export interface Course {
  readonly steps: number;
  readonly lr: Schedule;
  readonly adam?: AdamOptions;
  /** Largest norm of all gradients together (default 1). */
  readonly clip?: number;
  /** Steps between evaluations; a state is saved after each, so the loop can only be resumed there. */
  readonly every: number;
}

/** What is optimised, and what happens between steps. */
export interface LoopOptions {
  readonly course: Course;
  /** Dense f32 tensors that are updated in place. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Folder of `state.safetensors` and `log.csv`; made when missing. A state in it is continued. */
  readonly dir: string;
  /** Identifies what is trained on what; a state with another one is refused. */
  readonly fingerprint: string;
  /** The loss of one step (from 0) and whatever else is to be logged, one element each. Runs on a tape. */
  readonly loss: (step: number) => { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;
  /** After the update of a step; may change parameters. */
  readonly after?: (step: number) => void | Promise<void>;
  /** Figures on held-out data. */
  readonly evaluate: (step: number) => Promise<Readonly<Record<string, number>>>;
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
}

/** Where the optimisation ended. */
export interface LoopResult {
  readonly step: number;
  readonly done: boolean;
  /** Of the last evaluation. */
  readonly figures: Readonly<Record<string, number>>;
  /** Seconds of training in all, over every resumption. */
  readonly seconds: number;
}

const stateFile = "state.safetensors";

/**
 * Trains until the last step or until `signal` fires, after which the last saved state goes on. Throws when the loss is
 * NaN.
 */
export async function optimise(options: LoopOptions): Promise<LoopResult> {
  const { course, parameters, dir, loss, signal, log = () => {} } = options;
  await Deno.mkdir(dir, { recursive: true });
  const adam = new Adam(parameters, course.adam);
  try {
    const position = await restore(options, adam);
    let { seconds } = position;
    let figures: Readonly<Record<string, number>> = position.figures;
    let sums: Record<string, number> = {}, counted = 0;
    let clock = performance.now();
    for (let step = position.step; step < course.steps && !signal?.aborted; step++) {
      const { result, gradients } = differentiate([...parameters.values()], () => loss(step));
      const named = new Map([...parameters.keys()].map((name, i) => [name, gradients[i]]));
      const norm = gradientNorm(named.values());
      const clipped = clipGradients(named, norm, course.clip ?? 1);
      adam.update(clipped, course.lr(step));
      for (const [name, tensor] of [...Object.entries(result), ["norm", norm] as const]) {
        sums[name] = (sums[name] ?? 0) + await tensor.item();
      }
      counted++;
      disposeAll([result, norm, clipped]);
      // So that a signal of the operating system ends the training now, not at the next evaluation.
      await yieldToEventLoop();
      if (!Number.isFinite(sums.loss)) throw new Error(`${dir}: the loss is ${sums.loss} at step ${step + 1}`);
      await options.after?.(step);
      if ((step + 1) % course.every !== 0 && step + 1 !== course.steps) continue;
      const means = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / counted]));
      seconds += (performance.now() - clock) / 1000;
      figures = { ...means, ...await options.evaluate(step + 1) };
      await append(join(dir, "log.csv"), { step: step + 1, lr: course.lr(step), seconds, ...figures });
      await save(options, adam, { step: step + 1, seconds, figures });
      log(`step ${step + 1}/${course.steps} ${seconds.toFixed(0)} s ${describe(figures)}`);
      sums = {};
      counted = 0;
      clock = performance.now();
    }
    return { step: adam.step, done: adam.step >= course.steps, figures, seconds };
  } finally {
    adam.dispose();
  }
}

interface Position {
  readonly step: number;
  readonly seconds: number;
  readonly figures: Readonly<Record<string, number>>;
}

async function save({ parameters, dir, fingerprint }: LoopOptions, adam: Adam, position: Position): Promise<void> {
  const entries: SafetensorsEntry[] = [];
  for (const [name, tensor] of parameters) {
    entries.push({ name, shape: tensor.shape, dtype: "f32", data: () => tensor.data() });
  }
  for (const [name, { shape, values }] of (await adam.state()).tensors) {
    entries.push({ name: `adam:${name}`, shape, dtype: "f32", data: () => values });
  }
  await writeSafetensors(join(dir, stateFile), entries, { fingerprint, position: JSON.stringify(position) });
}

async function restore({ parameters, dir, fingerprint }: LoopOptions, adam: Adam): Promise<Position> {
  const path = join(dir, stateFile);
  const exists = await Deno.stat(path).then(() => true, () => false);
  if (!exists) return { step: 0, seconds: 0, figures: {} };
  const source = await openSafetensors(path);
  try {
    const saved = source.metadata.get("fingerprint"), position = source.metadata.get("position") ?? "{}";
    if (saved !== fingerprint) {
      throw new Error(
        `${path}: belongs to another training: expected\n${fingerprint}\ngot\n${saved}\n(remove it to start anew)`,
      );
    }
    const at: Position = JSON.parse(position);
    const moments = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
    for (const [name, tensor] of parameters) {
      tensor.device.write(tensor.storage, await source.readF32(name));
      for (const moment of [`${name}.m`, `${name}.v`]) {
        moments.set(moment, { shape: tensor.shape, values: await source.readF32(`adam:${moment}`) });
      }
    }
    adam.restore({ step: at.step, tensors: moments });
    return at;
  } finally {
    source.close();
  }
}

async function append(path: string, row: Readonly<Record<string, number>>): Promise<void> {
  const isNew = await Deno.stat(path).then(({ size }) => size === 0, () => true);
  const line = Object.values(row).map((value) => Number(value.toPrecision(7))).join(",");
  await Deno.writeTextFile(path, `${isNew ? Object.keys(row).join(",") + "\n" : ""}${line}\n`, { append: true });
}

function describe(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", ");
}
