/**
 * Command lines, taken apart by a table of options. Unknown options are refused with a suggestion; what values mean is
 * options.ts's.
 */
import { parseArgs } from "node:util";
import { type Given, nameOf, type Option, type Options } from "./options.ts";

/** A command line taken apart: texts by the keys of the rows, and the words that are no options. */
export interface Arguments {
  readonly texts: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];
  /** The words after `--`. */
  readonly rest: readonly string[];
}

/**
 * Takes a command line apart. Throws an error for the user on an unknown option (naming the nearest known one), a
 * missing value, and a value of a switch.
 */
export function splitArguments(args: readonly string[], options: Options): Arguments {
  const keys = new Map(Object.entries(options).map(([key, row]) => [nameOf(key, row), key]));
  const config = Object.fromEntries([...keys].map(([name, key]) => {
    const { value, short } = options[key];
    return [name, { type: value === undefined ? "boolean" : "string", multiple: true, ...short && { short } } as const];
  }));
  const { tokens } = parseArgs({
    args: [...args],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const texts = new Map<string, string[]>();
  const operands: string[] = [];
  const end = tokens.find(({ kind }) => kind === "option-terminator")?.index ?? args.length;
  for (const token of tokens) {
    if (token.kind === "positional" && token.index < end) operands.push(token.value);
    if (token.kind !== "option") continue;
    const key = keys.get(token.name);
    if (key === undefined) {
      throw unknownOption(token.rawName, args[token.index], [...keys.keys()]);
    }
    const isSwitch = options[key].value === undefined;
    // A value that looks like an option is more likely one whose value was forgotten. A dash alone is standard input.
    const isMissing = token.value === undefined || (!token.inlineValue && /^-./.test(token.value));
    if (!isSwitch && isMissing) throw new Error(`${token.rawName}: expects a value (--help)`);
    if (isSwitch && token.value !== undefined) {
      throw new Error(`${token.rawName}: takes no value, got ${token.value}`);
    }
    texts.set(key, [...texts.get(key) ?? [], token.value ?? "1"]);
  }
  return { texts, operands, rest: args.slice(end + 1) };
}

/** The error for an option that is none of `names`; `word` is the whole word of the command line. */
function unknownOption(rawName: string, word: string, names: readonly string[]): Error {
  if (/\.[a-z0-9]+$/i.test(word)) {
    return new Error(`unknown option ${word} (--help lists them); a file of this name is given as ./${word}`);
  }
  const near = nearest(rawName.replace(/^-+/, ""), names);
  return new Error(`unknown option ${rawName}${near ? `; did you mean --${near}?` : ""} (--help lists them)`);
}

/** Where values come from: the command line, and for what it lacks the environment. */
export function fromArguments(
  { texts }: Arguments,
  env: (name: string) => string | undefined = () => undefined,
): (key: string, row: Option) => Given {
  return (key, row) => {
    const from = `--${nameOf(key, row)}`;
    if (texts.has(key) || row.env === undefined) return { from, texts: texts.get(key) };
    const text = env(row.env);
    return text ? { from: row.env, texts: [text] } : { from, texts: undefined };
  };
}

/** The candidate with the smallest edit distance, if that is at most a third of the word. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates.map((name) => ({ name, distance: editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0] && ranked[0].distance <= Math.max(1, Math.floor(word.length / 3)) ? ranked[0].name : undefined;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
