/**
 * Which evidence serves settings other than those that it was measured under: what one task has measured, another need not.
 * Rules about settings alone; where evidence lies is store.ts.
 *
 * Tokens depend on quantisation, device, weight type, and on whether the encoder is the tokenizer's own (`baselines`).
 * Signals depend on their level, too, and a level has those of the levels below. What transformers say of tokens depends on
 * the condition and how classes are inferred; extras are numbers beside it.
 */
import type { FamilyEvidence, Settings } from "../../evidence/evidence.ts";
import { mapFamilies } from "../../labels.ts";
import type { Measured } from "../image_state.ts";
import { canonicalJson } from "../../../util/json.ts";

/** What of evidence can be used. */
export interface Use {
  readonly families: boolean;
  readonly variants: boolean;
}

/** What evidence under the settings `theirs` is good for under `wanted`; undefined for nothing. */
export function reusablePart(theirs: Settings, wanted: Settings): Use | undefined {
  const sameTokens = theirs.quantization === wanted.quantization && theirs.device === wanted.device &&
    theirs.weightType === wanted.weightType &&
    (theirs.signals === "baselines") === (wanted.signals === "baselines");
  if (!sameTokens) return undefined;
  const families = theirs.signals === wanted.signals || theirs.signals === "all";
  const variants = sameScoring(theirs, wanted);
  return families || variants ? { families, variants } : undefined;
}

/** Under given classes, evidence is of a class that the settings do not say: it is not shared. */
function sameScoring(theirs: Settings, wanted: Settings): boolean {
  if (wanted.summaries === undefined || wanted.condition === "given") return false;
  const has = extrasOf(theirs), wants = extrasOf(wanted);
  return theirs.summaries === wanted.summaries && theirs.condition === wanted.condition &&
    canonicalJson(theirs.inference ?? null) === canonicalJson(wanted.inference ?? null) &&
    wants.every((id) => has.includes(id)) &&
    has.every((id) => wants.includes(id) || prefixOf(id) !== undefined);
}

/** Adds to what is known of an image what evidence under other settings has beyond it. */
export function mergeReusable(
  known: Measured | undefined,
  theirs: Measured,
  use: Use,
  settings: { readonly theirs: Settings; readonly wanted: Settings },
): Measured | undefined {
  const families = use.families ? withLevel(theirs.families, settings.wanted) : undefined;
  const variants = use.variants ? withoutExtras(theirs.variants, settings) : {};
  const classes = use.variants ? theirs.classes : undefined;
  if (families === undefined && Object.keys(variants).length === 0 && classes === undefined) return known;
  const { sha256, width, height, timings } = theirs;
  const all = { ...classes, ...known?.classes };
  return {
    ...known ?? { sha256, width, height, timings },
    families: known?.families ?? families,
    ...known?.tokens ?? theirs.tokens ? { tokens: known?.tokens ?? theirs.tokens } : {},
    ...Object.keys(all).length > 0 && { classes: all },
    variants: { ...variants, ...known?.variants },
  };
}

/** Signals of the level `core`; `all` and `baselines` have more. */
const coreSignals: ReadonlySet<string> = new Set<keyof FamilyEvidence>([
  ...["quantLoss", "encLoss", "encLossUncalibrated", "combined", "quantErrorTail"] as const,
]);

function withLevel(families: Measured["families"], wanted: Settings): Measured["families"] {
  if (families === undefined || wanted.signals !== "core") return families;
  const core = (signals: FamilyEvidence) =>
    Object.fromEntries(Object.entries(signals).filter(([name]) => coreSignals.has(name))) as FamilyEvidence;
  return mapFamilies(Object.keys(families), (name) => core(families[name]));
}

/** What the names of extras begin with, by what their ids begin with (decision/extras.ts, decision/classifiers/prada.ts). */
const prefixes: Readonly<Record<string, string>> = { membership: "membership.", tokens: "token.", prada: "prada." };

function prefixOf(id: string): string | undefined {
  return prefixes[id.split("/")[0]];
}

function extrasOf({ extras }: Settings): readonly string[] {
  return extras?.split("+") ?? [];
}

function withoutExtras(
  variants: Measured["variants"],
  { theirs, wanted }: { readonly theirs: Settings; readonly wanted: Settings },
): Measured["variants"] {
  const unwanted = extrasOf(theirs).filter((id) => !extrasOf(wanted).includes(id)).map((id) => prefixOf(id)!);
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
