// ImageMagick as a WebAssembly.Module. Loading it with an import, and not with fetch or a file read, is what lets it work
// without any permission; TypeScript does not parse this form of import yet, hence a .js file.
import source module from "npm:@imagemagick/magick-wasm@0.0.43/magick.wasm";
export default module;
