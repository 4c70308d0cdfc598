/**
 * Decides when evidence measured under other settings can be reused: most of what one task has measured serves others.
 * store.ts reads and writes the evidence.
 *
 * - Tokens depend on quantisation, device, weight type, latent statistics, and on whether the encoder is the tokenizer's (`baselines`) or
 *   the inverse decoder.
 * - Signals depend on tokens and on their level. A level contains the signals of the levels below.
 * - Likelihoods depend on tokens, the class condition and how classes are inferred. Extras are additional numbers.
 */
import type { FamilyEvidence, Settings } from "../../evidence/evidence.ts";
import { mapFamilies } from "../../labels.ts";
import type { Measured } from "../image_state.ts";
import { canonicalJson } from "../../../util/json.ts";

/** Which parts of the evidence can be reused. */
export interface Reuse {
  /** Signals and tokens. */
  readonly families: boolean;
  /** Classes and likelihoods. */
  readonly variants: boolean;
}

/**
 * The parts of evidence measured under `stored` settings that can be reused under `wanted` ones; undefined for none.
 */
export function reusablePart(stored: Settings, wanted: Settings): Reuse | undefined {
  const sameTokens = stored.quantization === wanted.quantization && stored.device === wanted.device &&
    stored.weightType === wanted.weightType && stored.latents === wanted.latents &&
    (stored.signals === "baselines") === (wanted.signals === "baselines");
  if (!sameTokens) return undefined;
  const families = stored.signals === wanted.signals || stored.signals === "all";
  const variants = sameScoring(stored, wanted);
  return families || variants ? { families, variants } : undefined;
}

/** Likelihoods under given classes are not reused: the settings do not say which class was given. */
function sameScoring(stored: Settings, wanted: Settings): boolean {
  if (wanted.summaries === undefined || wanted.condition === "given") return false;
  const storedExtras = extrasOf(stored), wantedExtras = extrasOf(wanted);
  return stored.summaries === wanted.summaries && stored.condition === wanted.condition &&
    canonicalJson(stored.inference ?? null) === canonicalJson(wanted.inference ?? null) &&
    wantedExtras.every((id) => storedExtras.includes(id)) &&
    storedExtras.every((id) => wantedExtras.includes(id) || prefixOf(id) !== undefined);
}

/** Adds the reusable parts of other evidence to the evidence `known` of an image. Known parts stay as they are. */
export function mergeReusable(
  known: Measured | undefined,
  other: Measured,
  reuse: Reuse,
  settings: { readonly stored: Settings; readonly wanted: Settings },
): Measured | undefined {
  const families = reuse.families ? withLevel(other.families, settings.wanted) : undefined;
  const variants = reuse.variants ? withoutExtras(other.variants, settings) : {};
  const classes = reuse.variants ? other.classes : undefined;
  if (families === undefined && Object.keys(variants).length === 0 && classes === undefined) return known;
  const { sha256, width, height, timings } = other;
  const all = { ...classes, ...known?.classes };
  const facts = known?.facts ?? other.facts;
  return {
    ...known ?? { sha256, width, height, timings },
    ...facts && { facts },
    families: known?.families ?? families,
    ...known?.tokens ?? other.tokens ? { tokens: known?.tokens ?? other.tokens } : {},
    ...Object.keys(all).length > 0 && { classes: all },
    variants: { ...variants, ...known?.variants },
  };
}

/** Signals of the level `core`. The levels `all` and `baselines` have more. */
const coreSignals: ReadonlySet<string> = new Set<keyof FamilyEvidence>([
  ...["quantLoss", "encLoss", "encLossUncalibrated", "combined", "quantErrorTail"] as const,
]);

function withLevel(families: Measured["families"], wanted: Settings): Measured["families"] {
  if (families === undefined || wanted.signals !== "core") return families;
  const core = (signals: FamilyEvidence) =>
    Object.fromEntries(Object.entries(signals).filter(([name]) => coreSignals.has(name))) as FamilyEvidence;
  return mapFamilies(Object.keys(families), (name) => core(families[name]));
}

/** Prefixes of the names of extras, by the first part of their id (decision/extras.ts). */
const prefixes: Readonly<Record<string, string>> = { membership: "membership.", tokens: "token.", prada: "prada." };

function prefixOf(id: string): string | undefined {
  return prefixes[id.split("/")[0]];
}

function extrasOf({ extras }: Settings): readonly string[] {
  return extras?.split("+") ?? [];
}

function withoutExtras(
  variants: Measured["variants"],
  { stored, wanted }: { readonly stored: Settings; readonly wanted: Settings },
): Measured["variants"] {
  const unwanted = extrasOf(stored).filter((id) => !extrasOf(wanted).includes(id)).map((id) => prefixOf(id)!);
  if (unwanted.length === 0) return variants;
  return Object.fromEntries(
    Object.entries(variants).map(([label, { summaries = {}, ...rest }]) => [label, {
      ...rest,
      summaries: Object.fromEntries(
        Object.entries(summaries).filter(([name]) => !unwanted.some((prefix) => name.startsWith(prefix))),
      ),
    }]),
  );
}
