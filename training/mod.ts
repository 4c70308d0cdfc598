/**
 * Fine-tunes an encoder into the inverse decoder of its family. `runTraining` does so from files to a file. A `Recipe`
 * has its settings; `makeRecipe` changes an official one.
 */
export { runTraining, type TrainingEvents, type TrainingJobOptions, type TrainingSummary } from "./run_training.ts";
export { makeRecipe, officialRecipe, type OptimizerName, type Recipe, type ScheduleName } from "./recipe.ts";
export type { SampleSettings } from "./sampled.ts";
export type { EpochRow } from "./state.ts";
export { DivergenceError } from "./train.ts";
