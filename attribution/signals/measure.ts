/**
 * All signals of a level for a batch of images, by their names in evidence. Work is recorded on the device; the
 * pipeline reads the results.
 */
import { scope, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import type { FamilyEvidence } from "./family_evidence.ts";
import type { Quantize } from "../quantisation/quantize.ts";
import { familySignals, requantizedSignals } from "./reconstruction.ts";
import { latentTracer } from "./latent_tracer.ts";
import type { SignalLevel } from "./table.ts";

/**
 * images[batch, size, size, 3] in the tokenizer's value range -> tokens[batch, tokenCount] (i32) and signals, each
 * [batch].
 */
export function measureSignals(
  tokenizer: ImageTokenizer,
  images: Tensor,
  level: SignalLevel,
  quantize: Quantize = (f) => tokenizer.quantize(f),
): { tokens: Tensor; signals: Readonly<Partial<Record<keyof FamilyEvidence, Tensor>>> } {
  return scope(() => {
    const { tokens, fHat, signals } = familySignals(tokenizer, images, quantize);
    if (level === "core") return { tokens, signals: { ...signals } };
    const requantized = requantizedSignals(tokenizer, images, { tokens, fHat }, quantize);
    if (level === "all") return { tokens, signals: { ...signals, ...requantized } };
    return { tokens, signals: { ...signals, ...requantized, latentTracer: latentTracer(tokenizer, images, fHat) } };
  });
}
