/** CSV tables whose rows name images: labels, classes. Names are kept as they are written, with their blanks. */
import { parse } from "npm:csv-parse@6.1.0/sync";
import { nameOfCell, printable } from "../../util/names.ts";

/** The column that names images. */
const nameColumn = "image_name";

/**
 * The rows of a table that has `image_name` and another column. Blanks around cells are dropped, except in image names;
 * names that are written so that no spreadsheet runs them (`nameCell`) are as before. `label` begins the error
 * messages. Throws, with advice, on what is no such table, and on one without rows.
 */
export function parseNameTable(text: string, label: string, column: string): Record<string, string>[] {
  let table: string[][];
  try {
    table = parseCells(text);
  } catch (cause) {
    throw new Error(`${label}: is not a CSV table: ${(cause as Error).message}${separatorHint(text)}`, { cause });
  }
  const [head = [], ...body] = table;
  const columns = head.map((cell) => cell.trim());
  if (![nameColumn, column].every((name) => columns.includes(name))) {
    const got = table.length === 0 ? "no rows" : printable(columns.join(", "));
    throw new Error(
      `${label}: expected the columns ${nameColumn} and ${column}, got ${got}${hint(text, columns, column)}`,
    );
  }
  if (body.length === 0) throw new Error(`${label}: expected the columns ${nameColumn} and ${column}, got no rows`);
  return body.map((cells) =>
    Object.fromEntries(columns.map((name, i) => [name, name === nameColumn ? nameOfCell(cells[i]) : cells[i].trim()]))
  );
}

/** Cells with the blanks around them. Of a table with blanks before quotes, which CSV does not have, without. */
function parseCells(text: string): string[][] {
  const options = { bom: true, skip_empty_lines: true };
  try {
    return parse(text, options);
  } catch {
    return parse(text, { ...options, trim: true });
  }
}

/** What to do about a table without its columns. */
function hint(text: string, columns: readonly string[], column: string): string {
  const looksLikeRow = columns.length > 1 && columns.some((cell) => /\.(png|jpe?g|webp)$/i.test(cell));
  return looksLikeRow ? `: put a first line ${nameColumn},${column} before the rows` : separatorHint(text);
}

/** What to do about a table whose first line has other separators than commas. */
function separatorHint(text: string): string {
  const [first] = text.split(/\r?\n/, 1);
  if (first.includes(",")) return "";
  if (first.includes(";")) return ": its columns are separated by semicolons; save it as CSV with commas";
  return first.includes("\t") ? ": its columns are separated by tabs; save it as CSV with commas" : "";
}
