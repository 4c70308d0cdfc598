/** The rules of the repository's structure, each a function from its sources to the places that break it. */
import { mayKnowFamilies, order, registry } from "./layout.ts";
import { type Import, lineAt, type Source } from "./source.ts";

/** A place that breaks a rule, and what to do about it. */
export interface Problem {
  path: string;
  line: number;
  message: string;
}

/** An import whose target is a file of the tree. */
export interface Edge extends Import {
  from: string;
  to: string;
}

const within = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);

/** The entry of `order` that a file belongs to, and its row; undefined where none contains it. */
export function placeOf(path: string, rows = order): { entry: string; row: number } | undefined {
  let best: { entry: string; row: number } | undefined;
  rows.forEach((row, index) => {
    for (const entry of row) {
      if (within(path, entry) && entry.length > (best?.entry.length ?? 0)) best = { entry, row: index };
    }
  });
  return best;
}

/** The imports from one file of the tree to another; npm packages, `node:` modules and data are left out. */
export function edgesOf(sources: readonly Source[]): Edge[] {
  return sources.flatMap((source) =>
    source.imports
      .filter(({ specifier }) => specifier.startsWith(".") && /\.[jt]s$/.test(specifier))
      .map((each) => {
        const to = new URL(each.specifier, `file:///${source.path}`).pathname.slice(1);
        return { ...each, from: source.path, to };
      })
  );
}

/** Every import leads to an earlier row or stays in its entry; types included. */
export function againstOrder(sources: readonly Source[], rows = order): Problem[] {
  const problems: Problem[] = [];
  for (const { path } of sources) {
    if (placeOf(path, rows) === undefined) {
      problems.push({ path, line: 1, message: "is in no folder of structure/layout.ts: add its folder to `order`" });
    }
  }
  for (const { from, to, line } of edgesOf(sources)) {
    const [user, used] = [placeOf(from, rows), placeOf(to, rows)];
    if (user === undefined || used === undefined || user.entry === used.entry || used.row < user.row) continue;
    const relation = used.row === user.row ? "is beside" : "comes after";
    problems.push({
      path: from,
      line,
      message:
        `imports ${to}, but ${used.entry} ${relation} ${user.entry} in the order of folders (structure/layout.ts). ` +
        `Move what is shared to an earlier folder, or hand it in as an argument`,
    });
  }
  return problems;
}

/** No file needs itself, through others, to be loaded. Types are erased; a worker is a program of its own. */
export function cycles(sources: readonly Source[]): Problem[] {
  const targets = Map.groupBy(
    edgesOf(sources).filter(({ kind }) => kind === "static" || kind === "lazy"),
    ({ from }) => from,
  );
  const problems: Problem[] = [];
  const state = new Map<string, "open" | "done">();
  const trail: Edge[] = [];
  const visit = (path: string) => {
    state.set(path, "open");
    for (const edge of targets.get(path) ?? []) {
      if (state.get(edge.to) === "open") {
        const cycle = [...trail, edge].slice(trail.findIndex(({ from }) => from === edge.to));
        const files = (cycle[0].from === edge.to ? cycle : [edge]).map(({ from }) => from);
        const message = `closes a cycle of imports: ${[...files, edge.to].join(" -> ")}. ` +
          `Move what both need into a file of its own, or import types with \`import type\``;
        problems.push({ path, line: edge.line, message });
      } else if (!state.has(edge.to)) {
        trail.push(edge);
        visit(edge.to);
        trail.pop();
      }
    }
    state.set(path, "done");
  };
  for (const { path } of sources) if (!state.has(path)) visit(path);
  return problems;
}

/** The families: folders of models/ with a config.ts. */
export function familiesOf(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path }) => /^models\/([^/]+)\/config\.ts$/.exec(path)?.[1] ?? []);
}

/** A file belongs to a family if a folder on its way, or the file, has the family's name. */
const belongsTo = (path: string, family: string) => path.replace(/(_test)?\.[jt]s$/, "").split("/").includes(family);

/** Only a family's files, the registry and `mayKnowFamilies` know it: its modules, its classes, its name in comparisons. */
export function knowsFamily(sources: readonly Source[], exempt = Object.keys(mayKnowFamilies)): Problem[] {
  const edges = Map.groupBy(edgesOf(sources), ({ from }) => from);
  const problems: Problem[] = [];
  for (const family of familiesOf(sources)) {
    const folder = `models/${family}`;
    const classes = sources.filter(({ path }) => within(path, folder))
      .flatMap(({ code }) => Array.from(code.matchAll(/\bclass\s+([\w$]+)/g), ([, name]) => name));
    for (const source of sources) {
      const { path, text } = source;
      if (belongsTo(path, family) || path === registry || exempt.some((entry) => within(path, entry))) continue;
      const add = (line: number, does: string) =>
        problems.push({
          path,
          line,
          message: `${does}: only models/${family}/, files named "${family}" and ${registry} may. ` +
            `Ask the family through its interface (models/family.ts)`,
        });
      for (const { to, line } of edges.get(path) ?? []) if (within(to, folder)) add(line, `imports ${to}`);
      for (const { position, name } of testedClasses(source)) {
        if (classes.includes(name)) add(lineAt(text, position), `tests for the class ${name}`);
      }
      for (const { position, value } of comparedStrings(source)) {
        if (value === family) add(lineAt(text, position), `compares with "${family}"`);
      }
    }
  }
  return problems;
}

function testedClasses({ code }: Source): { position: number; name: string }[] {
  return Array.from(code.matchAll(/\binstanceof\s+(?:[\w$]+\s*\.\s*)*([\w$]+)/g), (match) => ({
    position: match.index,
    name: match[1],
  }));
}

const literal = /(?:"_+"|'_+'|`_+`)/.source;
const comparison = new RegExp(
  [
    `[!=]==?\\s*${literal}`,
    `${literal}\\s*[!=]==?`,
    `\\bcase\\s+${literal}`,
    `\\[[^[\\]]*\\]\\s*(?:as const\\s*\\)\\s*)?\\.(?:includes|indexOf|some)\\(`, // ["a", "b"].includes(x)
    `\\.(?:includes|indexOf|startsWith|endsWith|has)\\(\\s*${literal}`,
    `\\bnew\\s+Set\\(\\s*\\[[^[\\]]*\\]\\s*\\)\\s*\\.has\\(`,
  ].join("|"),
  "g",
);

/** The strings that a file compares something with: ===, !==, ==, !=, case, and membership of a list of literals. */
function comparedStrings({ code, text }: Source): { position: number; value: string }[] {
  return Array.from(code.matchAll(comparison)).flatMap((match) =>
    Array.from(match[0].matchAll(new RegExp(literal, "g")), ({ index, 0: quoted }) => {
      const position = match.index + index;
      return { position, value: text.slice(position + 1, position + quoted.length - 1) };
    })
  );
}
