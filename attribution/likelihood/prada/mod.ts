/** PRADA: fits and applies score functions of conditional and unconditional likelihood. */
export { decidePrada, type PradaDecision } from "./decide.ts";
export { loadPrada, loadReleasedPrada, type PradaFile, savePrada } from "./file.ts";
export { type Fit as PradaFit, type FitOptions as PradaFitOptions, fitPrada, fitTargets } from "./fit.ts";
export {
  initialScoreFunction,
  type ParameterName as PradaParameterName,
  type Parameters as PradaParameters,
  type ScoreFunction,
  scoreFunction,
  type TokenPairs,
} from "./score_function.ts";
export { type ImageScore, PradaScorer } from "./scorer.ts";
