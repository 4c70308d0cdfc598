/** Renders echarts charts as SVG and as PNG, without a DOM. PNGs are drawn on the canvas of canvas.ts. */
import * as echarts from "npm:echarts@6.0.0";
import { drawPng, fontFamily, measuringCanvas } from "./canvas.ts";

/** A chart as echarts describes it. */
export type ChartOption = echarts.EChartsOption;

/** Colours that also differ in lightness, for colour-blind readers (Okabe and Ito). */
export const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const;

const ink = "#1f2328", faint = "#d0d7de", paper = "#ffffff";
const family = `${fontFamily}, Verdana, sans-serif`;

/** The common style of axes, to spread into an axis. */
export const axisStyle = {
  nameLocation: "middle",
  nameTextStyle: { color: ink, fontSize: 12 },
  axisLabel: { color: ink, fontSize: 11 },
  axisLine: { show: true, lineStyle: { color: ink } },
  splitLine: { lineStyle: { color: faint } },
} as const;

/** Adds the common style. A white background makes charts readable on dark pages. */
function complete(option: ChartOption): ChartOption {
  return {
    animation: false,
    backgroundColor: paper,
    color: [...palette],
    textStyle: { fontFamily: family, color: ink },
    ...option,
  };
}

/** Lets echarts measure text in the font that is drawn. Without a DOM it would underestimate widths. */
async function prepare(): Promise<void> {
  const canvas = await measuringCanvas();
  echarts.setPlatformAPI({ createCanvas: () => canvas } as unknown as Parameters<typeof echarts.setPlatformAPI>[0]);
}

/** A chart as SVG text. `width` and `height` are in pixels. */
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

/** A chart as a PNG of (zoom x width) x (zoom x height) pixels. */
export async function renderPng(option: ChartOption, width: number, height: number, zoom = 2): Promise<Uint8Array> {
  await prepare();
  return await drawPng(width * zoom, height * zoom, (canvas) => {
    const element = canvas as unknown as Parameters<typeof echarts.init>[0];
    const chart = echarts.init(element, null, { renderer: "canvas", width, height, devicePixelRatio: zoom });
    chart.setOption(complete(option));
    // echarts draws in the next animation frame. There are no frames here, so flush() draws now.
    chart.getZr().flush();
    return chart;
  });
}
