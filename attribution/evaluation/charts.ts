/**
 * The diagrams of an evaluation as chart options: confusion matrix, ROC curves, AUC. plot/ renders them.
 */
import type { FamilyName } from "../../models/family.ts";
import type { ConfusionMatrix } from "../metrics/mod.ts";
import { axisStyle, palette } from "../plot/chart.ts";
import { scoreTable } from "../signals/table.ts";
import { familyNamed, familyNames } from "../../models/registry.ts";
import { outlierLabel } from "../labels.ts";
import {
  cellInk,
  type Figure,
  groupColor,
  ink,
  legendStyle,
  percentLabel,
  rotated,
  still,
  width,
} from "./chart_style.ts";
import { everythingElse, type Separation, type SignalResult } from "./evaluate.ts";

/** Confusion matrix: colours show shares of the true label, cells show counts. */
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
  // Not wider than a phone with nine labels, on which it would shrink.
  const side = 30 * names.length;
  return {
    width: side + 92,
    height: side + 90,
    option: {
      grid: { left: 82, top: 10, width: side, height: side },
      xAxis: { ...axisStyle, type: "category", data: names, name: "verdict", nameGap: 46, axisLabel: rotated },
      yAxis: { ...axisStyle, type: "category", data: names, name: "true label", nameGap: 62, inverse: true },
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

/** Largest number of signals in ROC diagrams. Those that decide come first, then the order of the table. */
const drawnSignals = 5;

/** The families of signals, in the order of the registry. */
function familiesOf(signals: readonly SignalResult[]): readonly FamilyName[] {
  return familyNames.filter((name) => signals.some(({ family }) => family === name));
}

function panelTitle(text: string, left: number, top: number) {
  return { text, left, top, textStyle: { fontSize: 13, color: ink } };
}

/** The ROC curves of one family against one group of nonmembers. */
interface RocPanel {
  readonly family: FamilyName;
  /** `outlier`, or another family. */
  readonly nonmembers: string;
  readonly row: number;
  readonly column: number;
  readonly curves: readonly { readonly signal: string; readonly decides: boolean; readonly separation: Separation }[];
}

/** A column per family: against outliers (above) and the other families (below). Panels without curves are left out. */
function rocPanels(signals: readonly SignalResult[], families: readonly FamilyName[]): RocPanel[] {
  return families.flatMap((family, column) =>
    [outlierLabel, ...families.filter((other) => other !== family)].flatMap((nonmembers, row) => {
      const curves = signals.filter((result) => result.family === family)
        .flatMap(({ signal, decides, separations }) => {
          const separation = separations.find((candidate) => candidate.nonmembers === nonmembers);
          return separation ? [{ signal, decides, separation }] : [];
        });
      return curves.length === 0 ? [] : [{ family, nonmembers, row, column, curves }];
    })
  );
}

/** Lower end of a panel's logarithmic axis: a power of ten below 1 % and below the smallest rate above 0. */
function lowestRate({ curves }: RocPanel): number {
  const least = Math.min(...curves.map(({ separation }) => 1 / separation.others));
  return 10 ** Math.floor(Math.log10(Math.min(least, 0.01)) - 0.01);
}

/** ROC curves of each family, side by side, against outliers (above) and the other families (below). */
export function rocFigure(signals: readonly SignalResult[]): Figure | null {
  const families = familiesOf(signals);
  const panels = rocPanels(signals, families);
  if (panels.length === 0) return null;
  const drawn = chooseDrawn(signals);
  const rows = Math.max(...panels.map(({ row }) => row)) + 1;
  const panelHeight = 270, top = 92, gap = 86;
  const lowest = panels.map(lowestRate);
  const place = ({ row, column }: RocPanel) => ({
    left: 66 + column * (width / families.length),
    top: top + row * (panelHeight + gap),
    width: width / families.length - 90,
    height: panelHeight,
  });
  const titleOf = (group: string) => group === outlierLabel ? "outliers" : familyNamed(group).title;
  const axis = { ...axisStyle, max: 1, axisLabel: { ...axisStyle.axisLabel, formatter: percentLabel } };
  return {
    width,
    height: top + rows * (panelHeight + gap) - 24,
    option: {
      legend: { top: 4, left: 40, right: 40, data: drawn.map(({ title }) => title), ...legendStyle },
      title: panels.map((panel) => {
        const { left, top } = place(panel);
        const { others } = panel.curves[0].separation;
        const against = `${familyNamed(panel.family).title} against ${titleOf(panel.nonmembers)}`;
        return panelTitle(`${against}: ${others}, steps of ${percentLabel(1 / others)}`, left, top - 24);
      }),
      grid: panels.map(place),
      xAxis: panels.map((_, gridIndex) => ({
        ...axis,
        type: "log" as const,
        gridIndex,
        name: "false positive rate",
        nameGap: 28,
        min: lowest[gridIndex],
      })),
      yAxis: panels.map((_, gridIndex) => ({
        ...axis,
        type: "value" as const,
        gridIndex,
        name: "true positive rate",
        nameGap: 42,
        min: 0,
      })),
      series: panels.flatMap((panel, i) => rocSeries(panel, i, drawn, lowest[i])),
    },
  };
}

/** The curves of a panel as series of its axes `index`. Rates below `lowest` are drawn at `lowest`. */
function rocSeries(
  { curves }: RocPanel,
  index: number,
  drawn: readonly { readonly signal: string; readonly title: string }[],
  lowest: number,
) {
  return drawn.flatMap(({ signal, title }, d) => {
    const curve = curves.find((candidate) => candidate.signal === signal);
    if (curve === undefined) return [];
    const { fpr, tpr } = curve.separation.roc;
    return [{
      type: "line" as const,
      ...still,
      name: title,
      xAxisIndex: index,
      yAxisIndex: index,
      data: fpr.map((x, at) => [Math.max(x, lowest), tpr[at]]),
      showSymbol: false,
      color: palette[d % palette.length],
      lineStyle: {
        width: curve.decides ? 3 : 1.5,
        type: d >= palette.length - 1 ? "dashed" as const : "solid" as const,
      },
      markLine: d === 0 ? onePercent : undefined,
    }];
  });
}

const onePercent = {
  silent: true,
  symbol: "none",
  lineStyle: { color: ink, type: "dotted" as const, width: 1 },
  label: { show: false },
  data: [{ xAxis: 0.01 }],
};

/** The signals to draw, with up to three baselines among them. */
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
  const plain = all.filter(({ baseline }) => !baseline).sort((a, b) => Number(b.decides) - Number(a.decides));
  const baselines = all.filter(({ baseline }) => baseline);
  const room = drawnSignals - Math.min(baselines.length, 3);
  return [...plain.slice(0, Math.max(room, 2)), ...baselines];
}

/** AUC of every signal against everything else, a bar per family. */
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
