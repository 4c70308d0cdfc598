/**
 * How a variant's sampler turns logits into the distribution that it draws from: guidance per token, temperature, and which
 * codes may come at all. It neither runs a network nor draws; generation (models/*\/generate.ts) shares its arithmetic.
 */
import type { Tensor } from "../../core/tensor/mod.ts";
import type { Variant } from "../../models/family.ts";
import type { RarSampler } from "../../models/rar/config.ts";
import { guidanceScales, guide as guideRar } from "../../models/rar/sampler.ts";
import { type Support, wholeSupport } from "../../models/sampling.ts";
import { scaleStarts, type VarSampler } from "../../models/var/config.ts";
import { VarVariant } from "../../models/var/family.ts";
import { guidanceStrengths, guide as guideVar } from "../../models/var/sampler.ts";

/** Sampler settings as a manifest has them. */
export type Sampler = RarSampler | VarSampler;

export interface DrawRule {
  /** False where the guided distribution is the conditional one, whatever the unconditional one says. */
  readonly isGuided: boolean;
  /** What `guide` needs of every token: one or two numbers each. */
  readonly coefficients: readonly Float32Array<ArrayBuffer>[];
  /** Guided logits[rows, codes], before temperature; every tensor of `coefficients` is [rows, 1]. */
  guide(conditional: Tensor, unconditional: Tensor, coefficients: readonly Tensor[]): Tensor;
  /** Guided logits are divided by it. */
  readonly temperature: number;
  /** Which codes may be drawn, of those of the guided distribution. */
  readonly support: Support;
}

/** The rule by which `sampler` draws from a variant. Throws when the two are of different families. */
export function drawRule(variant: Variant, sampler: Sampler): DrawRule {
  const { tokenCount } = variant;
  if (variant.family === "rar" && "temperature" in sampler) {
    const factors = guidanceScales(sampler, tokenCount);
    return {
      isGuided: factors.some((factor) => factor !== 1),
      coefficients: [Float32Array.from(factors)],
      guide: (conditional, unconditional, [factor]) => guideRar(conditional, unconditional, factor),
      temperature: sampler.temperature,
      support: wholeSupport,
    };
  }
  if (variant instanceof VarVariant && "topK" in sampler) {
    const { patchNums } = variant.transformer.config;
    const starts = scaleStarts(patchNums);
    const own = new Float32Array(tokenCount), other = new Float32Array(tokenCount);
    guidanceStrengths(sampler.guidance, patchNums.length).forEach((strength, scale) => {
      own.fill(1 + strength, starts[scale], starts[scale + 1]);
      other.fill(strength, starts[scale], starts[scale + 1]);
    });
    return {
      isGuided: sampler.guidance !== 0,
      coefficients: [own, other],
      guide: (conditional, unconditional, [own, other]) => guideVar(conditional, unconditional, { own, other }),
      temperature: 1,
      support: { topK: sampler.topK, topP: sampler.topP },
    };
  }
  throw new Error(
    `drawRule: expected a sampler of ${variant.name} (${variant.family}), got ${JSON.stringify(sampler)}`,
  );
}
