/**
 * Reads what the structure check needs from one TypeScript or JavaScript file: its code without comments and strings, and
 * its imports. A scan over the text suffices for that; it needs no compiler.
 */

/** How a file names another one. Types are erased, lazy imports load later, a worker is a program beside this one. */
export type ImportKind = "static" | "type" | "lazy" | "worker";

/** One import, `export ... from`, `import()` or `new URL(..., import.meta.url)` of a file. */
export interface Import {
  /** As written, for instance `../util/bytes.ts`. */
  specifier: string;
  kind: ImportKind;
  /** Counted from 1. */
  line: number;
}

/** A file of the tree, ready for the rules. */
export interface Source {
  /** From the repository's root, with `/`. */
  path: string;
  text: string;
  /** `text` after `maskLiterals`. */
  code: string;
  imports: Import[];
}

// Comments, strings, and the characters that need a decision: a template's quote, braces, a slash that is no comment.
const lexeme = new RegExp(
  [
    /\/\/[^\n]*|\/\*[\s\S]*?\*\//,
    /"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"|'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'/,
    /[`{}/]/,
  ].map((part) => part.source).join("|"),
  "g",
);
const templatePart = /[^`\\$]*(?:(?:\\[\s\S]|\$(?!\{))[^`\\$]*)*(?:`|\$\{|$)/y;
const regExpLiteral = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
/** A slash after one of these begins a regular expression; elsewhere it divides. */
const beforeRegExp = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|await|yield))\s*$/;

/**
 * The text with every comment as blanks, and the contents of strings, templates and regular expressions as `_`.
 * Lines and positions stay as they are. Code inside `${}` of a template remains.
 */
export function maskLiterals(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, " ");
  const fill = (part: string) => part.replace(/[^\n]/g, "_");
  let code = "";
  let at = 0;
  /** Open braces inside each template expression that is open. */
  const depths: number[] = [];
  const takeTemplate = () => {
    templatePart.lastIndex = at;
    const part = templatePart.exec(text)![0];
    const end = part.endsWith("${") ? "${" : part.endsWith("`") ? "`" : "";
    code += fill(part.slice(0, part.length - end.length)) + end;
    at += part.length;
    if (end === "${") depths.push(0);
  };
  for (;;) {
    lexeme.lastIndex = at;
    const match = lexeme.exec(text);
    if (match === null) return code + text.slice(at);
    const [part] = match;
    code += text.slice(at, match.index);
    at = match.index + part.length;
    if (part.startsWith("//") || part.startsWith("/*")) code += blank(part);
    else if (part[0] === '"' || part[0] === "'") code += part[0] + fill(part.slice(1, -1)) + part[0];
    else if (part === "/") {
      regExpLiteral.lastIndex = match.index;
      const literal = beforeRegExp.test(code.slice(-200)) ? regExpLiteral.exec(text)?.[0] : undefined;
      code += literal === undefined ? part : `/${fill(literal.slice(1))}`;
      at = match.index + (literal ?? part).length;
    } else {
      code += part;
      const last = depths.length - 1;
      if (part === "`") takeTemplate();
      else if (part === "{" && last >= 0) depths[last]++;
      else if (part === "}" && last >= 0 && depths[last]-- === 0) {
        depths.pop();
        takeTemplate();
      }
    }
  }
}

/** The line of a position, counted from 1. */
export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}

const staticImport = new RegExp(
  [
    /(?<![\w$.])(?:import|export)\b/,
    `(?:${/\s*(?<type>type\b(?!\s*from\b))?\s*(?:source\s+)?/.source}`,
    /(?<names>(?:[\w$]+\s*,?\s*)?(?:\{[^{}]*\}|\*(?:\s*as\s+[\w$]+)?)?)\s*/,
    "from)?",
    /\s*(?<quote>["'])(?<specifier>_+)\k<quote>/,
  ].map((part) => typeof part === "string" ? part : part.source).join(""),
  "g",
);
const lazyImport = /(\btypeof\s*)?(?<![\w$.])import\s*\(\s*(["'`])(_+)\2\s*\)(\s*\.\s*[A-Z])?/g;
const workerUrl = /\bnew\s+URL\s*\(\s*(["'`])(_+)\1\s*,\s*import\.meta\.url\s*,?\s*\)/g;

/** What a file imports, in its order. */
export function importsOf(text: string, code = maskLiterals(text)): Import[] {
  const imports: (Import & { position: number })[] = [];
  const add = (match: RegExpMatchArray, masked: string, kind: ImportKind) => {
    const start = match.index! + match[0].lastIndexOf(masked);
    const specifier = text.slice(start, start + masked.length);
    if (kind === "worker" && !/\.[jt]s$/.test(specifier)) return; // data beside the code
    imports.push({ specifier, kind, line: lineAt(text, match.index!), position: match.index! });
  };
  for (const match of code.matchAll(staticImport)) {
    const { type, names: written = "", specifier } = match.groups!;
    const names = /^\{([^{}]*)\}\s*$/.exec(written)?.[1].split(",").map((name) => name.trim()).filter(Boolean) ?? [];
    const typesOnly = type !== undefined || names.length > 0 && names.every((name) => /^type\s/.test(name));
    add(match, specifier, typesOnly ? "type" : "static");
  }
  for (const match of code.matchAll(lazyImport)) {
    add(match, match[3], match[1] !== undefined || match[4] !== undefined ? "type" : "lazy");
  }
  for (const match of code.matchAll(workerUrl)) add(match, match[2], "worker");
  return imports.sort((a, b) => a.position - b.position)
    .map(({ specifier, kind, line }) => ({ specifier, kind, line }));
}

/** A file ready for the rules. */
export function parseSource(path: string, text: string): Source {
  const code = maskLiterals(text);
  return { path, text, code, imports: importsOf(text, code) };
}
