/**
 * The named errors of the public API, beside RangeError for values and TypeError for types and shapes. Each says what was
 * expected, what came, and what to do.
 */

/** An error whose `name` is that of its class. */
export abstract class NamedError extends Error {
  /** As for Error. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A model set cannot be used: its manifest is wrong, or files are missing, damaged or those of another network. */
export class ModelSetError extends NamedError {}

/** A calibration cannot be used: it is missing, wrong, of other weights, or was not fitted for what is asked of it. */
export class CalibrationError extends NamedError {}

/** A network does not fit into the memory that a run may take. */
export class MemoryLimitError extends NamedError {}

/** No device of the kind that was asked for can be had. */
export class DeviceError extends NamedError {}
