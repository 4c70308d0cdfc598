/**
 * A chart as SVG text and as PNG: echarts draws without a DOM, resvg turns its drawing into pixels.
 * What a chart shows is decided by its callers; nothing here knows a run or a label.
 */
import { initWasm, Resvg } from "@resvg/resvg-wasm";
// Imported for its place in the dependency graph alone: the font file beside it is found from there.
import font from "dejavu-fonts-ttf/package.json" with { type: "json" };
import * as echarts from "echarts";
import { createRequire } from "node:module";

export type ChartOption = echarts.EChartsOption;

/** Colours that differ in lightness too, for readers who do not see all hues (Okabe and Ito). */
export const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const;

const ink = "#1f2328", faint = "#d0d7de", paper = "#ffffff";
const family = "DejaVu Sans, Verdana, sans-serif";

/** Axis title, lines and labels in the common style; spread into an axis. */
export const axisStyle = {
  nameLocation: "middle",
  nameTextStyle: { color: ink, fontSize: 12 },
  axisLabel: { color: ink, fontSize: 11 },
  axisLine: { show: true, lineStyle: { color: ink } },
  splitLine: { lineStyle: { color: faint } },
} as const;

/** Draws a chart; `width` and `height` in pixels. On paper of its own, so that it is readable on light and dark pages. */
export function renderSvg(option: ChartOption, width: number, height: number): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: paper,
      color: [...palette],
      textStyle: { fontFamily: family, color: ink },
      ...option,
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

let ready: Promise<Uint8Array> | undefined;

/** Starts resvg and reads the font; it has none of its own. */
function start(): Promise<Uint8Array> {
  return ready ??= (async () => {
    // @ts-types="./resvg_wasm.d.ts"
    const wasm = await import("./resvg_wasm.js");
    await initWasm(wasm.default);
    return await Deno.readFile(createRequire(import.meta.url).resolve(`${font.name}/ttf/DejaVuSans.ttf`));
  })();
}

/** The pixels of an SVG as a PNG, `zoom` pixels for each of its own. */
export async function renderPng(svg: string, zoom = 2): Promise<Uint8Array> {
  const buffer = await start();
  const resvg = new Resvg(svg, {
    font: { fontBuffers: [buffer], defaultFontFamily: "DejaVu Sans", sansSerifFamily: "DejaVu Sans" },
    fitTo: { mode: "zoom", value: zoom },
  });
  try {
    const image = resvg.render();
    try {
      return image.asPng();
    } finally {
      image.free();
    }
  } finally {
    resvg.free();
  }
}
