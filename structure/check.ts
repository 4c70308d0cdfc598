/** The whole check: all rules over a tree, and the links of its documents. */
import { againstOrder, cycles, knowsFamily, type Problem } from "./rules.ts";
import type { Source } from "./source.ts";

/** What breaks a rule, in the order of paths. */
export function findProblems(sources: readonly Source[]): Problem[] {
  return [...againstOrder(sources), ...cycles(sources), ...knowsFamily(sources)]
    .sort((a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line);
}

/**
 * Links of a document to files that do not exist. With `names`, paths in backticks too, such as `core/tensor/op.ts`; not
 * those with a placeholder, such as `models/<family>/`.
 */
export async function missingFiles(
  path: string,
  text: string,
  exists: (path: string) => Promise<boolean>,
  names = false,
): Promise<Problem[]> {
  const prose = text.replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, " "));
  const links = Array.from(prose.matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)/g), (match) => ({
    match,
    target: decodeURIComponent(new URL(match[1], `file:///${path}`).pathname.slice(1)),
  }));
  const named = names
    ? Array.from(prose.matchAll(/`([\w.-]+\/[\w./-]*)`/g), (match) => ({ match, target: match[1] }))
    : [];
  const problems: Problem[] = [];
  for (const { match, target } of [...links, ...named]) {
    if (await exists(target)) continue;
    const line = text.slice(0, match.index).split("\n").length;
    problems.push({ path, line, message: `names ${target}, which does not exist` });
  }
  return problems;
}
