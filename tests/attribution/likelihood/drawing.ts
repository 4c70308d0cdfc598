/** Networks of either family as what draws tokens, for tests that score or infer from what was drawn. */
import type { ImageTokenizer, Variant } from "../../../models/family.ts";
import type { RarVariant } from "../../../models/rar/family.ts";
import { generateRar } from "../../../models/rar/generate.ts";
import type { VarImageTokenizer, VarVariant } from "../../../models/var/family.ts";
import { generateVar } from "../../../models/var/generate.ts";

export const noGuidance = {
  rar: { guidance: 0, power: 1, temperature: 1 },
  var: { guidance: 0, topK: 0, topP: 0 },
};

export type RarSampler = typeof noGuidance.rar;
export type VarSampler = typeof noGuidance.var;

export interface Drawing {
  readonly family: ImageTokenizer;
  readonly variant: Variant;
  readonly sampler: RarSampler | VarSampler;
  /** Draws one image per class; `onStep` gets the guided logits [images, tokens of the step, codes] before temperature. */
  generate(
    labels: readonly (number | null)[],
    onStep?: (values: Promise<Float32Array>) => void,
  ): Promise<Int32Array>;
  /** Frees the networks. */
  dispose(): void;
}

export function drawRar(variant: RarVariant, sampler: RarSampler, seed: number): Drawing {
  return {
    // Stands in for RAR's tokenizer, of which scoring needs nothing else.
    family: { transformerInput: (tokens) => tokens.reshape(...tokens.shape) } as ImageTokenizer,
    variant,
    sampler,
    async generate(labels, onStep) {
      const images = labels.map((_, i) => i);
      const tokens = await generateRar(variant.transformer, sampler, {
        ...{ labels, images, seed },
        onStep: onStep && ((logits) => onStep(logits.data())),
      });
      const values = await tokens.ints();
      tokens.dispose();
      return values;
    },
    dispose: () => variant.dispose(),
  };
}

export function drawVar(family: VarImageTokenizer, variant: VarVariant, sampler: VarSampler, seed: number): Drawing {
  return {
    family,
    variant,
    sampler,
    async generate(labels, onStep) {
      const images = labels.map((_, i) => i);
      const { tokens, fHat } = await generateVar(variant.transformer, family.quantizer, sampler, {
        ...{ labels, images, seed },
        onStep: onStep && ((logits) => onStep(logits.data())),
      });
      const values = await tokens.ints();
      tokens.dispose();
      fHat.dispose();
      return values;
    },
    dispose() {
      variant.dispose();
      family.dispose();
    },
  };
}
