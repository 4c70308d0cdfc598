/**
 * Log-probability and rank of one code per row under guided logits: arguments of the WebAssembly kernel in
 * core/cpu/assembly/guided_scores.ts.
 */
import type { KernelImplementations } from "../../tensor/kernels.ts";
import type { Context } from "./context.ts";

export function guidedScoresKernels({ buffers, pool }: Context): Pick<KernelImplementations, "guidedScores"> {
  return {
    guidedScores({ conditional, unconditional, index, place, mixing, scores, guided, rows, n, samplers, places }) {
      const name = "guidedScores";
      const C = buffers.at(name, "conditional", conditional, rows * n * 4);
      const U = buffers.at(name, "unconditional", unconditional, rows * n * 4);
      const INDEX = buffers.at(name, "index", index, rows * 4);
      const PLACE = buffers.at(name, "place", place, rows * 4);
      const MIXING = buffers.at(name, "mixing", mixing, samplers * places * 16);
      const SCORES = buffers.at(name, "scores", scores, samplers * 2 * rows * 4);
      const GUIDED = guided === undefined ? 0 : buffers.at(name, "guided", guided, rows * n * 4);
      pool.run(name, {
        units: rows,
        unitCost: samplers * (20 + n),
        ints: [C, U, INDEX, PLACE, MIXING, SCORES, GUIDED, n, samplers, places, rows],
        scratch: 4 * n,
      });
    },
  };
}
