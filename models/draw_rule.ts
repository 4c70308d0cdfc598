/**
 * Samplers: their settings by name, and how logits become the distribution that a sampler draws from. Likelihood and
 * generation share it; the rule of each family is in its folder. Nothing is drawn here.
 */
import type { Tensor } from "../core/tensor/mod.ts";
import type { Support } from "./sampling.ts";

/** The settings that a sampler may have; which of them it has is its family's. */
export type SamplerSetting = "guidance" | "power" | "interval" | "temperature" | "topK" | "topP";

/** Sampler settings of a variant as a manifest has them. */
export type Sampler = Readonly<Partial<Record<SamplerSetting, number>>>;

/** A variant's own sampler, then those with other settings, each of which changes some of its settings. All differ. */
export function possibleSamplers(own: Sampler, others: readonly Sampler[]): readonly Sampler[] {
  const all = [own, ...others.map((other) => ({ ...own, ...other }))];
  const text = (sampler: Sampler) => JSON.stringify(Object.entries(sampler).sort());
  return all.filter((sampler, i) => all.findIndex((first) => text(first) === text(sampler)) === i);
}

/** How guided logits are made of conditional and unconditional ones, and which codes may then be drawn. */
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

/** Throws unless a sampler has exactly the settings `names`; `variant` is for the message. */
export function requireSettings<N extends SamplerSetting>(
  sampler: Sampler,
  names: readonly N[],
  variant: string,
): Record<N, number> {
  const given = Object.keys(sampler);
  if (given.length === names.length && names.every((name) => sampler[name] !== undefined)) {
    return sampler as Record<N, number>;
  }
  throw new Error(`${variant}: expected a sampler with ${names.join(", ")}, got ${JSON.stringify(sampler)}`);
}
