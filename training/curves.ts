/**
 * The curves of a training run, from its log: losses, token recovery and AUC, learning rate, over epochs.
 * How a chart becomes a file is plot/'s business.
 */
import { axisStyle, type ChartOption, palette } from "../attribution/plot/chart.ts";

export const curvesSize = { width: 760, height: 760 } as const;

/** `log` as readLog() gives it. */
export function trainingCurves(log: ReadonlyMap<string, readonly number[]>, title: string): ChartOption {
  const epochs = log.get("epoch")!;
  const points = (column: string, scale = 1) =>
    epochs.map((epoch, i) => [epoch, (log.get(column)?.[i] ?? NaN) * scale]).filter(([, y]) => Number.isFinite(y));
  const line = (panel: number, name: string, data: number[][], color: string, dashed = false) => ({
    type: "line" as const,
    name,
    data,
    xAxisIndex: panel,
    yAxisIndex: panel,
    symbol: "circle",
    symbolSize: 5,
    showSymbol: data.length <= 30,
    color,
    lineStyle: { width: 2, type: dashed ? "dashed" as const : "solid" as const },
  });
  const series = [
    line(0, "training images", points("train_loss"), palette[0]),
    line(0, "held-out images", points("held_out_loss"), palette[1]),
    line(1, "tokens recovered", points("token_recovery", 100), palette[2]),
    line(1, "QuantLoss AUC", points("quant_loss_auc", 100), palette[3], true),
    line(2, "learning rate", points("learning_rate").slice(1), palette[0]),
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
