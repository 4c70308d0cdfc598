/** The repository's folders as text: which imports from which, and how large each is. */
import { order } from "./layout.ts";
import { edgesOf, placeOf } from "./rules.ts";
import type { Source } from "./source.ts";

const begin = "<!-- structure: begin, written by `deno task structure` -->";
const end = "<!-- structure: end -->";

/** The entries that have files, from the last of the order to the first, with their files. */
function entriesOf(sources: readonly Source[], rows: typeof order): [string, Source[]][] {
  const files = Map.groupBy(sources, ({ path }) => placeOf(path, rows)?.entry);
  return rows.flat().reverse().flatMap((entry) => files.has(entry) ? [[entry, files.get(entry)!]] : []);
}

/**
 * A line per folder, the last of the order first, with the number of its imports from each of the others. Every arrow
 * points down when the order holds; one that points up is drawn as such.
 */
export function drawFolders(sources: readonly Source[], rows = order, width = 120): string {
  const entries = entriesOf(sources, rows);
  const height = new Map(entries.map(([entry], index) => [entry, index]));
  const nameWidth = Math.max(...entries.map(([entry]) => entry.length));
  const uses = Map.groupBy(edgesOf(sources), ({ from }) => placeOf(from, rows)?.entry);
  const lines = entries.map(([entry], index) => {
    const counts = new Map<string, number>();
    for (const { to } of uses.get(entry) ?? []) {
      const used = placeOf(to, rows)?.entry;
      if (used !== undefined && used !== entry) counts.set(used, (counts.get(used) ?? 0) + 1);
    }
    const arrows = [...counts].sort(([a], [b]) => height.get(a)! - height.get(b)!)
      .map(([used, count]) => `${height.get(used)! > index ? "↓" : "↑"} ${used} ${count}`);
    return wrap(entry.padEnd(nameWidth), arrows, width);
  });
  return lines.join("\n");
}

/** The items after a title, in lines of at most `width` characters. */
function wrap(title: string, items: readonly string[], width: number): string {
  const lines = [title];
  for (const item of items) {
    const last = lines.length - 1;
    if (lines[last].length + item.length + 2 <= width) lines[last] += `  ${item}`;
    else lines.push(`${" ".repeat(title.length)}  ${item}`);
  }
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** A line per folder: files, and lines of code, which are neither blank nor only comment. */
export function sizeTable(sources: readonly Source[], rows = order): string {
  const codeLines = ({ code }: Source) => code.split("\n").filter((line) => line.trim() !== "").length;
  const sum = (files: readonly Source[]) => files.reduce((total, file) => total + codeLines(file), 0);
  const table = entriesOf(sources, rows).reverse().map(([entry, files]) => [entry, files.length, sum(files)] as const);
  return [...table, ["all", sources.length, sum(sources)] as const]
    .map(([name, files, lines]) => `${name.padEnd(26)}${`${files}`.padStart(5)} files${`${lines}`.padStart(8)} lines`)
    .join("\n");
}

/** The document with the drawing between its markers. Throws when it has none. */
export function withDrawing(document: string, drawing: string): string {
  const [start, stop] = [document.indexOf(begin), document.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`the document lacks the lines ${begin} and ${end}`);
  return `${document.slice(0, start)}${begin}\n\n\`\`\`text\n${drawing}\n\`\`\`\n\n${document.slice(stop)}`;
}
