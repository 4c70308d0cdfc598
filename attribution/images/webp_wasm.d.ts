/** The compiled WebP decoder of @jsquash/webp. */
declare const module: WebAssembly.Module;
export default module;
