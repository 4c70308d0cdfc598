/**
 * A canvas without a browser, for echarts to draw on: that of CanvasKit (Skia, compiled), plus what it leaves out of text.
 * It is deliberately no more of the Canvas API than charts need, and draws text in one font, whatever is asked for.
 */
// @ts-types="./canvaskit.d.ts"
import CanvasKitInit, { type CanvasKit, type Context, type EmulatedCanvas } from "npm:canvaskit-wasm@0.42.0";
// Imported for its place in the dependency graph alone: the font file beside it is found from there.
import font from "npm:dejavu-fonts-ttf@2.37.3/package.json" with { type: "json" };
import { createRequire } from "node:module";

/** What charts are drawn with; its metrics are those below. */
export const fontFamily = "DejaVu Sans";

/** Where text is drawn above or below its anchor, as a share of the font's size: from ascent and descent of DejaVu Sans. */
const baselines: Readonly<Record<string, number>> = { top: 0.93, hanging: 0.93, middle: 0.36, bottom: -0.24 };

/**
 * Glyphs are set at this many times their size and drawn smaller: CanvasKit rounds their widths to whole pixels, which
 * spaces small letters unevenly.
 */
const fine = 8;

/** The part of a canvas that echarts calls. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
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
    const path = createRequire(import.meta.url).resolve(`${font.name}/ttf/DejaVuSans.ttf`);
    return { kit, font: await Deno.readFile(path) };
  })();
}

async function makeCanvas(width: number, height: number): Promise<{ inner: EmulatedCanvas; canvas: Canvas }> {
  const { kit, font } = await start();
  const inner = kit.MakeCanvas(width, height);
  inner.loadFont(font, { family: fontFamily, style: "normal", weight: "400" });
  const context = withText(inner.getContext("2d"));
  // Whoever draws may want an element: of its attributes and events, a picture has none.
  const attributes = { style: {}, setAttribute() {}, getAttribute: () => null };
  const events = { addEventListener() {}, removeEventListener() {} };
  return { inner, canvas: { ...attributes, ...events, width, height, getContext: () => context } as Canvas };
}

let measuring: Promise<Canvas> | undefined;

/** A canvas to measure text on; it is always the same. */
export function measuringCanvas(): Promise<Canvas> {
  return measuring ??= makeCanvas(1, 1).then(({ canvas }) => canvas);
}

/**
 * Runs `draw` with a canvas of `width` x `height` pixels and returns what it drew, as a PNG. What `draw` returns is disposed
 * when that is done: an echarts chart clears its canvas.
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

/** The same context with textAlign and textBaseline, which CanvasKit's ignores, and with exact widths of text. */
function withText(inner: Context): Context {
  const own = { font: `12px ${fontFamily}`, textAlign: "start", textBaseline: "alphabetic" };
  const saved: (typeof own)[] = [];
  const size = () => Number(/([\d.]+)px/.exec(own.font)?.[1] ?? 12);
  const finely = <T>(body: () => T): T => {
    inner.font = `${fine * size()}px ${fontFamily}`;
    return body();
  };
  const width = (text: string) => finely(() => inner.measureText(text).width) / fine;
  const methods: Partial<Context> = {
    save() {
      saved.push({ ...own });
      inner.save();
    },
    restore() {
      Object.assign(own, saved.pop());
      inner.restore();
    },
    measureText: (text: string) => ({ width: width(text) }),
    fillText(text: string, x: number, y: number) {
      const { textAlign, textBaseline } = own;
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
      if (Object.hasOwn(own, name)) return Reflect.get(own, name);
      if (Object.hasOwn(methods, name)) return Reflect.get(methods, name);
      const value = Reflect.get(inner, name);
      return typeof value === "function" ? value.bind(inner) : value;
    },
    set(_, name, value) {
      return Reflect.set(Object.hasOwn(own, name) ? own : inner, name, value);
    },
  });
}
