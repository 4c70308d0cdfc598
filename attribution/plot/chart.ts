/**
 * A chart as SVG text and as PNG: echarts draws both without a DOM, the latter on a canvas of its own (canvas.ts).
 * What a chart shows is decided by its callers; nothing here knows a run or a label.
 */
import * as echarts from "npm:echarts@6.0.0";
import { drawPng, fontFamily, measuringCanvas } from "./canvas.ts";

export type ChartOption = echarts.EChartsOption;

/** Colours that differ in lightness too, for readers who do not see all hues (Okabe and Ito). */
export const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const;

const ink = "#1f2328", faint = "#d0d7de", paper = "#ffffff";
const family = `${fontFamily}, Verdana, sans-serif`;

/** Axis title, lines and labels in the common style; spread into an axis. */
export const axisStyle = {
  nameLocation: "middle",
  nameTextStyle: { color: ink, fontSize: 12 },
  axisLabel: { color: ink, fontSize: 11 },
  axisLine: { show: true, lineStyle: { color: ink } },
  splitLine: { lineStyle: { color: faint } },
} as const;

/** On paper of its own, so that a chart is readable on light and dark pages. */
function complete(option: ChartOption): ChartOption {
  return {
    animation: false,
    backgroundColor: paper,
    color: [...palette],
    textStyle: { fontFamily: family, color: ink },
    ...option,
  };
}

/** Has echarts measure text in the font that it will be drawn in: without a DOM it would guess, and guess too little. */
async function prepare(): Promise<void> {
  const canvas = await measuringCanvas();
  echarts.setPlatformAPI({ createCanvas: () => canvas } as unknown as Parameters<typeof echarts.setPlatformAPI>[0]);
}

/** A chart as SVG text; `width` and `height` in pixels. */
export async function renderSvg(option: ChartOption, width: number, height: number): Promise<string> {
  await prepare();
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption(complete(option));
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

/** A chart as a PNG with `zoom` pixels for each of `width` x `height`. */
export async function renderPng(option: ChartOption, width: number, height: number, zoom = 2): Promise<Uint8Array> {
  await prepare();
  return await drawPng(width * zoom, height * zoom, (canvas) => {
    const element = canvas as unknown as Parameters<typeof echarts.init>[0];
    const chart = echarts.init(element, null, { renderer: "canvas", width, height, devicePixelRatio: zoom });
    chart.setOption(complete(option));
    // What is pending would otherwise be drawn in the next frame, which there is none of.
    chart.getZr().flush();
    return chart;
  });
}
