/**
 * The log-probability and the rank of one code per row under the guided logits of one sampler or more, without storing
 * these logits: a pass over two rows of logits serves all samplers.
 */
import { applyAll, defineOp, expectShape, expectType, type Op, type TensorSpec } from "../op.ts";
import type { Tensor } from "../tensor.ts";

/** Inputs of `guidedScores`. */
export type GuidedInputs = {
  /** Logits under the class, [rows, codes]. */
  readonly conditional: Tensor;
  /** Logits without a class, [rows, codes]. */
  readonly unconditional: Tensor;
  /** The code of each row, [rows] (i32). */
  readonly index: Tensor;
  /** The place of each row in `mixing`, [rows] (i32). */
  readonly place: Tensor;
  /**
   * Of every sampler and place, [samplers, places, 4]: the numbers factor, share, base and scale of guided logits
   * ((conditional - share unconditional) factor + base unconditional) scale.
   */
  readonly mixing: Tensor;
};

export const guidedScoresOp: Op<GuidedInputs, { keepsGuided: boolean }> = defineOp({
  name: "guidedScores",
  infer({ conditional, unconditional, index, place, mixing }: GuidedInputs, { keepsGuided }): TensorSpec[] {
    for (const [name, tensor] of Object.entries({ conditional, unconditional, mixing })) {
      expectType("guidedScores", name, tensor, "f32");
    }
    for (const [name, tensor] of Object.entries({ index, place })) expectType("guidedScores", name, tensor, "i32");
    expectShape("guidedScores", "conditional", conditional, [-1, -1]);
    const [rows] = conditional.shape;
    expectShape("guidedScores", "unconditional", unconditional, conditional.shape);
    expectShape("guidedScores", "index", index, [rows]);
    expectShape("guidedScores", "place", place, [rows]);
    expectShape("guidedScores", "mixing", mixing, [-1, -1, 4]);
    const scores: TensorSpec = { shape: [mixing.shape[0], 2, rows], dtype: "f32" };
    return keepsGuided ? [scores, { shape: conditional.shape, dtype: "f32" }] : [scores];
  },
  forward(device, { conditional, unconditional, index, place, mixing }, [scores, guided]) {
    const [rows, n] = conditional.shape, [samplers, places] = mixing.shape;
    device.run("guidedScores", {
      conditional: conditional.storage,
      unconditional: unconditional.storage,
      index: index.storage,
      place: place.storage,
      mixing: mixing.storage,
      scores: scores.storage,
      ...guided && { guided: guided.storage },
      ...{ rows, n, samplers, places },
    });
  },
  gradient: "not needed so far",
});

/**
 * `scores` [samplers, 2, rows]: the log-probability in nats of each row's code under every sampler's guided logits, and
 * its rank, 1 plus the number of likelier codes. With `keepsGuided`, also the guided logits of the first sampler, [rows,
 * codes]. Throws TypeError when shapes do not fit.
 */
export function guidedScores(
  inputs: GuidedInputs,
  { keepsGuided = false }: { readonly keepsGuided?: boolean } = {},
): { readonly scores: Tensor; readonly guided: Tensor | undefined } {
  const [scores, guided] = applyAll(guidedScoresOp, inputs, { keepsGuided }) as [Tensor, Tensor?];
  return { scores, guided };
}
