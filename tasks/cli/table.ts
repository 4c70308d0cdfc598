/**
 * Plain tables for terminals: columns as wide as their widest cell, numbers to the right.
 * No colours and no borders, so that other programs can read them.
 */

/** Lines of a table; a column is set to the right when every cell below the head looks like a number or is a dash. */
export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i].length)));
  const right = head.map((_, i) => rows.length > 0 && rows.every((row) => /^(-|[-+]?[\d.]+.*)$/.test(row[i])));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join("  ").trimEnd();
  return [head, ...rows].map(line).join("\n") + "\n";
}
