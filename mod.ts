/**
 * model-tracer: which image-autoregressive model made this image?
 *
 * The public API; nothing but exports. `core/tensor` is the tensor library, `models` the networks, `attribution` the way
 * from pixels to a verdict.
 */
export { type DeviceName, openDevice, type OpenDeviceOptions } from "./core/open_device.ts";
export * from "./core/tensor/mod.ts";
export * from "./models/mod.ts";
export * from "./attribution/mod.ts";
