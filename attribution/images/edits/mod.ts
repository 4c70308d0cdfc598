/**
 * What happens to images in the world, as data: edits of the stored image, applied before it is resized to a network's
 * size. Lossy ones go through the real encoders.
 */
export { applyEdits, type Edited } from "./apply.ts";
export {
  type CanvasEdit,
  type CanvasPlace,
  checkEdit,
  type CropEdit,
  type Edit,
  type EditName,
  type ResizeFilter,
  resizeFilters,
  type Subsampling,
} from "./edit.ts";
export { editNames, editUsages, formatEdits, parseEdits } from "./text.ts";
export {
  drawEdits,
  type DrawOptions,
  drawWrongPose,
  ladder,
  type LadderKind,
  ladderKinds,
  type Processing,
  standardProcessing,
  standardProcessings,
  wrongPoses,
} from "./tables.ts";
