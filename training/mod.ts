/**
 * Fine-tuning an encoder into the inverse decoder of its family. `runTraining` is the whole job with its files; a `Recipe`
 * says how, and `makeRecipe` changes an official one.
 */
export { runTraining, type TrainingEvents, type TrainingJobOptions, type TrainingSummary } from "./run_training.ts";
export { makeRecipe, officialRecipe, type OptimizerName, type Recipe, type ScheduleName } from "./recipe.ts";
export type { SampleSettings } from "./sampled.ts";
export type { EpochRow } from "./state.ts";
export { DivergenceError } from "./train.ts";
