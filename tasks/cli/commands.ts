/** The descriptions of all tasks, which completion and manual are written from. */
import { listedTasks, type Manifest } from "./catalogue.ts";
import type { Command } from "./command.ts";
import { completion, man } from "./own_commands.ts";

/** Loads the description of a task. A package lacks some of these files. */
const loaders: Readonly<Record<string, () => Promise<{ readonly command: unknown }>>> = {
  attribute: () => import("../attribute.ts"),
  serve: () => import("../serve.ts"),
  generate: () => import("../generate.ts"),
  weights: () => import("../weights.ts"),
  "weights-check": () => import("../weights_check.ts"),
  calibrate: () => import("../calibrate.ts"),
  evaluate: () => import("../evaluate.ts"),
  features: () => import("../features.ts"),
  plot: () => import("../plot.ts"),
  train: () => import("../train.ts"),
  journal: () => import("../journal.ts"),
  slurm: () => import("../slurm.ts"),
  completion: () => Promise.resolve({ command: completion }),
  man: () => Promise.resolve({ command: man }),
  bench: () => import("../bench.ts"),
  parity: () => import("../parity.ts"),
  zoo: () => import("../zoo.ts"),
  "zoo-photos": () => import("../zoo_photos.ts"),
  "build-wasm": () => import("../build_wasm.ts"),
  pack: () => import("../pack.ts"),
  compile: () => import("../compile.ts"),
};

/** Descriptions of all tasks that a deno.json has, in the order of the list. */
export async function loadCommands(manifest: Manifest): Promise<readonly Command[]> {
  return await Promise.all(listedTasks(manifest).map(async ({ name }) => (await loaders[name]()).command as Command));
}
