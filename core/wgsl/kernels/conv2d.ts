/**
 * NHWC convolution with a packed weight. Upsampling and padding are index arithmetic; nothing is copied or padded
 * beforehand.
 */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { convHardware } from "./hardware_product.ts";
import { convSoftware } from "./software_matmul.ts";

export function conv2d(gpu: Context, args: Kernels["conv2d"]): void {
  if (args.batch * args.outH * args.outW * args.cOut === 0) return;
  if (gpu.tiles === "software") convSoftware(gpu, args);
  else convHardware(gpu, args);
}
