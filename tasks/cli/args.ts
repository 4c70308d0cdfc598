/**
 * Command lines: options by a table, unknown ones refused with a suggestion, values checked.
 * It neither prints nor exits; a task does that.
 */
import { parseBytes } from "../../util/bytes.ts";
import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * Parses `args` strictly. Throws an error for the user on an unknown option (naming the nearest known one), a missing value,
 * and a value where none is taken.
 */
export function parseOptions<const O extends Options>(args: readonly string[], options: O) {
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    if (!Object.hasOwn(options, token.name)) {
      const near = nearest(token.name, Object.keys(options));
      throw new Error(`unknown option ${token.rawName}${near ? `; did you mean --${near}?` : ""} (--help lists them)`);
    }
    const { type } = options[token.name];
    const takesValue = type === "string";
    // A value that looks like an option is more likely one whose value was forgotten.
    const missing = token.value === undefined || (!token.inlineValue && token.value.startsWith("-"));
    if (takesValue && missing) throw new Error(`${token.rawName}: expects a value (--help)`);
    if (!takesValue && token.value !== undefined) {
      throw new Error(`${token.rawName}: takes no value, got ${token.value}`);
    }
  }
  return parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
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

/** One of a few words. */
export function choice<const T extends string>(option: string, value: string, allowed: readonly T[]): T {
  if ((allowed as readonly string[]).includes(value)) return value as T;
  throw new Error(`${option}: expected ${list(allowed)}, got ${value}`);
}

/** A number within [low, high]; a whole one where `integer` is set. */
export function number(
  option: string,
  value: string,
  { low, high = Infinity, integer = false }: { low: number; high?: number; integer?: boolean },
): number {
  const parsed = value.trim() === "" ? NaN : Number(value);
  if (parsed >= low && parsed <= high && (!integer || Number.isSafeInteger(parsed))) return parsed;
  const kind = integer ? "a whole number" : "a number";
  const range = high === Infinity ? `${low} or more` : `from ${low} to ${high}`;
  throw new Error(`${option}: expected ${kind}, ${range}, got ${value}`);
}

/** A size in bytes: `4GiB`, `512MiB`, `1.5G` (binary units all), or plain bytes. */
export function byteSize(option: string, value: string): number {
  const bytes = parseBytes(value);
  if (bytes >= 1) return bytes;
  throw new Error(`${option}: expected a size such as 4GiB or 512MiB, got ${value}`);
}

function list(words: readonly string[]): string {
  return words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
