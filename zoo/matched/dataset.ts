/**
 * The dataset of the recipe `matched`: as many images to train and to validate as the official set's users have, and a
 * test set of a thousand images with two outliers in five. It is drawn where it is needed, and not given on.
 */
import type { DatasetPlan } from "../dataset_plan.ts";

/** Images per split. */
export const matchedDataset = {
  train: { seed: 1011, each: 100 },
  val: { seed: 1012, each: 50, outliers: { photograph: 50 } },
  test: {
    seed: 1013,
    each: 75,
    outliers: {
      photograph: 110,
      "blurred-photograph": 50,
      "trained-on": 60,
      "enlarged-generator": 40,
      gaussian: 20,
      "twin-rar": 30,
      "twin-var": 30,
      "reconstruction-rar": 30,
      "reconstruction-var": 30,
    },
  },
  isGivenOn: false,
} as const satisfies DatasetPlan;
