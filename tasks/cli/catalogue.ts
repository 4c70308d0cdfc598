/** All tasks with what each is for, in a few words: the list that `model-tracer` prints. */

/** Tasks by the heading under which they are listed. A package has those that its deno.json has. */
export const catalogue: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "Images": {
    attribute: "which model made each image",
    serve: "the same over HTTP, with a page",
    generate: "images of any variant, each with its tokens",
  },
  "Model sets": {
    weights: "fetches, checks and converts the official checkpoints",
    "weights-check": "whether this installation would find its own images",
    calibrate: "fits what a set decides by to labelled images",
    evaluate: "how often verdicts are right on labelled images",
    features: "everything that is measured of images, as a table",
    plot: "diagrams of features, reliability and training",
    train: "fine-tunes a tokenizer's encoder",
  },
  "Long runs": {
    journal: "looks into what runs keep, and joins shards",
    slurm: "runs attribute or train on a cluster",
  },
  "This command": {
    completion: "completion for bash, zsh or fish",
    man: "the manual, for man -l",
  },
  "The repository": {
    bench: "speed and memory of kernels and networks",
    parity: "compares with tensors of the official code",
    zoo: "trains the embedded stand-ins",
    "zoo-photos": "the photographs that they are trained on",
    "build-wasm": "builds the kernels of processors",
    pack: "makes the package for npm",
    compile: "attribute and serve as programs of one file",
  },
};

/** The part of a deno.json that commands need. */
export interface Manifest {
  /** Such as `0.2.0`. */
  readonly version: string;
  /** Command lines by the names of tasks. */
  readonly tasks: Readonly<Record<string, string>>;
}

/** A row of the list. */
export interface Listed {
  readonly heading: string;
  readonly name: string;
  readonly does: string;
}

/** The tasks of the catalogue that a deno.json has, in the order of the list. */
export function listedTasks({ tasks }: Manifest): Listed[] {
  return Object.entries(catalogue).flatMap(([heading, rows]) =>
    Object.entries(rows).filter(([name]) => name in tasks).map(([name, does]) => ({ heading, name, does }))
  );
}
