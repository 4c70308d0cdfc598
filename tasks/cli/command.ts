/**
 * What all tasks share as commands: how one is described, its help text, and `runTask`, which parses the command line,
 * runs the task and ends the process.
 */
import { fromArguments, nearest, splitArguments } from "../../util/arguments.ts";
import {
  type Check,
  listWords,
  nameOf,
  type Option,
  type Options,
  readValues,
  type Values,
} from "../../util/options.ts";
import { explainFileError } from "../../util/file_errors.ts";
import { printableText } from "../../util/names.ts";
import { version } from "../../util/version.ts";
import { Progress, writeStdout } from "./progress.ts";
import { commandLine, spelled } from "./spelling.ts";

/** A command as plain data; its options are rows of util/options.ts. */
export interface Command<O extends Options = Options> {
  /** `deno task NAME`. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly about: string;
  /** What follows the name on a command line, one form of it per line. */
  readonly usage: readonly string[];
  /** What words that are no options are, such as `image files`. Without it, and without `actions`, there are none. */
  readonly operands?: string;
  /** What the words after `--` are. Without it, they are operands. */
  readonly rest?: string;
  /** Words that must come first, and what each does. */
  readonly actions?: Readonly<Record<string, string>>;
  readonly options: O;
  readonly check?: Check<O>;
  /** What else there is to know, after the options. */
  readonly notes?: string;
  /** Exit codes beside 0 and 1. */
  readonly exitCodes?: Readonly<Record<number, string>>;
}

/** What there is to say of a command. */
export type Described = Omit<Command, "check">;

/** A command line, checked. */
export interface Input<O extends Options> {
  readonly values: Values<O>;
  /** Words that are no options. */
  readonly operands: readonly string[];
  /** The words after `--`, of a command that takes some. */
  readonly rest: readonly string[];
  readonly progress: Progress;
}

/** Keeps the literal types of the options. */
export function defineCommand<const O extends Options>(command: Command<O>): Command<O> {
  return command;
}

/** Options of every task. */
export const standardOptions = {
  quiet: { short: "q", help: "no notes and no progress on stderr, only errors" },
  help: { short: "h", help: "show this text" },
  version: { help: "show the version" },
} as const satisfies Options;

/**
 * Runs a task with the process's command line and ends the process. Exit codes: what `main` returns, 1 for an error,
 * and 0 for `--help` and `--version`.
 */
export async function runTask<O extends Options>(
  command: Command<O>,
  main: (input: Input<O>) => number | Promise<number>,
): Promise<never> {
  try {
    const parts = splitArguments(commandLine, { ...command.options, ...standardOptions });
    const { texts } = parts;
    const [operands, rest] = command.rest === undefined
      ? [[...parts.operands, ...parts.rest], []]
      : [parts.operands, parts.rest];
    if (texts.has("help") || texts.has("version")) {
      writeStdout(texts.has("help") ? spelled(helpText(command)) : `model-tracer ${version}\n`);
      Deno.exit(0);
    }
    checkOperands(command, operands);
    const values = readValues(command.options, fromArguments(parts, (name) => Deno.env.get(name)), command.check);
    const progress = new Progress(command.name, { isQuiet: texts.has("quiet") });
    Deno.exit(await main({ values, operands, rest, progress }));
  } catch (error) {
    fail(command.name, error);
  }
}

/** Prints an error without its stack, and ends the process with exit code 1. */
export function fail(task: string, error: unknown): never {
  const message = spelled(explainFileError(printableText(error instanceof Error ? error.message : String(error))));
  // Lines that are set in belong to the line above them.
  console.error(message.replace(/^(?=\S)/gm, `${task}: `));
  Deno.exit(1);
}

function checkOperands({ actions, operands: wanted }: Described, operands: readonly string[]): void {
  if (actions !== undefined) {
    const words = Object.keys(actions);
    const [word] = operands;
    if (words.includes(word)) return;
    const near = word === undefined ? undefined : nearest(word, words);
    const suggestion = near === undefined ? "" : `; did you mean ${near}?`;
    throw new Error(`expected ${listWords(words)}, got ${word ?? "nothing"}${suggestion} (--help)`);
  }
  if (wanted === undefined && operands.length > 0) {
    throw new Error(`expected options only, got ${operands[0]} (--help)`);
  }
}

/** Exit codes with their meanings. */
export function exitCodesOf({ exitCodes }: Pick<Described, "exitCodes">): [code: string, meaning: string][] {
  return Object.entries({ 0: "done", 1: "usage or fatal error", ...exitCodes });
}

const lineWidth = 120;

/** The help text. Wrapped for lines of 120 characters. */
export function helpText({ name, about, usage, actions = {}, options, notes, exitCodes }: Described): string {
  const forms = usage.map((form, i) => `${i === 0 ? "usage:" : "      "} deno task ${name} ${form}`.trimEnd());
  const rows = Object.entries({ ...options, ...standardOptions } as Options);
  const lefts = rows.map(([key, row]) => leftOf(nameOf(key, row), row));
  const column = 2 +
    Math.max(...lefts.map(({ length }) => length), ...Object.keys(actions).map((word) => word.length + 2));
  const entry = (left: string, right: string) => wrap(right, column).replace(/^ */, left.padEnd(column));
  const lines = rows.map(([, row], i) => {
    const isNew = (row.group ?? "") !== (rows[i - 1]?.[1].group ?? "");
    const heading = isNew ? `\n${row.group === undefined ? "" : `${wrap(`${row.group}:`, 0)}\n`}` : "";
    return heading + entry(lefts[i], describeOption(row)) + meaningsOf(row, column);
  });
  const codes = exitCodesOf({ exitCodes }).map(([code, meaning]) => `${code} ${meaning}`);
  const parts = [
    wrap(about, 0),
    forms.join("\n"),
    Object.entries(actions).map(([word, does]) => entry(`  ${word}`, does)).join("\n"),
    lines.join("\n"),
    wrap(notes ?? "", 0),
    wrap(`Exit code: ${codes.join(", ")}.`, 0),
  ];
  return parts.filter((part) => part !== "").join("\n\n") + "\n";
}

function leftOf(name: string, { short, value }: Option): string {
  return `  ${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

/** What an option does, with its words and its default. */
export function describeOption({ help, type, default: fixed, unset, required, many, env }: Option): string {
  const remarks = [
    ...type?.words !== undefined && type.meanings === undefined ? [listWords(type.words)] : [],
    ...required ? ["needed"] : [],
    ...many ? ["may be given more than once"] : [],
    ...unset ? [`default: ${unset}`] : fixed ? [`default ${fixed}`] : [],
  ];
  return `${env === undefined ? "" : `[${env}] `}${help}${remarks.length > 0 ? ` (${remarks.join("; ")})` : ""}`;
}

function meaningsOf({ type }: Option, column: number): string {
  const meanings = Object.entries(type?.meanings ?? {});
  const width = 2 + Math.max(...meanings.map(([word]) => word.length));
  return meanings.map(([word, meaning]) =>
    "\n" + wrap(meaning, column + 2 + width).replace(/^ */, " ".repeat(column + 2) + word.padEnd(width))
  ).join("");
}

/** Breaks the lines of a text to fit, each set in by `column` blanks. */
function wrap(text: string, column: number): string {
  const lines: string[] = [];
  for (const line of text === "" ? [] : text.split("\n")) {
    let current = "";
    for (const word of line.split(" ")) {
      if (current !== "" && column + current.length + 1 + word.length > lineWidth) {
        lines.push(current);
        current = word;
      } else current += current === "" ? word : ` ${word}`;
    }
    lines.push(current);
  }
  return lines.map((line) => " ".repeat(column) + line).join("\n");
}
