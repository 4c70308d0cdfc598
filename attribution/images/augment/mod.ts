/**
 * The seven post-processing transforms of sprintml/DataProvenanceIAR (dataprov/augmentations.py), each for float images
 * and for bytes, and the schedule by which training uses them.
 */
export { augment, augment8 } from "./apply.ts";
export { brightness, brightness8, contrast, contrast8, saturation, saturation8 } from "./blend.ts";
export { gaussianBlur, gaussianBlur8, gaussianKernel } from "./blur.ts";
export { type FloatImage, toFloatImage, toRgbImage } from "./float_image.ts";
export { encodeJpeg, jpeg, jpeg8 } from "./jpeg.ts";
export { gaussianNoise, gaussianNoise8 } from "./noise.ts";
export { type FloatFilter, resizeAndBack, resizeAndBack8, resizeFloat } from "./resize.ts";
export {
  type Augmentation,
  defaultStrengths,
  officialSchedule,
  sampleAugmentation,
  type SampleOptions,
  type Schedule,
  scheduleFor,
  sigmaRange,
  type Stage,
  stageForEpoch,
  stageStrengths,
  strengthRanges,
  type TransformName,
  transformNames,
} from "./schedule.ts";
