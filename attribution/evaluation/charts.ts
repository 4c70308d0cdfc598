/**
 * The diagrams of an evaluation as chart options: confusion matrix, ROC curves, AUC, robustness.
 * Scores against thresholds are in score_chart.ts; drawing is plot/'s business, the page html.ts's.
 */
import type { FamilyName } from "../../models/family.ts";
import type { ConfusionMatrix } from "../metrics/mod.ts";
import { axisStyle, palette } from "../plot/chart.ts";
import { scoreTable } from "../signals/table.ts";
import { strengthRanges, type TransformName, transformNames } from "../images/augment/mod.ts";
import { familyNamed, familyNames } from "../../models/registry.ts";
import { outlierLabel } from "../labels.ts";
import {
  type Figure,
  groupColor,
  ink,
  legendStyle,
  percentLabel,
  rotated,
  shortNumber,
  still,
  width,
} from "./chart_style.ts";
import { everythingElse, type SignalResult } from "./evaluate.ts";
import { attackTitles, type RobustnessPoint } from "./robustness.ts";

/** Shares of every true label, with counts in the cells. */
export function confusionFigure({ labels, counts }: ConfusionMatrix): Figure {
  const shown = labels.map((_, i) => i)
    .filter((i) => counts[i].some((n) => n > 0) || counts.some((row) => row[i] > 0));
  const names = shown.map((i) => labels[i]);
  const cells = shown.flatMap((actual, y) => {
    const total = counts[actual].reduce((a, b) => a + b, 0);
    return shown.map((predicted, x) => ({
      value: [x, y, total === 0 ? 0 : 100 * counts[actual][predicted] / total],
      label: { show: counts[actual][predicted] > 0, formatter: String(counts[actual][predicted]) },
    }));
  });
  const side = 44 * names.length;
  return {
    width: side + 140,
    height: side + 90,
    option: {
      grid: { left: 110, top: 16, width: side, height: side },
      xAxis: { ...axisStyle, type: "category", data: names, name: "verdict", nameGap: 46, axisLabel: rotated },
      yAxis: { ...axisStyle, type: "category", data: names, name: "true label", nameGap: 70, inverse: true },
      visualMap: { show: false, min: 0, max: 100, inRange: { color: ["#f4f8fb", "#b9d6ec", "#6baed6"] } },
      series: [{
        type: "heatmap",
        ...still,
        data: cells,
        label: { show: true, color: cellInk, fontSize: 12 },
        itemStyle: { borderColor: "#c3ccd5", borderWidth: 1 },
      }],
    },
  };
}

/** Stays dark on a dark page, since the cells stay light. */
const cellInk = "#10151a";

/** Signals that are drawn, at most; those that decide come first, then in the table's order. */
const drawnSignals = 5;

/** The families that signals are of, in the order of the registry. */
function familiesOf(signals: readonly SignalResult[]): readonly FamilyName[] {
  return familyNames.filter((name) => signals.some(({ family }) => family === name));
}

/** ROC curves of each family, side by side, against outliers (above) and the other families (below). */
export function rocFigure(signals: readonly SignalResult[]): Figure | null {
  const families = familiesOf(signals);
  const kinds = (family: FamilyName) => [outlierLabel, ...families.filter((other) => other !== family)];
  const panels = families.flatMap((family, column) => {
    const own = signals.filter((result) => result.family === family);
    return kinds(family).flatMap((kind, row) => {
      const lines = own.flatMap(({ signal, title, decides, separations }) => {
        const found = separations.find(({ nonmembers }) => nonmembers === kind);
        return found ? [{ signal, title, decides, found }] : [];
      });
      return lines.length === 0 ? [] : [{ family, kind, row, column, lines }];
    });
  });
  if (panels.length === 0) return null;
  const drawn = chooseDrawn(signals);
  const rows = Math.max(...panels.map(({ row }) => row)) + 1;
  const panelHeight = 270, top = 92, gap = 86;
  const least = panels.map(({ lines }) => Math.min(...lines.map(({ found }) => 1 / found.others)));
  const lowest = least.map((rate) => 10 ** Math.floor(Math.log10(Math.min(rate, 0.01)) - 0.01));
  const place = ({ row, column }: { row: number; column: number }) => ({
    left: 66 + column * (width / families.length),
    top: top + row * (panelHeight + gap),
    width: width / families.length - 90,
    height: panelHeight,
  });
  return {
    width,
    height: top + rows * (panelHeight + gap) - 24,
    option: {
      legend: {
        top: 4,
        left: 40,
        right: 40,
        data: drawn.map(({ title }) => title),
        ...legendStyle,
      },
      title: panels.map((panel) => ({
        text: `${familyNamed(panel.family).title} against ${
          panel.kind === outlierLabel ? "outliers" : familyNamed(panel.kind).title
        }`,
        left: place(panel).left,
        top: place(panel).top - 24,
        textStyle: { fontSize: 13, color: ink },
      })),
      grid: panels.map(place),
      xAxis: panels.map((_, gridIndex) => ({
        ...axisStyle,
        type: "log" as const,
        gridIndex,
        name: "false positive rate",
        nameGap: 28,
        min: lowest[gridIndex],
        max: 1,
        axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
      })),
      yAxis: panels.map((_, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        name: "true positive rate",
        nameGap: 42,
        min: 0,
        max: 1,
        axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
      })),
      series: panels.flatMap(({ lines }, i) =>
        drawn.flatMap(({ signal, title }, d) => {
          const line = lines.find((other) => other.signal === signal);
          if (line === undefined) return [];
          const { fpr, tpr } = line.found.roc;
          return [{
            type: "line" as const,
            ...still,
            name: title,
            xAxisIndex: i,
            yAxisIndex: i,
            data: fpr.map((x, at) => [Math.max(x, lowest[i]), tpr[at]]),
            showSymbol: false,
            color: palette[d % palette.length],
            lineStyle: {
              width: line.decides ? 3 : 1.5,
              type: d >= palette.length - 1 ? "dashed" as const : "solid" as const,
            },
            markLine: d === 0 ? onePercent : undefined,
          }];
        })
      ),
    },
  };
}

const onePercent = {
  silent: true,
  symbol: "none",
  lineStyle: { color: ink, type: "dotted" as const, width: 1 },
  label: { show: false },
  data: [{ xAxis: 0.01 }],
};

function chooseDrawn(signals: readonly SignalResult[]): { signal: string; title: string }[] {
  const unique = new Map<string, { signal: string; title: string; decides: boolean; baseline: boolean }>();
  for (const { signal, title, decides } of signals) {
    const known = unique.get(signal);
    unique.set(signal, {
      signal,
      title,
      decides: decides || (known?.decides ?? false),
      baseline: !(signal in scoreTable),
    });
  }
  const all = [...unique.values()];
  const own = all.filter(({ baseline }) => !baseline).sort((a, b) => Number(b.decides) - Number(a.decides));
  const baselines = all.filter(({ baseline }) => baseline);
  const room = drawnSignals - Math.min(baselines.length, 3);
  return [...own.slice(0, Math.max(room, 2)), ...baselines];
}

/** Rates over strength, a panel per attack. */
export function robustnessFigure(points: readonly RobustnessPoint[]): Figure | null {
  const attacks = transformNames.filter((name) => points.some(({ attack }) => attack === name));
  if (attacks.length === 0) return null;
  const columns = Math.min(3, attacks.length), panelWidth = 214, panelHeight = 170, top = 70, gapX = 66, gapY = 88;
  const rows = Math.ceil(attacks.length / columns);
  const lines = [
    { name: "family accuracy", color: palette[0], y: (point: RobustnessPoint) => point.familyAccuracy },
    { name: "outlier recall", color: palette[2], y: (point: RobustnessPoint) => point.outlierRecall },
    ...Object.keys(points[0].separation).map((family, i) => ({
      name: `${familyNamed(family).title}: TPR at 1 % FPR`,
      color: [palette[1], palette[3], palette[4], palette[5]][i % 4],
      y: (point: RobustnessPoint) => point.separation[family]?.tpr ?? null,
    })),
  ];
  const left = (i: number) => 66 + (i % columns) * (panelWidth + gapX);
  const above = (i: number) => top + Math.floor(i / columns) * (panelHeight + gapY);
  return {
    width: 66 + columns * (panelWidth + gapX) - 30,
    height: top + rows * (panelHeight + gapY) - 24,
    option: {
      legend: { top: 4, left: "center", data: lines.map(({ name }) => name), ...legendStyle },
      title: attacks.map((attack, i) => ({
        text: attackTitles[attack].title,
        left: left(i),
        top: above(i) - 26,
        textStyle: { fontSize: 13, color: ink },
      })),
      grid: attacks.map((_, i) => ({ left: left(i), top: above(i), width: panelWidth, height: panelHeight })),
      xAxis: attacks.map((attack, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        name: attackTitles[attack].unit,
        nameGap: 28,
        min: Math.min(...strengthRanges[attack]),
        max: Math.max(...strengthRanges[attack]),
        // The untouched end on the left.
        inverse: isFalling(attack),
        splitNumber: 4,
        axisLabel: { ...axisStyle.axisLabel, formatter: shortNumber },
      })),
      yAxis: attacks.map((_, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        name: gridIndex % columns === 0 ? "rate" : "",
        nameGap: 44,
        min: 0,
        max: 1,
        interval: 0.25,
        axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
      })),
      series: attacks.flatMap((attack, i) =>
        lines.map(({ name, color, y }) => ({
          type: "line" as const,
          ...still,
          name,
          color,
          xAxisIndex: i,
          yAxisIndex: i,
          symbol: "circle",
          symbolSize: 4,
          lineStyle: { width: 2 },
          data: points.filter((point) => point.attack === attack)
            .sort((a, b) => a.strength - b.strength)
            .flatMap((point) => y(point) === null ? [] : [[point.strength, y(point)!]]),
        }))
      ),
    },
  };
}

/** Whether lower strengths are the harsher ones. */
function isFalling(attack: TransformName): boolean {
  const [first, second] = strengthRanges[attack];
  return second < first;
}

/** AUC of every signal against everything else, for all families side by side. */
export function aucFigure(signals: readonly SignalResult[]): Figure | null {
  const names = [...new Map(signals.map(({ signal, title }) => [signal, title]))].reverse();
  const value = (family: FamilyName, signal: string) =>
    signals.find((result) => result.family === family && result.signal === signal)
      ?.separations.find(({ nonmembers }) => nonmembers === everythingElse);
  const families = familiesOf(signals);
  if (!families.some((family) => names.some(([signal]) => value(family, signal)))) return null;
  const rows = 30 * names.length + 20;
  return {
    width,
    height: rows + 100,
    option: {
      legend: { top: 4, left: "center", data: families.map((name) => familyNamed(name).title), ...legendStyle },
      grid: { left: 270, right: 40, top: 40, height: rows },
      xAxis: {
        ...axisStyle,
        type: "value",
        min: 0,
        max: 1,
        name: "area under the ROC curve (0.5 is guessing)",
        nameGap: 28,
      },
      yAxis: {
        ...axisStyle,
        type: "category",
        data: names.map(([, title]) => title),
        name: "signal",
        nameGap: 232,
        splitLine: { show: false },
      },
      series: families.map((family) => ({
        type: "bar" as const,
        ...still,
        name: familyNamed(family).title,
        color: groupColor(family),
        barWidth: 9,
        data: names.map(([signal]) => value(family, signal)?.auc.value ?? null),
      })),
    },
  };
}
