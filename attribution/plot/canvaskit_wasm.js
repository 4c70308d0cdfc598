// CanvasKit as a WebAssembly.Module. Loading it with an import is what lets it work without network or fetch; TypeScript
// does not parse this form of import yet, hence a .js file.
import source module from "npm:canvaskit-wasm@0.42.0/bin/canvaskit.wasm";
export default module;
