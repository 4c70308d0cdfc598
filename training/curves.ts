/**
 * The curves of a training run by epoch, from its log: losses, token recovery and AUC, learning rate. attribution/plot/
 * renders them.
 */
import { axisStyle, type ChartOption, palette } from "../attribution/plot/chart.ts";

/** Size of the chart in pixels. */
export const curvesSize = { width: 760, height: 760 } as const;

/** A line through points (epoch, value) in the panel with this index. */
function curve(panel: number, name: string, data: number[][], color: string, isDashed = false) {
  return {
    type: "line" as const,
    name,
    data,
    xAxisIndex: panel,
    yAxisIndex: panel,
    symbol: "circle",
    symbolSize: 5,
    showSymbol: data.length <= 30,
    color,
    lineStyle: { width: 2, type: isDashed ? "dashed" as const : "solid" as const },
  };
}

/** The chart of a log (`readLog`). Series without values are left out. */
export function trainingCurves(log: ReadonlyMap<string, readonly number[]>, title: string): ChartOption {
  const epochs = log.get("epoch")!;
  const points = (column: string, scale = 1) =>
    epochs.map((epoch, i) => [epoch, (log.get(column)?.[i] ?? NaN) * scale]).filter(([, y]) => Number.isFinite(y));
  const series = [
    curve(0, "training images", points("train_loss"), palette[0]),
    curve(0, "held-out images", points("held_out_loss"), palette[1]),
    curve(1, "tokens recovered", points("token_recovery", 100), palette[2]),
    curve(1, "QuantLoss AUC", points("quant_loss_auc", 100), palette[3], true),
    curve(2, "learning rate", points("learning_rate").slice(1), palette[0]),
  ].filter(({ data }) => data.length > 0);
  const panels = [
    { name: "mean squared error of f (latent units²)", log: true },
    { name: "share (%)", min: 0, max: 100 },
    { name: "learning rate", log: true },
  ];
  const last = Math.max(...epochs, 1);
  return {
    title: { text: title, left: 16, top: 10, textStyle: { fontSize: 15, color: "#1f2328" } },
    legend: {
      top: 38,
      left: 90,
      itemGap: 28,
      data: series.map(({ name }) => name).filter((name) => name !== "learning rate"),
      textStyle: { color: "#1f2328" },
    },
    grid: [
      { left: 90, right: 30, top: 80, height: 240 },
      { left: 90, right: 30, top: 350, height: 170 },
      { left: 90, right: 30, top: 550, height: 140 },
    ],
    xAxis: panels.map((_, gridIndex) => ({
      ...axisStyle,
      type: "value" as const,
      gridIndex,
      name: gridIndex === panels.length - 1 ? "epoch" : "",
      nameGap: 30,
      min: 0,
      max: last,
      minInterval: 1,
    })),
    yAxis: panels.map(({ name, log, min, max }, gridIndex) => ({
      ...axisStyle,
      type: log ? "log" as const : "value" as const,
      gridIndex,
      name,
      nameGap: 62,
      min,
      max,
      axisLabel: { ...axisStyle.axisLabel, formatter: (value: number) => String(Number(value.toPrecision(3))) },
    })),
    series,
  };
}
