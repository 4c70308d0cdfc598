/** package.json and deno.json of the package for npm. */

/** What of the repository's deno.json they come from. */
export interface DenoJson {
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly unstable: readonly string[];
  readonly tasks: Readonly<Record<string, string>>;
  readonly publish: { readonly include: readonly string[]; readonly exclude: readonly string[] };
}

/** Tasks that a user of the package has; the others build or check the repository. */
export const packagedTasks: readonly string[] = [
  ...[
    "attribute",
    "serve",
    "generate",
    "weights",
    "weights-check",
    "calibrate",
    "evaluate",
    "features",
    "plot",
    "train",
  ],
  ...["journal", "slurm", "completion", "man"],
];

/** The version of npm's package `deno`: what the tests run on. */
const denoVersion = "2.9.6";

const asJs = (path: string) => path.replace(/\.ts$/, ".js");

/** The package.json. */
export function packageJson({ version, license, exports }: DenoJson): Record<string, unknown> {
  return {
    name: "model-tracer",
    version,
    description: "Names the image-autoregressive model that made an image, or says that none of the known ones did.",
    keywords: ["deno", "data-provenance", "ai-generated-images", "autoregressive-models", "webgpu", "var", "rar"],
    license,
    type: "module",
    bin: { "model-tracer": "tasks/npm.js" },
    exports: Object.fromEntries(
      Object.entries(exports).map(([name, path]) => {
        const js = asJs(path);
        return [name, { types: js.replace(/\.js$/, ".d.ts"), default: js }];
      }),
    ),
    engines: { node: ">=20", deno: ">=2.9" },
    // Optional: a system that npm has no Deno for, or a user who has one, does without.
    optionalDependencies: { deno: denoVersion },
  };
}

/** The deno.json: the version, which the program reads, and its tasks with their rights. */
export function packagedDenoJson({ version, unstable, tasks }: DenoJson): Record<string, unknown> {
  const lines = packagedTasks.map((name) => [name, tasks[name].replaceAll(/(tasks\/\w+)\.ts/g, "$1.js")]);
  return { version, unstable, tasks: Object.fromEntries(lines) };
}
