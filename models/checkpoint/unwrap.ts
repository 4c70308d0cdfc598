/**
 * Finds a network in a checkpoint that wraps it: below the prefix of a trainer or of a parallel module, and beside
 * tensors of its training, which no network reads.
 */
import type { ParamSpec } from "./load.ts";
import { autoUnwrap, renamed } from "./prefix.ts";
import type { TensorSource } from "./source.ts";

/** Tensors of a training: losses and discriminators, optimizers, and averaged copies of the weights. */
const trainingNames = /^(loss|losses|discriminator|disc|optimizer|optim|scaler|ema|ema_model|model_ema)\./;

/** A network in a checkpoint, and what a user should know of how it was found. */
export interface Unwrapped {
  /** The network's tensors under its own names, and whatever the rules do not leave out. */
  readonly source: TensorSource;
  /** Sentences without the file's name; none where the file has the network's names and nothing else. */
  readonly notes: readonly string[];
}

/**
 * The network with the parameters `specs`. A prefix is removed if all of its names are below it, as `module.` of
 * parallel training or `trainer.var_wo_ddp.` of VAR's trainer; everything beside it is left out then. So are tensors of
 * a training. Where the names do not fit, the source is returned as it is, and checkNames() says why. Closing the
 * result closes `source`.
 */
export function unwrapNetwork(source: TensorSource, specs: readonly ParamSpec[]): Unwrapped {
  const names = specs.map(({ name }) => name), wanted = new Set(names);
  const { source: inner, prefix, matched } = autoUnwrap(source, names);
  if (matched < names.length) return { source, notes: [] };
  const notes: string[] = [];
  const beside = source.tensors.size - inner.tensors.size;
  if (prefix !== "") {
    const more = beside === 0 ? "" : `; ${beside} tensors beside it are left out`;
    notes.push(`the network is below ${JSON.stringify(prefix)}${more}`);
  }
  const kept = [...inner.tensors.keys()].filter((name) => wanted.has(name) || !trainingNames.test(name));
  const left = inner.tensors.size - kept.length;
  if (left === 0) return { source: inner, notes };
  const groups = [...new Set([...inner.tensors.keys()].flatMap((name) => trainingNames.exec(name)?.[0] ?? []))];
  notes.push(`${left} tensors of its training are left out (${groups.map((group) => `${group}*`).join(", ")})`);
  return { source: renamed(inner, new Map(kept.map((name) => [name, name]))), notes };
}
