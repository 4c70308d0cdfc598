/**
 * Names of files where people and programs read them: on terminals, in CSV cells, and when a table names them in another
 * Unicode form.
 */

/** Control characters, and characters that change the direction or the lines of a text. */
const unprintable = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** A name in one line without control characters: these are shown as in JSON, `\n` or `\u001b`. */
export function printable(name: string): string {
  return name.replace(unprintable, escape);
}

/** A text of several lines without control characters other than line ends and tabs; the others as in `printable`. */
export function printableText(text: string): string {
  return text.replace(unprintable, (character) => "\n\t".includes(character) ? character : escape(character));
}

function escape(character: string): string {
  const json = JSON.stringify(character).slice(1, -1);
  return json !== character ? json : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Beginnings of a cell that spreadsheets take for a formula (OWASP, "CSV Injection"). */
const formula = /^'*[=+\-@\t\r]/;

/**
 * The cell of a name in a CSV table. A spreadsheet would run one that begins with = + - @, a tab or a carriage return,
 * so that it gets an apostrophe before it, which spreadsheets take for "this is text". A name that has apostrophes
 * before such a character gets one more, so that `nameOfCell` gives every name back.
 */
export function nameCell(name: string): string {
  return formula.test(name) ? `'${name}` : name;
}

/** The name that `nameCell` wrote. */
export function nameOfCell(cell: string): string {
  return cell.startsWith("'") && formula.test(cell) ? cell.slice(1) : cell;
}

/** What names have in common that differ only in their Unicode form or in blanks around them. */
function normalForm(name: string): string {
  return name.normalize("NFC").trim();
}

/**
 * Values by the names of files. A name is found as it is, else in any other Unicode form (an accented letter is one
 * character in some file systems and two in others) and with or without blanks around it, if only one entry fits so.
 */
export class NameMap<T> {
  readonly #exact = new Map<string, T>();
  /** Names by their normal form. */
  readonly #similar = new Map<string, string[]>();

  /** Number of names. */
  get size(): number {
    return this.#exact.size;
  }

  /** Names with their values, in the order in which they were added. */
  [Symbol.iterator](): IterableIterator<[string, T]> {
    return this.#exact[Symbol.iterator]();
  }

  /** All names, in the order in which they were added. */
  names(): IterableIterator<string> {
    return this.#exact.keys();
  }

  /** Sets the value of a name. */
  set(name: string, value: T): void {
    if (!this.#exact.has(name)) {
      const form = normalForm(name);
      const names = this.#similar.get(form);
      if (names === undefined) this.#similar.set(form, [name]);
      else names.push(name);
    }
    this.#exact.set(name, value);
  }

  /** Whether just this name was set. */
  has(name: string): boolean {
    return this.#exact.has(name);
  }

  /** The value of a name; undefined where no entry, or more than one, fits. */
  get(name: string): T | undefined {
    if (this.#exact.has(name)) return this.#exact.get(name);
    const names = this.#similar.get(normalForm(name)) ?? [];
    return names.length === 1 ? this.#exact.get(names[0]) : undefined;
  }
}

/** Pairs of names that differ only in their Unicode form, or in blanks around them. */
export function similarNames(names: Iterable<string>): [string, string][] {
  const first = new Map<string, string>();
  const pairs: [string, string][] = [];
  for (const name of names) {
    const form = normalForm(name), before = first.get(form);
    if (before === undefined) first.set(form, name);
    else if (before !== name) pairs.push([before, name]);
  }
  return pairs;
}

/** A note about names that look the same; `what` says whose names, such as `images`. Undefined where there are none. */
export function similarNamesNote(what: string, names: Iterable<string>): string | undefined {
  const pairs = similarNames(names);
  if (pairs.length === 0) return undefined;
  const [a, b] = pairs[0].map((name) => `"${asciiName(name)}"`);
  const more = pairs.length > 1 ? ` (and ${pairs.length - 1} more)` : "";
  return `${what}: ${a} and ${b}${more} differ only in their Unicode form or in blanks: tables are matched exactly`;
}

/** A name in ASCII, so that two that look the same are told apart. */
function asciiName(name: string): string {
  const toAscii = (character: string) =>
    character <= "~" ? character : `\\u{${character.codePointAt(0)!.toString(16)}}`;
  return Array.from(printable(name), toAscii).join("");
}
