/**
 * How a module changes on its way into the package: files are JavaScript, and what comes from npm lies in the package.
 * Deno runs no TypeScript in node_modules, and a program that is started from its cache finds no other package there.
 */

import { maskLiterals } from "../../structure/source.ts";

/** What modules take of a package's module. */
export interface Taken {
  /** Names, `default` among them. */
  readonly names: Set<string>;
  /** Whether all of it is taken, as a namespace. */
  all: boolean;
}

/** The start of an import up to its specifier, as `deno transpile` writes it. */
const before = String.raw`\b(?:from|import)\s*\(?\s*`;
const ownFile = new RegExp(String.raw`(${before}|\bnew URL\(\s*)"(\.\.?/[^"\n]+)\.ts"`, "g");
const packageModule = new RegExp(`(${before})"npm:([^"\\n]+)"`, "g");
/** In a text without its comments and strings. */
const clause = /\bimport\s+([^"';()]+?)\s+from\s+"(_+)"/g;
const lazy = /\bimport\(\s*()"(_+)"/g;

/** The file of the folder `npm/` that holds a module of a package, or a file of it that is no module. */
export function vendored(specifier: string): string {
  if (/\.(wasm|ttf)$/.test(specifier)) return specifier.split("/").at(-1)!;
  const plain = specifier.replace(/(?<=.)@[^/]+/, "").replace(/^@/, "");
  return `${plain.replaceAll("/", "_").replace(/\.js$/, "")}.js`;
}

/** Notes what a module's text takes of packages, by specifier without `npm:`. */
export function noteTaken(text: string, taken: Map<string, Taken>): void {
  const of = (specifier: string) => {
    const known = taken.get(specifier) ?? { names: new Set<string>(), all: false };
    taken.set(specifier, known);
    return known;
  };
  const code = maskLiterals(text);
  const found = [...code.matchAll(lazy), ...code.matchAll(clause)].map((match) => {
    const end = match.index + match[0].lastIndexOf('"');
    return { names: match[1] || "*", specifier: text.slice(end - match[2].length, end) };
  });
  for (const { names, specifier: written } of found) {
    if (!written.startsWith("npm:") || /^source\s/.test(names)) continue; // that is WebAssembly, which is copied
    const specifier = written.slice("npm:".length);
    const entry = of(specifier);
    const listed = /\{([^}]*)\}/.exec(names)?.[1].split(",").map((name) => name.trim().split(/\s+as\s+/)[0]) ?? [];
    for (const name of listed.filter(Boolean)) entry.names.add(name);
    if (names.includes("*")) entry.all = true;
    if (/^[\w$]+/.test(names)) entry.names.add("default");
  }
}

/** The text of a module at `path`, from the package's root, with imports of files that the package has. */
export function rewritten(text: string, path: string): string {
  const up = "../".repeat(path.split("/").length - 1) || "./";
  return text.replace(ownFile, '$1"$2.js"')
    .replace(packageModule, (_, start, specifier) => `${start}"${up}npm/${vendored(specifier)}"`);
}

/** The module that is bundled for a specifier: what is taken of it, and nothing else. */
export function entryOf(specifier: string, { names, all }: Taken): string {
  const listed = [...names].filter((name) => !all || name === "default").sort();
  const from = JSON.stringify(`npm:${specifier}`);
  return (all ? `export * from ${from};\n` : "") +
    (listed.length > 0 ? `export { ${listed.join(", ")} } from ${from};\n` : "");
}
