/** Diagrams of confidences and likelihood ratios as chart options. plot/ renders them. */
import { axisStyle, palette } from "../plot/chart.ts";
import { type Figure, ink, legendStyle, percentLabel, shortNumber, still } from "./chart_style.ts";
import type { ProcessingResult } from "./processing.ts";

/** What is drawn of a group of verdicts. */
export type Drawable = Pick<ProcessingResult, "title" | "curves">;

/** As wide as a phone, where larger diagrams would be cut. */
const size = { width: 420, height: 410 };
const grid = { left: 74, top: 70, width: 326, height: 280 };
const shareAxis = {
  ...axisStyle,
  type: "value" as const,
  axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
};

/** The number of verdicts in a group, from the bins that have all of them. */
const imagesOf = ({ curves }: Drawable) => curves.reliability.reduce((sum, { count }) => sum + count, 0);

/** Coverages at which the number of images stands on the first curve. */
const markedCoverages = [0.5, 0.8, 0.9, 1];

/**
 * Share of wrong labels among the most confident images, by how many of them are taken. The axis of risks ends above the
 * highest risk of a coverage of a tenth or more: of fewer images, a single wrong one would set it.
 */
export function riskFigure(groups: readonly Drawable[]): Figure {
  const risks = groups.flatMap(({ curves }) =>
    curves.risk.filter(([coverage]) => coverage >= 0.1).map(([, risk]) => risk)
  );
  const highest = Math.max(0.01, ...risks);
  return {
    ...size,
    option: {
      legend: { top: 4, left: "center", width: 380, data: groups.map(nameOf), ...legendStyle },
      grid,
      xAxis: { ...shareAxis, min: 0, max: 1, name: "coverage (the most confident images first)", nameGap: 30 },
      yAxis: { ...shareAxis, min: 0, max: roundUp(1.15 * highest), name: "risk: share of wrong labels", nameGap: 52 },
      series: groups.map((group, i) => ({
        type: "line" as const,
        ...still,
        name: nameOf(group),
        color: palette[i % palette.length],
        data: group.curves.risk.map(([coverage, risk]) => [coverage, risk]),
        showSymbol: false,
        clip: true,
        lineStyle: lineOf(i),
        markPoint: i === 0 ? riskMarks(group) : undefined,
      })),
    },
  };
}

/** `as stored (540)`: a group with its number of images. */
function nameOf(group: Drawable): string {
  return `${group.title} (${imagesOf(group)})`;
}

function riskMarks(group: Drawable) {
  const { risk } = group.curves, total = imagesOf(group);
  const data = markedCoverages.flatMap((wanted) => {
    const at = risk.find(([coverage]) => coverage >= wanted - 1e-9);
    if (at === undefined) return [];
    return [{
      name: String(wanted),
      coord: [at[0], at[1]],
      label: { formatter: `${Math.round(at[0] * total)}`, position: "top" as const, color: ink, fontSize: 11 },
    }];
  });
  return { silent: true, symbol: "circle", symbolSize: 6, data };
}

/** The next of 1, 2, 2.5, 5 times a power of ten, at most 1. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 2.5, 5, 10].find((step) => step * power >= value - 1e-12)!;
  return Math.min(1, Number((factor * power).toPrecision(3)));
}

/**
 * Share of right labels by confidence, a line per group. The size of a point shows the number of verdicts in its bin; at
 * the points of the first group it is written. The axes begin below the lowest confidence and share.
 */
export function reliabilityFigure(groups: readonly Drawable[]): Figure {
  const bins = groups.flatMap(({ curves }) => curves.reliability);
  const most = Math.max(1, ...bins.map(({ count }) => count));
  const lowest = (values: readonly number[]) => Math.max(0, Math.floor(10 * (Math.min(1, ...values) - 0.02)) / 10);
  const left = lowest(bins.map(({ confidence }) => confidence));
  const bottom = Math.min(left, lowest(bins.map(({ accuracy }) => accuracy)));
  return {
    ...size,
    option: {
      legend: { top: 4, left: "center", width: 380, data: groups.map(nameOf), ...legendStyle },
      grid,
      xAxis: { ...shareAxis, min: left, max: 1, name: "confidence", nameGap: 30 },
      yAxis: { ...shareAxis, min: bottom, max: 1, name: "share of right labels", nameGap: 52 },
      series: [
        ...groups.map((group, i) => ({
          type: "line" as const,
          ...still,
          name: nameOf(group),
          color: palette[i % palette.length],
          data: group.curves.reliability.map(({ confidence, accuracy, count }) => ({
            value: [confidence, accuracy],
            symbolSize: 4 + 10 * Math.sqrt(count / most),
            label: { show: i === 0, formatter: String(count), position: "bottom" as const, color: ink, fontSize: 11 },
          })),
          symbol: "circle",
          labelLayout: { hideOverlap: true },
          lineStyle: lineOf(i),
        })),
        {
          type: "line" as const,
          ...still,
          data: [[left, left], [1, 1]],
          showSymbol: false,
          color: ink,
          lineStyle: { type: "dotted" as const, width: 1, color: ink },
        },
      ],
    },
  };
}

/** Dashed from the fifth line on: light and dark blue are hard to tell apart on a dark page. */
function lineOf(i: number) {
  return { width: i === 0 ? 2.5 : 1.5, type: i < 4 ? "solid" as const : "dashed" as const };
}

/** Ratios beyond this are drawn at the diagram's edge. */
const farthest = 6;

/**
 * Tippett curves: share of images whose likelihood ratio is at least as high, for generated images and for outliers.
 * Null if no group has ratios.
 */
export function tippettFigure(groups: readonly Drawable[]): Figure | null {
  const sides = ["generated", "outliers"] as const;
  const drawn = groups.flatMap(({ title, curves: { tippett } }, i) =>
    tippett === null ? [] : sides.map((side, s) => ({
      name: groups.length === 1 ? side : `${side}, ${title}`,
      curve: side === "generated" ? tippett.members : tippett.outliers,
      color: palette[s],
      type: i === 0 ? "solid" as const : "dashed" as const,
    }))
  );
  if (drawn.length === 0) return null;
  const clip = (log: number) => Math.min(Math.max(log, -farthest), farthest);
  return {
    ...size,
    option: {
      legend: { top: 4, left: "center", width: 380, data: drawn.map(({ name }) => name), ...legendStyle },
      grid,
      xAxis: {
        ...axisStyle,
        type: "value",
        min: -farthest,
        max: farthest,
        name: "log10 of the likelihood ratio",
        nameGap: 30,
        axisLabel: { ...axisStyle.axisLabel, formatter: shortNumber },
      },
      yAxis: {
        ...shareAxis,
        min: 0,
        max: 1,
        name: "share of images at least as high",
        nameGap: 52,
        axisLine: { ...axisStyle.axisLine, onZero: false },
      },
      series: drawn.map(({ name, curve, color, type }, i) => ({
        type: "line" as const,
        ...still,
        name,
        color,
        step: "start" as const,
        data: [
          [-farthest, 1],
          ...curve.log10.map((log, at) => [clip(log), curve.share[at]]),
          ...curve.log10.length === 0 ? [] : [[clip(curve.log10.at(-1)!), 0], [farthest, 0]],
        ],
        showSymbol: false,
        lineStyle: { width: 2, type },
        markLine: i === 0 ? even : undefined,
      })),
    },
  };
}

/** A line where the ratio is 1. */
const even = {
  silent: true,
  symbol: "none",
  lineStyle: { color: ink, type: "dotted" as const, width: 1 },
  label: { show: false },
  data: [{ xAxis: 0 }],
};
