/**
 * `model-tracer <task>`: starts `deno run` with the permissions and the flags of V8 that deno.json gives the task. It runs
 * under Deno (model_tracer.ts) and, in the package for npm, under Node (npm.ts), and uses nothing that only one of them has.
 */
import { nearest } from "../../util/arguments.ts";
import { listedTasks, type Manifest } from "./catalogue.ts";

/** The argument by which a task knows that it was started as `model-tracer <task>`, before all others. */
export const startedByCommand = "--started-by-model-tracer";

/** What the list of tasks ends with. */
const more = "model-tracer TASK --help explains a task. --version shows the version; every task takes --quiet.";

/** The list of tasks, a line each. */
export function taskList(manifest: Manifest): string {
  const rows = listedTasks(manifest);
  const width = Math.max(...rows.map(({ name }) => name.length));
  const lines = rows.map(({ heading, name, does }, i) => {
    const head = heading === rows[i - 1]?.heading ? "" : `\n${heading}:\n`;
    return `${head}  ${name.padEnd(width)}  ${does}`;
  });
  return "Which image-autoregressive model made an image?\n\nusage: model-tracer TASK [options]\n" +
    `${lines.join("\n")}\n\n${more}\n`;
}

/** What a command line of `model-tracer` asks for. */
export type Asked =
  | { readonly text: string }
  | { readonly task: string; readonly args: readonly string[] };

/**
 * Reads a command line: the text that answers it, or the task that does. `help TASK` and options before the task are
 * understood. Throws an error for the user on an unknown task, naming the nearest one.
 */
export function readCommandLine(args: readonly string[], manifest: Manifest): Asked {
  const [first, ...rest] = args;
  if (first === undefined || ["-h", "--help"].includes(first)) return { text: taskList(manifest) };
  if (first === "--version") return { text: `model-tracer ${manifest.version}\n` };
  if (first === "help") {
    return rest.length === 0 ? { text: taskList(manifest) } : readCommandLine([rest[0], "--help"], manifest);
  }
  if ((first === "--quiet" || first === "-q") && rest.length > 0) {
    return readCommandLine([rest[0], first, ...rest.slice(1)], manifest);
  }
  const names = listedTasks(manifest).map(({ name }) => name);
  if (names.includes(first)) return { task: first, args: rest };
  const near = nearest(first, names);
  throw new Error(
    `expected a task, got ${first}${near === undefined ? "" : `; did you mean ${near}?`} (model-tracer lists them)`,
  );
}

/** Options and variables of serve that name what it reads beside the program. */
const readBySettings = { "--models": "TRACER_MODELS", "--api-keys-file": "TRACER_API_KEYS_FILE" } as const;

/** The environment variables that the command itself looks at. */
export const variables: readonly string[] = Object.values(readBySettings);

/** Paths that a task's options and variables name, for tasks that may not read everything. */
export function namedPaths(args: readonly string[], env: (name: string) => string | undefined): string[] {
  return Object.entries(readBySettings).flatMap(([option, variable]) => {
    const at = args.findLastIndex((word) => word === option || word.startsWith(`${option}=`));
    const given = at < 0 ? env(variable) : args[at] === option ? args[at + 1] : args[at].slice(option.length + 1);
    return given ? [given] : [];
  });
}

/**
 * The words after `deno` that run a task from any folder. `words` are those of deno.json without the first, with flags in
 * place. A program's own paths become absolute; where the task may read its folder only, that is the program's, and
 * `paths` beside it.
 */
export function runWords(words: readonly string[], root: string, paths: readonly string[] = []): string[] {
  const [run, ...rest] = words;
  const readable = [root, ...paths].map((path) => path.replaceAll(",", ",,")).join(",");
  return [
    ...[run, "--config", `${root}/deno.json`, "--no-check"],
    ...rest.map((word) =>
      /^tasks\/\w+\.[jt]s$/.test(word)
        ? `${root}/${word}`
        : word === "--allow-read=."
        ? `--allow-read=${readable}`
        : word
    ),
  ];
}
