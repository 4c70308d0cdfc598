/** Numbers as people read them, and as CSV has them. */
import type { Estimate } from "./evaluate.ts";
import { aboutFigure, type FigureName } from "./figures.ts";

/** Stands for a number that is not defined. */
export const dash = "–";

/** `93.1 %`; a dash if it is not defined. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? dash : `${(100 * share).toFixed(1)} %`;
}

/** `90.4 to 95.6 %`. */
export function describeInterval({ low, high }: { readonly low: number; readonly high: number }): string {
  return `${(100 * low).toFixed(1)} to ${percent(high)}`;
}

/** A share with its interval: `93.1 % (90.4 to 95.6 %)`; a number: `0.931 (0.904 to 0.956)`; a dash if undefined. */
export function describeEstimate({ value, interval }: Estimate, unit: "share" | "number" = "share"): string {
  if (value === null) return dash;
  if (unit === "share") return percent(value) + (interval === null ? "" : ` (${describeInterval(interval)})`);
  const digits = (number: number) => Number.isFinite(number) ? number.toFixed(3) : "infinite";
  return digits(value) + (interval === null ? "" : ` (${digits(interval.low)} to ${digits(interval.high)})`);
}

/** A figure with its interval. */
export function describeFigure(name: FigureName, figures: Readonly<Record<FigureName, Estimate>>): string {
  return describeEstimate(figures[name], aboutFigure(name).unit);
}

/** A described figure with its interval on a line of its own, without unit, so that columns are narrow. */
export function intervalBelow(text: string): string {
  return text.replace(/ \((.*?)( %)?\)/, "\n$1");
}

/** A number and the bounds of its interval as cells of a CSV file; empty where they are not defined. */
export const bounds = ({ value, interval }: Estimate) => [value ?? "", interval?.low ?? "", interval?.high ?? ""];
/** The columns of `bounds`. */
export const boundNames = (name: string) => [name, `${name}_low`, `${name}_high`];

/** A table in Markdown. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
