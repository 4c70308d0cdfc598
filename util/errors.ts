/**
 * The named errors of the public API, beside RangeError for values and TypeError for types and shapes. Each says what was
 * expected, what came, and what to do.
 */

/**
 * An error whose `name` is that of its class.
 *
 * @example
 * ```ts
 * import { NamedError, Tracer } from "@model-tracer/model-tracer";
 *
 * try {
 *   await using tracer = await Tracer.open({ models: "examples" });
 *   console.log(tracer.info.method);
 * } catch (error) {
 *   if (!(error instanceof NamedError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export abstract class NamedError extends Error {
  /** As for Error. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * A model set cannot be used: its manifest is wrong, or files are missing, damaged or those of another network.
 *
 * @example
 * ```ts
 * import { ModelSetError, Tracer } from "@model-tracer/model-tracer";
 *
 * try {
 *   await using tracer = await Tracer.open({ models: "examples" });
 *   console.log(tracer.info.method);
 * } catch (error) {
 *   if (!(error instanceof ModelSetError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export class ModelSetError extends NamedError {}

/**
 * A calibration cannot be used: it is missing, wrong, of other weights, or was not fitted for what is asked of it.
 *
 * @example
 * ```ts
 * import { CalibrationError, Tracer } from "@model-tracer/model-tracer";
 *
 * try {
 *   await using tracer = await Tracer.open({ device: "cpu", method: "membership" });
 *   console.log(tracer.info.method);
 * } catch (error) {
 *   if (!(error instanceof CalibrationError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export class CalibrationError extends NamedError {}

/**
 * A network does not fit into the memory that a run may take.
 *
 * @example
 * ```ts
 * import { MemoryLimitError, Tracer } from "@model-tracer/model-tracer";
 *
 * try {
 *   await using tracer = await Tracer.open({ device: "cpu", memoryBytes: 1000 });
 *   console.log(tracer.info.method);
 * } catch (error) {
 *   if (!(error instanceof MemoryLimitError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export class MemoryLimitError extends NamedError {}

/**
 * No device of the kind that was asked for can be had.
 *
 * @example
 * ```ts
 * import { DeviceError, Tracer } from "@model-tracer/model-tracer";
 *
 * try {
 *   await using tracer = await Tracer.open({ device: "webgpu", allowSoftware: false });
 *   console.log(tracer.info.method);
 * } catch (error) {
 *   if (!(error instanceof DeviceError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export class DeviceError extends NamedError {}
