/**
 * Options of commands as plain data: a row per option says its name, what stands for its value in a help text, how the
 * value is read, and its default. The same rows give typed values, help texts and environment variables. Nothing here
 * prints, exits or reads the environment.
 */
import { parseBytes } from "./bytes.ts";

/** How a value is read from its text. */
export interface ValueType<T> {
  /** Throws an error that says what was expected and what came, but not the option's name. */
  readonly parse: (text: string) => T;
  /** The allowed words, where there are few. */
  readonly words?: readonly string[];
  /** What each word means, where that needs saying. */
  readonly meanings?: Readonly<Record<string, string>>;
  /** Whether a text has values with commas between them, so that an option may be given for each of them as well. */
  readonly isList?: boolean;
}

/** An option. One without `value` is a switch. */
export interface Option {
  /** The name without dashes. Default: the row's key, `maxPixels` as `max-pixels`. */
  readonly name?: string;
  /** One letter that does the same. */
  readonly short?: string;
  /** What stands for the value in help texts, such as `DIR`. */
  readonly value?: string;
  /** Default: any text. */
  // deno-lint-ignore no-explicit-any -- ValueOf has the type of each row
  readonly type?: ValueType<any>;
  readonly help: string;
  /** The text that counts when none is given. Without it the value is then undefined, and a switch false. */
  readonly default?: string;
  /** What a run does when none is given, where that is no fixed text; for the help text. */
  readonly unset?: string;
  readonly required?: boolean;
  /** Whether the option may be given more than once; its value is then a list. */
  readonly many?: boolean;
  /** Heading in the help text of this row and of those after it that have the same. */
  readonly group?: string;
  /** Environment variable that counts when the option is not given; an empty one counts as missing. */
  readonly env?: string;
}

export type Options = Readonly<Record<string, Option>>;

type Single<R> = R extends { readonly type: ValueType<infer T> } ? T : R extends { readonly value: string } ? string
: boolean;

/** The value of a row. */
export type ValueOf<R> = R extends { readonly value: string }
  ? Multiple<R> | (R extends { readonly default: string } | { readonly required: true } ? never : undefined)
  : boolean;

type Multiple<R> = R extends { readonly many: true } ? readonly Single<R>[] : Single<R>;

export type Values<O> = { readonly [K in keyof O]: ValueOf<O[K]> };

/** Keeps the literal types of a table, which the types of its values come from. */
export function defineOptions<const O extends Options>(options: O): O {
  return options;
}

/** The rows, with a heading over them in help texts. */
export function group<const O extends Options>(heading: string, options: O): O {
  const rows = Object.entries(options).map(([key, row]) => [key, { ...row, group: heading }]);
  return Object.fromEntries(rows) as O;
}

export function nameOf(key: string, { name }: Option): string {
  return name ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** One of a few words; of a record, its keys, each with its meaning. */
export function choice<const T extends string>(
  words: readonly T[] | Readonly<Record<T, string>>,
): ValueType<T> {
  const [allowed, meanings] = Array.isArray(words)
    ? [words as readonly T[], undefined]
    : [Object.keys(words) as T[], words as Readonly<Record<string, string>>];
  return {
    words: allowed,
    meanings,
    parse(text) {
      if ((allowed as readonly string[]).includes(text)) return text as T;
      throw new Error(`expected ${listWords(allowed)}, got ${text || "nothing"}`);
    },
  };
}

/** A number from `low` to `high`. */
export function real(low: number, high = Infinity): ValueType<number> {
  return numeric("a number", low, high, () => true);
}

/** A whole number from `low` to `high`. */
export function whole(low: number, high = Infinity): ValueType<number> {
  return numeric("a whole number", low, high, Number.isSafeInteger);
}

function numeric(kind: string, low: number, high: number, isKind: (value: number) => boolean): ValueType<number> {
  return {
    parse(text) {
      const value = text.trim() === "" ? NaN : Number(text);
      if (value >= low && value <= high && Number.isFinite(value) && isKind(value)) return value;
      throw new Error(
        `expected ${kind}, ${high === Infinity ? `${low} or more` : `from ${low} to ${high}`}, got ${text}`,
      );
    },
  };
}

/** A size such as `4GiB`, in bytes. */
export const size: ValueType<number> = {
  parse(text) {
    const bytes = parseBytes(text);
    if (bytes >= 1) return bytes;
    throw new Error(`expected a size such as 4GiB or 512MiB, got ${text}`);
  },
};

/** Values with commas between them, or of an option that is given more than once. */
export function listOf<T>(type: ValueType<T>): ValueType<readonly T[]> {
  return { words: type.words, isList: true, parse: (text) => text.split(",").map((part) => type.parse(part.trim())) };
}

export const anyText: ValueType<string> = { parse: (text) => text };

const onOff: ValueType<boolean> = {
  parse(text) {
    if (/^(1|true|yes|on)$/i.test(text)) return true;
    if (/^(0|false|no|off)$/i.test(text)) return false;
    throw new Error(`expected 1 or 0, got ${text}`);
  },
};

/** What a user gave for an option. */
export interface Given {
  /** How a message calls the option: `--memory`, or its environment variable. */
  readonly from: string;
  /** Undefined where nothing was given. */
  readonly texts: readonly string[] | undefined;
}

/**
 * Checks of values together: problems, in words. `name` says how a message calls an option. Values that could not be
 * read have their defaults here.
 */
export type Check<O> = (values: Values<O>, name: (key: keyof O) => string) => readonly string[];

/** Reads the values of a table. Throws one error for the user, with a line for everything that is wrong. */
export function readValues<O extends Options>(
  options: O,
  given: (key: string, row: Option) => Given,
  check: Check<O> = () => [],
): Values<O> {
  const problems: string[] = [];
  const missing = Object.entries(options).filter(([key, row]) => row.required && given(key, row).texts === undefined);
  if (missing.length > 0) {
    const required = Object.entries(options).filter(([, row]) => row.required);
    const wanted = required.map(([key, row]) => `--${nameOf(key, row)} ${row.value}`);
    problems.push(`expected ${wanted.join(" and ")} (--help)`);
  }
  const values = Object.entries(options).map(([key, row]): [string, unknown] => {
    const { parse, isList } = row.type ?? (row.value === undefined ? onOff : anyText);
    const { from, texts } = given(key, row);
    const usual = () => row.default === undefined ? (row.value === undefined ? false : undefined) : parse(row.default);
    if (texts === undefined) return [key, usual()];
    try {
      return [key, row.many ? texts.map(parse) : parse(isList ? texts.join(",") : texts.at(-1)!)];
    } catch (error) {
      problems.push(`${from}: ${(error as Error).message}`);
      return [key, usual()];
    }
  });
  const read = Object.fromEntries(values) as Values<O>;
  problems.push(...check(read, (key) => given(key as string, options[key as string]).from));
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return read;
}

/** `a, b or c`. */
export function listWords(words: readonly string[]): string {
  return words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
