/**
 * The diagram of scores against thresholds: where each family's images and outliers lie on what decides.
 * The other diagrams of an evaluation are in charts.ts.
 */
import type { FamilyName } from "../../models/family.ts";
import { type Calibration, type Rules, ruleScore, strategies } from "../decision/calibration_file.ts";
import { familyNamed } from "../../models/registry.ts";
import { groupOf, type Labels, outlierLabel } from "../labels.ts";
import { axisStyle } from "../plot/chart.ts";
import { fromScale, type ScoreName, scoreTable, toScale } from "../signals/table.ts";
import { type Figure, groupColor, ink, legendStyle, percentLabel, shortNumber, still, width } from "./chart_style.ts";
import type { Judged } from "./evaluate.ts";

/** Distribution of the deciding score per family, for each family and outliers, with the thresholds of all strategies. */
export function scoreFigure(judged: readonly Judged[], calibration: Calibration, rules: Rules): Figure {
  const panelHeight = 210, top = 96, gap = 108;
  const { labels } = rules;
  const groups = [...labels.families, outlierLabel];
  const title = (group: string) => group === outlierLabel ? "outliers" : `images of ${familyNamed(group).title}`;
  const panels = labels.families.map((family) => {
    const { signal } = rules.families[family];
    const score = ({ families }: Judged) => ruleScore(rules, families, family);
    const thresholds = strategies.flatMap((name) =>
      calibration.families[family][signal]?.thresholds[name]?.threshold ?? []
    );
    return { family, signal, ...histogram(signal, judged, { score, labels, thresholds }) };
  });
  return {
    width,
    height: top + panels.length * (panelHeight + gap) - 56,
    option: {
      legend: {
        top: 4,
        left: "center",
        data: groups.map(title),
        ...legendStyle,
      },
      title: panels.map(({ family }, i) => ({
        text: `Scores by the tokenizer of ${familyNamed(family).title}`,
        left: 70,
        top: top + i * (panelHeight + gap) - 60,
        textStyle: { fontSize: 13, color: ink },
      })),
      grid: panels.map((_, i) => ({ left: 70, right: 30, top: top + i * (panelHeight + gap), height: panelHeight })),
      xAxis: panels.map(({ signal, low, high }, gridIndex) => ({
        ...axisStyle,
        // A logarithmic axis within one decade would have one label.
        type: isWide(signal, low, high) ? "log" as const : "value" as const,
        gridIndex,
        name: `${scoreTable[signal].title} (${unitOf(signal)}${isWide(signal, low, high) ? ", logarithmic" : ""})`,
        nameGap: 28,
        min: low,
        max: high,
        axisLabel: { ...axisStyle.axisLabel, formatter: shortNumber, showMinLabel: false, showMaxLabel: false },
        splitLine: { show: false },
      })),
      yAxis: panels.map((_, gridIndex) => ({
        ...axisStyle,
        type: "value" as const,
        gridIndex,
        name: "share of the group",
        nameGap: 46,
        min: 0,
        axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel },
      })),
      series: panels.flatMap(({ family, signal, bins }, i) =>
        groups.map((group, g) => ({
          type: "line" as const,
          ...still,
          name: title(group),
          xAxisIndex: i,
          yAxisIndex: i,
          data: bins[group],
          showSymbol: false,
          color: groupColor(group),
          lineStyle: { width: 2 },
          areaStyle: { opacity: 0.18 },
          markLine: g === 0 ? thresholdLines(calibration, family, signal) : undefined,
        }))
      ),
    },
  };
}

function thresholdLines(calibration: Calibration, family: FamilyName, signal: ScoreName) {
  const fit = calibration.families[family][signal];
  const found = strategies.flatMap((name) => {
    const threshold = fit?.thresholds[name]?.threshold;
    return threshold === undefined ? [] : [{ name, threshold }];
  });
  return {
    silent: true,
    symbol: "none",
    // Digits after the point; with echarts' two, small thresholds would be moved.
    precision: 12,
    lineStyle: { color: ink, type: "dashed" as const, width: 1 },
    // One above the other, since they may lie close together.
    data: found.map(({ name, threshold }, i) => ({
      xAxis: threshold,
      label: { formatter: name, color: ink, fontSize: 11, position: "end" as const, distance: 2 + 12 * i, rotate: 0 },
    })),
  };
}

type Bins = Record<string, [number, number][]>;

function isWide(signal: ScoreName, low: number, high: number): boolean {
  return scoreTable[signal].scale === "log" && high >= 10 * low;
}

/** Shares of each group in 40 bins, equal on the signal's scale, as points at their middles; none where a group is empty. */
function histogram(
  signal: ScoreName,
  judged: readonly Judged[],
  { score, labels, thresholds }: {
    score: (item: Judged) => number;
    labels: Labels;
    thresholds: readonly number[];
  },
) {
  const to = (x: number) => toScale(signal, x), from = (x: number) => fromScale(signal, x);
  const values = judged.map((item) => ({ group: groupOf(labels, item.label), at: to(score(item)) }));
  const shown = [...values.map(({ at }) => at), ...thresholds.map(to)];
  const low = shown.reduce((a, b) => Math.min(a, b)), high = shown.reduce((a, b) => Math.max(a, b));
  const margin = Math.max((high - low) * 0.06, 1e-3);
  const count = 40, start = low - margin, step = (high - low + 2 * margin) / count;
  const bins: Bins = {};
  for (const group of [...labels.families, outlierLabel]) {
    const own = values.filter((value) => value.group === group);
    const counts = new Array(count).fill(0);
    for (const { at } of own) counts[Math.min(count - 1, Math.floor((at - start) / step))]++;
    bins[group] = own.length === 0 ? [] : counts.map((n, i) => [from(start + (i + 0.5) * step), n / own.length]);
  }
  return { bins, low: from(start), high: from(start + count * step) };
}

function unitOf(signal: ScoreName): string {
  if (signal === "changedTokens") return "share of tokens";
  if (signal === "oneClass") return "squared, 1 is typical";
  if (signal === "encLoss" || signal === "encLossQuantized") return "ratio";
  return signal === "encLossUncalibrated" || signal === "reconstruction" ? "squared value" : "squared latent unit";
}
