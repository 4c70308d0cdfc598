/** Every kernel that the CPU device calls: `kernel(args, begin, end, scratch)`. Helpers are not exported from here. */
export { matmul } from "./matmul";
export { conv } from "./conv";
export { castHalves, packColumns, packRows, packWeight, transpose } from "./pack";
