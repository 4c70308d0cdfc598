// The compiled WebP decoder as a WebAssembly.Module. Loading it with an import, and not with fetch or a file read, is what
// lets it work without any permission; TypeScript does not parse this form of import yet, hence a .js file.
import source module from "npm:@jsquash/webp@1.5.0/codec/dec/webp_dec.wasm";
export default module;
