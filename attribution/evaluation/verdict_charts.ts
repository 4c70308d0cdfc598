/** Diagrams of confidences and likelihood ratios as chart options. plot/ renders them. */
import { axisStyle, palette } from "../plot/chart.ts";
import { type Figure, ink, legendStyle, percentLabel, shortNumber, still } from "./chart_style.ts";
import type { ProcessingResult } from "./processing.ts";

/** What is drawn of a group of verdicts. */
export type Drawable = Pick<ProcessingResult, "title" | "curves">;

const size = { width: 560, height: 460 };
const grid = { left: 80, top: 60, width: 430, height: 330 };
const shareAxis = {
  ...axisStyle,
  type: "value" as const,
  axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
};

/** Share of wrong labels among the most confident images, by how many of them are taken. */
export function riskFigure(groups: readonly Drawable[]): Figure {
  return {
    ...size,
    option: {
      legend: { top: 4, left: "center", width: 480, data: groups.map(({ title }) => title), ...legendStyle },
      grid,
      xAxis: { ...shareAxis, min: 0, max: 1, name: "coverage: share of images, the most confident first", nameGap: 30 },
      yAxis: { ...shareAxis, min: 0, name: "risk: share of wrong labels", nameGap: 52 },
      series: groups.map(({ title, curves }, i) => ({
        type: "line" as const,
        ...still,
        name: title,
        color: palette[i % palette.length],
        data: curves.risk.map(([coverage, risk]) => [coverage, risk]),
        showSymbol: false,
        lineStyle: lineOf(i),
      })),
    },
  };
}

/**
 * Share of right labels by confidence, a line per group. The size of a point shows the number of verdicts in its bin.
 */
export function reliabilityFigure(groups: readonly Drawable[]): Figure {
  const most = Math.max(1, ...groups.flatMap(({ curves }) => curves.reliability.map(({ count }) => count)));
  return {
    ...size,
    option: {
      legend: { top: 4, left: "center", width: 480, data: groups.map(({ title }) => title), ...legendStyle },
      grid,
      xAxis: { ...shareAxis, min: 0, max: 1, name: "confidence", nameGap: 30 },
      yAxis: { ...shareAxis, min: 0, max: 1, name: "share of right labels", nameGap: 52 },
      series: [
        ...groups.map(({ title, curves }, i) => ({
          type: "line" as const,
          ...still,
          name: title,
          color: palette[i % palette.length],
          data: curves.reliability.map(({ confidence, accuracy, count }) => ({
            value: [confidence, accuracy],
            symbolSize: 4 + 10 * Math.sqrt(count / most),
          })),
          symbol: "circle",
          lineStyle: lineOf(i),
        })),
        {
          type: "line" as const,
          ...still,
          data: [[0, 0], [1, 1]],
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
      legend: { top: 4, left: "center", width: 480, data: drawn.map(({ name }) => name), ...legendStyle },
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
