/** Case 03b: resizing and pooling alone. */
import { avgPool2d, type Device, resize, scope } from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";
import { inputs, type Result } from "./compute.ts";
import { fromNchw, toNchw } from "./layout.ts";

/**
 * Names say what to do: `area_8_to_3` of `src_8`, `bicubic_3_to_8` of `src_3_for_8`, `bicubic_5x6_to_8x7` of `src_nn`.
 */
export async function* interpolation(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const names = Object.keys(parityCase.manifest.tensors!);
  yield* inputs(parityCase, names.filter((name) => name.startsWith("src")));
  for (const tensor of names) {
    const sized = tensor.match(/^(area|bicubic)_(\d+)(?:x(\d+))?_to_(\d+)(?:x(\d+))?$/);
    const [, , h, w] = parityCase.info(tensor).shape;
    const from = sized
      ? sized[3] ? "src_nn" : sized[1] === "area" ? `src_${sized[2]}` : `src_${sized[2]}_for_${sized[4]}`
      : "src_nn";
    if (tensor.startsWith("src")) continue;
    if (!sized && tensor !== "nearest_x2" && !tensor.startsWith("avgpool")) continue;
    const source = await parityCase.floats(from);
    const out = scope(() => {
      const x = fromNchw(device, source, parityCase.info(from).shape);
      if (tensor.startsWith("avgpool")) return avgPool2d(x, Number(tensor.slice("avgpool".length)));
      return resize(x, sized ? sized[1] as "area" | "bicubic" : "nearest", h, w);
    });
    yield { tensor, values: await toNchw(out) };
    out.dispose();
  }
}
