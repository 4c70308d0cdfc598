/**
 * model-tracer: which image-autoregressive model made this image?
 *
 * `Tracer` answers that for images; the other names are what goes in and comes out. The parts are modules of their own:
 * `./tensor`, `./models`, `./attribution`, `./generation`, `./training` and `./service`.
 *
 * @module
 */
export type { DeviceName } from "./core/open_device.ts";
export {
  type AttributeOptions,
  type ImageSource,
  type NamedImage,
  Tracer,
  type TracerInfo,
  type TracerOptions,
} from "./attribution/run/tracer.ts";
export type { RunEvents, RunOptions } from "./attribution/run/open_run.ts";
export type { Cheaper, RunPlan, WorkPart } from "./attribution/run/run_plan.ts";
export type { Rates } from "./attribution/run/work_meter.ts";
export {
  type Evidence,
  type EvidenceLine,
  type Finding,
  isUnreadable,
  type PoseEvidence,
  type SearchEvidence,
  type Unreadable,
} from "./attribution/evidence/evidence.ts";
export {
  type FindingWords,
  findingWords,
  outlierMeaning,
  verbalSupport,
  type VerdictWords,
  wordsOf,
} from "./attribution/evidence/words.ts";
export type { FileFacts, ImageFacts, Levels, Unsuitable } from "./attribution/images/facts/facts.ts";
export type { Pose } from "./attribution/images/pose.ts";
export type { SearchLevel } from "./attribution/search/candidates.ts";
export { type ListedImage, listImages } from "./attribution/images/list.ts";
export { type RgbImage, UnreadableImageError, type UnreadableReason } from "./attribution/images/image.ts";
export { type Decision, type Method, methodNames, registerMethod } from "./attribution/decision/methods.ts";
export type { Decidable } from "./attribution/decision/finding.ts";
export { CalibrationError, DeviceError, MemoryLimitError, ModelSetError, NamedError } from "./util/errors.ts";
