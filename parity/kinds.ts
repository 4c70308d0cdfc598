/** Which computation belongs to which case. */
import { attacks } from "./attacks.ts";
import type { ParityCase } from "./case.ts";
import { checkpoints } from "./checkpoints.ts";
import type { Compute } from "./compute.ts";
import { finetune } from "./finetune.ts";
import { interpolation } from "./interpolation.ts";
import { metrics } from "./metrics.ts";
import { membership } from "./mia.ts";
import { optimisedQuantisation } from "./optquant.ts";
import { prada } from "./prada.ts";
import { fullMaskgitVq, fullRar } from "./rar/full.ts";
import { maskgitVq, rar } from "./rar/small.ts";
import { signals } from "./signals.ts";
import { fullVar, fullVqvae } from "./var/full.ts";
import { varTransformer, vqvae } from "./var/small.ts";

/** The computation for a case, by its number or by the network in its configuration; null when none exists yet. */
export function computeFor(parityCase: ParityCase): Compute | null {
  const name = `${parityCase.manifest.case} ${parityCase.name}`;
  const config = parityCase.manifest.config ?? {};
  if (/full_/.test(name)) {
    return config.rar
      ? fullRar
      : config.var
      ? fullVar
      : config.vae
      ? fullVqvae
      : config.tokenizer
      ? fullMaskgitVq
      : null;
  }
  if (/case01/.test(name)) return maskgitVq;
  if (/case02/.test(name)) return rar;
  if (/case03b/.test(name)) return interpolation;
  if (/case03/.test(name)) return vqvae;
  if (/case04/.test(name)) return varTransformer;
  if (/case05_optquant/.test(name)) return optimisedQuantisation;
  if (/case05_signals/.test(name)) return signals;
  if (/case06/.test(name)) return finetune;
  if (/case07/.test(name)) return prada;
  if (/case08/.test(name)) return membership;
  if (/case10/.test(name)) return attacks;
  return null;
}

/** Cases that are lists of files rather than of tensors. */
export function isCheckpointCase(parityCase: ParityCase): boolean {
  return parityCase.manifest.tensors === undefined && parityCase.manifest.files !== undefined;
}

/** Cases that are sets of numbers in the manifest itself. */
export function isMetricsCase(parityCase: ParityCase): boolean {
  return Array.isArray(parityCase.manifest.sets);
}

export { checkpoints, metrics };
