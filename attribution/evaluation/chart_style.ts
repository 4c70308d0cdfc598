/**
 * Shared style of the diagrams of an evaluation: size, colours, legends and labels.
 */
import type { FamilyName } from "../../models/family.ts";
import { familyNames } from "../../models/registry.ts";
import { outlierLabel } from "../labels.ts";
import { axisStyle, type ChartOption, palette } from "../plot/chart.ts";

/** A diagram with its size in pixels. */
export interface Figure {
  readonly option: ChartOption;
  readonly width: number;
  readonly height: number;
}

/** Colour of text and lines. */
export const ink = axisStyle.nameTextStyle.color;
/** Width of most diagrams in pixels. */
export const width = 860;

/** Colour of text in cells. It stays dark on a dark page, because cells stay light. */
export const cellInk = "#10151a";

/** Colour of a family, in the order of the registry, or of outliers (the third of the palette). */
export function groupColor(group: FamilyName | typeof outlierLabel): string {
  if (group === outlierLabel) return palette[2];
  const index = familyNames.indexOf(group);
  return palette[(index < 2 ? index : index + 1) % palette.length];
}

/** No effects under the pointer: the page has no scripts. */
export const still = { silent: true, emphasis: { disabled: true } } as const;
/** Style of legends. */
export const legendStyle = { textStyle: { color: ink }, icon: "roundRect", itemHeight: 8, itemGap: 18 } as const;
/** Labels of an axis of names. */
export const rotated = { ...axisStyle.axisLabel, rotate: 40 };

/** Three digits, without trailing zeros. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** A share as a percentage with three digits. */
export function percentLabel(value: number): string {
  return `${shortNumber(100 * value)} %`;
}
