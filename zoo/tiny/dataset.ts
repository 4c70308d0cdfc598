/** The dataset of the embedded set, examples/Dataset. */
import { generatedSharpness } from "../blur.ts";
import type { DatasetPlan } from "../dataset_plan.ts";

/** Images per split. */
export const tinyDataset = {
  train: { seed: 11, each: 40 },
  val: { seed: 12, each: 20, outliers: { photograph: 60 } },
  test: {
    seed: 13,
    each: 30,
    outliers: { photograph: 60, "other-generator": 30 },
    added: {
      photograph: 60,
      "other-generator": 170,
      "ancestor-var": 60,
      gaussian: 40,
      "twin-rar": 60,
      "twin-var": 60,
      "reconstruction-rar": 40,
      "reconstruction-var": 40,
      "trained-on": 40,
      "blurred-photograph": 100,
    },
  },
  processed: { each: 12 },
  isGivenOn: true,
  sharpness: generatedSharpness,
} as const satisfies DatasetPlan;
