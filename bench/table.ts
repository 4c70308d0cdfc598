/** Tables as text. */

/** Rows of cells as lines; the first column is aligned to the left, all others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => row[c]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    widths.map((width, c) => c === 0 ? (row[c] ?? "").padEnd(width) : (row[c] ?? "").padStart(width)).join("  ")
      .trimEnd();
  return rows.map(line).join("\n") + "\n";
}
