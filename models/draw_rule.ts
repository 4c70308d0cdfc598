/**
 * Samplers: their settings by name, and how logits become the distribution that a sampler draws from. Likelihood and
 * generation share it; the rule of each family is in its folder. Nothing is drawn here.
 */
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

/**
 * Guided logits of a token: (conditional - share unconditional) factor + base unconditional, in this order, as the
 * official code computes its own formula.
 */
export interface Mixing {
  /** Factor of the difference. */
  readonly factor: number;
  /** Share of the unconditional logits that is subtracted from the conditional ones. */
  readonly share: number;
  /** Factor of the unconditional logits that are added. */
  readonly base: number;
}

/** The guided logits are the conditional ones. */
export const unmixed: Mixing = { factor: 1, share: 0, base: 0 };

/** How guided logits are made of conditional and unconditional ones, and which codes may then be drawn. */
export interface DrawRule {
  /** Of every token. All are `unmixed` where the guided distribution is the conditional one. */
  readonly mixing: readonly Mixing[];
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
