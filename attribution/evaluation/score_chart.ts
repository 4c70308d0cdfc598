/**
 * The diagram of scores against thresholds: the distribution of each family's images and of outliers on the deciding
 * signals.
 */
import type { FamilyName } from "../../models/family.ts";
import { type Calibration, type Rules, ruleScore, strategies } from "../decision/calibration_file.ts";
import { familyNamed } from "../../models/registry.ts";
import { groupOf, type Labels, outlierLabel } from "../labels.ts";
import { axisStyle } from "../plot/chart.ts";
import { fromScale, type ScoreName, scoreTable, toScale } from "../signals/table.ts";
import { type Figure, groupColor, ink, legendStyle, percentLabel, shortNumber, still, width } from "./chart_style.ts";
import type { Judged } from "./evaluate.ts";

/**
 * A panel per family: distributions of its deciding score for the images of each family and for outliers, with the
 * thresholds of all strategies.
 */
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
    const own = judged.filter(({ families }) => family in families);
    return { family, signal, ...histogram(signal, own, { score, labels, thresholds }) };
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
      xAxis: panels.map(({ signal, low, high }, gridIndex) => ({ ...scoreAxis(signal, low, high), gridIndex })),
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

function scoreAxis(signal: ScoreName, low: number, high: number) {
  // Within one decade, a logarithmic axis would have one label.
  const isLog = scoreTable[signal].scale === "log" && high >= 10 * low;
  return {
    ...axisStyle,
    type: isLog ? "log" as const : "value" as const,
    name: `${scoreTable[signal].title} (${unitOf(signal)}${isLog ? ", logarithmic" : ""})`,
    nameGap: 28,
    min: low,
    max: high,
    axisLabel: { ...axisStyle.axisLabel, formatter: shortNumber, showMinLabel: false, showMaxLabel: false },
    splitLine: { show: false },
  };
}

function thresholdLines(calibration: Calibration, family: FamilyName, signal: ScoreName) {
  const fit = calibration.families[family][signal];
  const thresholds = strategies.flatMap((name) => {
    const threshold = fit?.thresholds[name]?.threshold;
    return threshold === undefined ? [] : [{ name, threshold }];
  });
  return {
    silent: true,
    symbol: "none",
    // Digits after the point. The default of two would move small thresholds.
    precision: 12,
    lineStyle: { color: ink, type: "dashed" as const, width: 1 },
    // Labels one above the other, because thresholds may be close.
    data: thresholds.map(({ name, threshold }, i) => ({
      xAxis: threshold,
      label: { formatter: name, color: ink, fontSize: 11, position: "end" as const, distance: 2 + 12 * i, rotate: 0 },
    })),
  };
}

type Bins = Record<string, [number, number][]>;

/** Shares of each group in 40 bins of equal width on the signal's scale, as points at their middles. */
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
    const members = values.filter((value) => value.group === group);
    const counts = new Array(count).fill(0);
    for (const { at } of members) counts[Math.min(count - 1, Math.floor((at - start) / step))]++;
    bins[group] = members.length === 0
      ? []
      : counts.map((n, i) => [from(start + (i + 0.5) * step), n / members.length]);
  }
  return { bins, low: from(start), high: from(start + count * step) };
}

function unitOf(signal: ScoreName): string {
  if (signal === "changedTokens") return "share of tokens";
  if (signal === "oneClass") return "squared, 1 is typical";
  if (signal === "encLoss" || signal === "encLossQuantized") return "ratio";
  return signal === "encLossUncalibrated" || signal === "reconstruction" ? "squared value" : "squared latent unit";
}
