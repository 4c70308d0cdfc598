/**
 * A canvas without a browser, for echarts to draw on: CanvasKit (Skia as WebAssembly), with the alignment of text that
 * it lacks. It has only the part of the Canvas API that charts need, and one font.
 */
// @ts-types="./canvaskit.d.ts"
import CanvasKitInit, { type CanvasKit, type Context, type EmulatedCanvas } from "npm:canvaskit-wasm@0.42.0";
import { fontPath } from "./font.ts";

/** The font of all text. */
export const fontFamily = "DejaVu Sans";

/**
 * Offset of the baseline from the anchor by `textBaseline`, in units of the font size, from the metrics of DejaVu Sans.
 */
const baselines: Readonly<Record<string, number>> = { top: 0.93, hanging: 0.93, middle: 0.36, bottom: -0.24 };

/**
 * Glyphs are set at this multiple of their size and drawn smaller. CanvasKit rounds widths to whole pixels, which would
 * space small letters unevenly.
 */
const fine = 8;

/** The part of a canvas that echarts uses. */
export interface Canvas {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** The 2D context. */
  getContext(kind: "2d"): Context;
}

let ready: Promise<{ kit: CanvasKit; font: Uint8Array<ArrayBuffer> }> | undefined;

function start() {
  return ready ??= (async () => {
    // @ts-types="./canvaskit_wasm.d.ts"
    const { default: module } = await import("./canvaskit_wasm.js");
    const kit = await CanvasKitInit({
      instantiateWasm(imports, done) {
        WebAssembly.instantiate(module, imports).then(done);
        return {};
      },
    });
    return { kit, font: await Deno.readFile(fontPath) };
  })();
}

async function makeCanvas(width: number, height: number): Promise<{ inner: EmulatedCanvas; canvas: Canvas }> {
  const { kit, font } = await start();
  const inner = kit.MakeCanvas(width, height);
  inner.loadFont(font, { family: fontFamily, style: "normal", weight: "400" });
  const context = withText(inner.getContext("2d"));
  // echarts treats the canvas as an element, so it gets empty attributes and events.
  const attributes = { style: {}, setAttribute() {}, getAttribute: () => null };
  const events = { addEventListener() {}, removeEventListener() {} };
  return { inner, canvas: { ...attributes, ...events, width, height, getContext: () => context } as Canvas };
}

let measuring: Promise<Canvas> | undefined;

/** The shared canvas to measure text on. */
export function measuringCanvas(): Promise<Canvas> {
  return measuring ??= makeCanvas(1, 1).then(({ canvas }) => canvas);
}

/**
 * Calls `draw` with a canvas of `width` x `height` pixels, and returns the drawing as a PNG. The result of `draw` is
 * disposed afterwards, because an echarts chart clears its canvas then.
 */
export async function drawPng(
  width: number,
  height: number,
  draw: (canvas: Canvas) => { dispose(): void },
): Promise<Uint8Array> {
  const { inner, canvas } = await makeCanvas(width, height);
  try {
    const drawn = draw(canvas);
    const url = inner.toDataURL("image/png");
    drawn.dispose();
    return Uint8Array.fromBase64(url.slice(url.indexOf(",") + 1));
  } finally {
    inner.dispose();
  }
}

/** The context with textAlign and textBaseline, which CanvasKit ignores, and with exact widths of text. */
function withText(inner: Context): Context {
  const style = { font: `12px ${fontFamily}`, textAlign: "start", textBaseline: "alphabetic" };
  const saved: (typeof style)[] = [];
  const size = () => Number(/([\d.]+)px/.exec(style.font)?.[1] ?? 12);
  const finely = <T>(body: () => T): T => {
    inner.font = `${fine * size()}px ${fontFamily}`;
    return body();
  };
  const width = (text: string) => finely(() => inner.measureText(text).width) / fine;
  const methods: Partial<Context> = {
    save() {
      saved.push({ ...style });
      inner.save();
    },
    restore() {
      Object.assign(style, saved.pop());
      inner.restore();
    },
    measureText: (text: string) => ({ width: width(text) }),
    fillText(text: string, x: number, y: number) {
      const { textAlign, textBaseline } = style;
      const share = textAlign === "center" ? 0.5 : textAlign === "right" || textAlign === "end" ? 1 : 0;
      inner.save();
      inner.translate(x - share * width(text), y + (baselines[textBaseline] ?? 0) * size());
      inner.scale(1 / fine, 1 / fine);
      finely(() => inner.fillText(text, 0, 0));
      inner.restore();
    },
  };
  return new Proxy(inner, {
    get(_, name) {
      if (Object.hasOwn(style, name)) return Reflect.get(style, name);
      if (Object.hasOwn(methods, name)) return Reflect.get(methods, name);
      const value = Reflect.get(inner, name);
      return typeof value === "function" ? value.bind(inner) : value;
    },
    set(_, name, value) {
      return Reflect.set(Object.hasOwn(style, name) ? style : inner, name, value);
    },
  });
}
