/**
 * Diagrams of features and methods as chart options: distributions per class, pairwise AUC, mean scores by generating
 * class and scoring variant, PRADA's score functions. plot/ renders them, plots.ts writes the files.
 */
import {
  cellInk,
  type Figure,
  groupColor,
  ink,
  legendStyle as commonLegend,
  rotated,
  shortNumber as short,
  still,
} from "./chart_style.ts";
import { groupOf, type Label, type Labels, outlierLabel } from "../labels.ts";
import { auc, quantile } from "../metrics/mod.ts";
import { axisStyle, palette } from "../plot/chart.ts";
import type { FeatureItem } from "../evidence/features.ts";
import { featureTitle, summaryWords } from "../evidence/feature_words.ts";

const legendStyle = { ...commonLegend, itemGap: 14 } as const;
const title = (text: string, left: number, bottom: number, width: number) => ({
  text,
  left,
  top: bottom - titleHeight,
  textStyle: {
    fontSize: 12,
    lineHeight: 15,
    color: ink,
    fontWeight: "normal" as const,
    width,
    overflow: "break" as const,
  },
});
/** Room for a title of two lines above a panel. */
const titleHeight = 42;

type Labelled = FeatureItem & { readonly label: Label };

/** The items of each label, in the order of the labels; labels without items are left out. */
function groupsOf(items: readonly FeatureItem[], labels: Labels): { label: Label; members: Labelled[] }[] {
  const known = items.filter((item): item is Labelled => item.label !== undefined);
  return labels.all.map((label) => ({ label, members: known.filter((item) => item.label === label) }))
    .filter(({ members }) => members.length > 0);
}

/** Box plots per class, a panel per feature: quartiles, and whiskers from the 5th to the 95th percentile. */
export function distributionFigure(
  items: readonly FeatureItem[],
  labels: Labels,
  names: readonly string[],
): Figure {
  const groups = groupsOf(items, labels);
  const columns = Math.min(2, names.length), panelWidth = 350, panelHeight = 190, gapX = 90, gapY = 112, top = 60;
  const left = (i: number) => 76 + (i % columns) * (panelWidth + gapX);
  const above = (i: number) => top + Math.floor(i / columns) * (panelHeight + gapY);
  const panels = names.map((name) => ({
    name,
    boxes: groups.map(({ members }) => boxOf(valuesOf(members, name))),
  }));
  return {
    width: 76 + columns * (panelWidth + gapX) - 50,
    height: top + Math.ceil(names.length / columns) * (panelHeight + gapY) - 20,
    option: {
      title: names.map((name, i) => title(featureTitle(name), left(i), above(i), panelWidth)),
      grid: names.map((_, i) => ({ left: left(i), top: above(i), width: panelWidth, height: panelHeight })),
      xAxis: names.map((_, gridIndex) => ({
        ...axisStyle,
        type: "category" as const,
        gridIndex,
        data: groups.map(({ label }) => label),
        axisLabel: rotated,
        splitLine: { show: false },
      })),
      yAxis: panels.map(({ boxes }, gridIndex) => ({
        ...axisStyle,
        ...rangeOf(boxes),
        gridIndex,
        axisLabel: { ...axisStyle.axisLabel, formatter: short, showMinLabel: false, showMaxLabel: false },
      })),
      series: panels.map(({ boxes }, i) => ({
        type: "boxplot" as const,
        ...still,
        xAxisIndex: i,
        yAxisIndex: i,
        data: boxes.map((value, k) => ({
          value: value ?? noBox,
          itemStyle: {
            color: "transparent",
            borderColor: groupColor(groupOf(labels, groups[k].label)),
            borderWidth: 2,
          },
        })),
        boxWidth: [6, 22],
      })),
    },
  };
}

/**
 * Logarithmic if values are positive and span more than two decades. On fewer, a logarithmic axis has hardly a label.
 */
function rangeOf(all: readonly (readonly number[] | undefined)[]) {
  const boxes = all.filter((box) => box !== undefined);
  const low = Math.min(...boxes.map((box) => box[0])), high = Math.max(...boxes.map((box) => box[4]));
  if (low > 0 && high > 100 * low) return { type: "log" as const, min: low / 1.2, max: high * 1.2 };
  const margin = 0.04 * (high - low || 1);
  return { type: "value" as const, min: low - margin, max: high + margin };
}

/** Values of a feature, of the images that have it: those of one size, where a set judges several. */
function valuesOf(members: readonly FeatureItem[], name: string): number[] {
  return members.flatMap(({ row }) => row[name] ?? []);
}

/** What the charts draw as nothing. */
const noBox: "-"[] = ["-", "-", "-", "-", "-"];

/** The 5th, 25th, 50th, 75th and 95th percentile; undefined without values. */
function boxOf(values: readonly number[]): [number, number, number, number, number] | undefined {
  if (values.length === 0) return undefined;
  const at = (q: number) => quantile(values, q);
  return [at(0.05), at(0.25), at(0.5), at(0.75), at(0.95)];
}

/** A matrix with coloured cells and a number in each. */
function matrixFigure(
  rows: readonly string[],
  columns: readonly string[],
  cells: readonly (readonly (number | null)[])[],
  options: {
    title: string;
    x: string;
    y: string;
    low: number;
    high: number;
    text: (value: number) => string;
    colors: string[];
  },
): Figure {
  const side = 56, width = side * columns.length, height = 40 * rows.length, whole = Math.max(width + 150, 480);
  return {
    width: whole,
    height: height + 136,
    option: {
      title: title(options.title, 10, 46, whole - 20),
      grid: { left: 120, top: 50, width, height },
      xAxis: { ...axisStyle, type: "category", data: [...columns], name: options.x, nameGap: 52, axisLabel: rotated },
      yAxis: { ...axisStyle, type: "category", data: [...rows], name: options.y, nameGap: 78, inverse: true },
      visualMap: { show: false, min: options.low, max: options.high, inRange: { color: options.colors } },
      series: [{
        type: "heatmap",
        ...still,
        data: cells.flatMap((row, y) =>
          row.flatMap((value, x) =>
            value === null ? [] : [{ value: [x, y, value], label: { show: true, formatter: options.text(value) } }]
          )
        ),
        label: { show: true, color: cellInk, fontSize: 11 },
        itemStyle: { borderColor: "#c3ccd5", borderWidth: 1 },
      }],
    },
  };
}

/**
 * How well a feature separates each pair of classes: the probability that an image of the row's class has the higher
 * value.
 */
export function aucFigure(items: readonly FeatureItem[], labels: Labels, name: string): Figure {
  const groups = groupsOf(items, labels);
  const values = groups.map(({ members }) => valuesOf(members, name));
  const cells = values.map((a, i) =>
    values.map((b, j) => i === j || a.length * b.length === 0 ? null : probabilityAbove(a, b))
  );
  const names = groups.map(({ label }) => label);
  return matrixFigure(names, names, cells, {
    title: `How well it tells classes apart: ${featureTitle(name)}`,
    x: "AUC: row above column",
    y: "class",
    low: 0,
    high: 1,
    text: (value) => value.toFixed(2),
    colors: ["#f7b58a", "#f6f8fa", "#8ebfe4"],
  });
}

/** The probability that a value of `a` is above one of `b`. Values are shifted: `auc` divides by the largest score. */
function probabilityAbove(a: readonly number[], b: readonly number[]): number {
  const least = Math.min(...a, ...b);
  return auc(a.map((x) => x - least), b.map((x) => x - least), { membersLower: false });
}

/** The mean of a feature of every scoring variant (columns) over the images of every generating class (rows). */
export function scoreMatrixFigure(items: readonly FeatureItem[], labels: Labels, feature: string): Figure {
  const groups = groupsOf(items, labels);
  const scorers = labels.all.filter((label) => label !== outlierLabel).filter((label) =>
    items.some(({ row }) => `${label}.${feature}` in row)
  );
  const cells = groups.map(({ members }) =>
    scorers.map((scorer) => {
      const values = valuesOf(members, `${scorer}.${feature}`);
      return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
    })
  );
  const all = cells.flat().filter((value) => value !== null);
  return matrixFigure(groups.map(({ label }) => label), scorers, cells, {
    title: `Mean over the images: ${summaryWords(feature).title}`,
    x: "scored by",
    y: "generated by",
    low: Math.min(...all),
    high: Math.max(...all),
    text: short,
    colors: ["#f7b58a", "#f6f8fa", "#8ebfe4"],
  });
}

/** Learnt score functions: the score of a token by the weighted difference of its log-probabilities. */
export function pradaFigure(
  curves: readonly { readonly label: string; readonly x: readonly number[]; readonly y: readonly number[] }[],
  labels: Labels,
): Figure {
  const width = 360, height = 240, top = 70;
  const panels = labels.families.map((family) => curves.filter(({ label }) => labels.familyOf(label) === family))
    .filter((panel) => panel.length > 0);
  const dashes = ["solid", "dashed", "dotted", [8, 3, 2, 3]] as const;
  return {
    width: 76 + panels.length * (width + 80) - 40,
    height: top + height + 60,
    option: {
      legend: { top: 4, left: "center", data: curves.map(({ label }) => label), ...legendStyle },
      grid: panels.map((_, i) => ({ left: 70 + i * (width + 80), top, width, height })),
      xAxis: panels.map((_, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        scale: true,
        name: "(2 - alpha) conditional - alpha unconditional (nats)",
        nameGap: 30,
      })),
      yAxis: panels.map((_, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        scale: true,
        name: "score of a token",
        nameGap: 44,
        axisLabel: { ...axisStyle.axisLabel, formatter: short },
      })),
      series: panels.flatMap((panel, i) =>
        panel.map(({ label, x, y }, k) => ({
          type: "line" as const,
          ...still,
          name: label,
          xAxisIndex: i,
          yAxisIndex: i,
          data: x.map((at, j) => [at, y[j]]),
          showSymbol: false,
          color: palette[k],
          lineStyle: { width: 2, type: dashes[i === 0 ? 0 : 1] as "solid" },
        }))
      ),
    },
  };
}
