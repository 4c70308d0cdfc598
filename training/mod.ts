/** Fine-tuning an encoder into the inverse decoder of its family. Deliberately nothing but exports. */
export { areaUnderCurve, evaluate, type HeldOut } from "./evaluate.ts";
export { runTraining, type TrainingEvents, type TrainingJobOptions, type TrainingSummary } from "./run_training.ts";
export { checkTokens, formatPair, type PairFile, pairPath, readPair } from "../generation/pair_file.ts";
export { openTrainingData, type Pair, type PairFamily, type PairSource, type TrainingData } from "./pairs.ts";
export { learningRate, makeRecipe, officialRecipes, type Recipe } from "./recipe.ts";
export type { EpochRow, RunState, Settings } from "./state.ts";
export { DivergenceError, train, type TrainOptions, type TrainResult } from "./train.ts";
export { isTrained, Trainee } from "./trainee.ts";
