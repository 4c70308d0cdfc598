/**
 * What the diagrams of an evaluation share: size, colours and the style of legends and labels.
 * None of them is drawn here.
 */
import type { FamilyName } from "../../models/family.ts";
import { familyNames } from "../../models/registry.ts";
import { outlierLabel } from "../labels.ts";
import { axisStyle, type ChartOption, palette } from "../plot/chart.ts";

/** A chart with its size in pixels. */
export interface Figure {
  readonly option: ChartOption;
  readonly width: number;
  readonly height: number;
}

export const ink = axisStyle.nameTextStyle.color;
export const width = 860;

/** Families in one colour each, in the order of the registry; outliers in the third of the palette. */
export function groupColor(group: FamilyName | typeof outlierLabel): string {
  if (group === outlierLabel) return palette[2];
  const place = familyNames.indexOf(group);
  return palette[(place < 2 ? place : place + 1) % palette.length];
}

/** The page has no scripts: nothing changes under the pointer. */
export const still = { silent: true, emphasis: { disabled: true } } as const;
export const legendStyle = { textStyle: { color: ink }, icon: "roundRect", itemHeight: 8, itemGap: 18 } as const;
export const rotated = { ...axisStyle.axisLabel, rotate: 40 };

/** Three digits, without trailing zeros. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export function percentLabel(value: number): string {
  return `${shortNumber(100 * value)} %`;
}
