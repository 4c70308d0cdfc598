/** Types of the part of CanvasKit that is used. CanvasKit's types need those of a browser. */

/** A 2D context; only the part that concerns text. */
export interface Context {
  font: string;
  save(): void;
  restore(): void;
  translate(x: number, y: number): void;
  scale(x: number, y: number): void;
  measureText(text: string): { readonly width: number };
  fillText(text: string, x: number, y: number): void;
}

export interface EmulatedCanvas {
  loadFont(bytes: Uint8Array, description: { family: string; style: string; weight: string }): void;
  getContext(kind: "2d"): Context;
  toDataURL(type: "image/png"): string;
  dispose(): void;
}

export interface CanvasKit {
  MakeCanvas(width: number, height: number): EmulatedCanvas;
}

export interface InitOptions {
  /** Instantiates the WebAssembly module, instead of Emscripten's fetching it. */
  instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void): unknown;
}

export default function CanvasKitInit(options: InitOptions): Promise<CanvasKit>;
