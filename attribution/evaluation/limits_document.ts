/** Puts measured tables into a document, between two marks, so that one command measures and writes them. */
import { writeFileAtomically } from "../../util/files.ts";

/** The lines in a Markdown document between which the tables stand; readers do not see them. */
export const limitsMarks = { begin: "<!-- measured tables begin -->", end: "<!-- measured tables end -->" } as const;

/** Throws unless the document that `option` names has the two marks, in order, once each. */
export async function expectLimitsMarks(path: string, option = "--limits"): Promise<void> {
  splitAtMarks(`${option} ${path}`, await Deno.readTextFile(path));
}

/** Replaces what stands between the marks of a document. Throws as `expectLimitsMarks` does. */
export async function writeLimits(path: string, tables: string, option = "--limits"): Promise<void> {
  const { before, after } = splitAtMarks(`${option} ${path}`, await Deno.readTextFile(path));
  await writeFileAtomically(path, `${before}${limitsMarks.begin}\n\n${tables.trim()}\n\n${limitsMarks.end}${after}`);
}

/** What stands between the marks of a document. Throws as `expectLimitsMarks` does. */
export async function readLimits(path: string, option = "--limits"): Promise<string> {
  return splitAtMarks(`${option} ${path}`, await Deno.readTextFile(path)).tables.trim();
}

function splitAtMarks(
  document: string,
  text: string,
): { readonly before: string; readonly tables: string; readonly after: string } {
  const { begin, end } = limitsMarks;
  const [before, middle, ...more] = text.split(begin);
  const [tables, after, ...others] = middle?.split(end) ?? [];
  if (after === undefined || more.length > 0 || others.length > 0 || before.includes(end)) {
    throw new Error(`${document}: expected the lines ${begin} and ${end}, once each`);
  }
  return { before, tables, after };
}
