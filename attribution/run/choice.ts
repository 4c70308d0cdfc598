/**
 * Chooses what a run measures, and by which method and rules it decides: options first, then what the calibration has,
 * then what is usual.
 */
import { type ModelSet } from "../../models/model_set.ts";
import {
  type Calibration,
  levelOf,
  loadCalibration,
  requireCondition,
  requireQuantizer,
  rulesOf,
} from "../decision/calibration_file.ts";
import { extrasFor } from "../decision/extras.ts";
import {
  defaultMethod,
  type MethodName,
  methodOf,
  requireCalibrated,
  requireMethod,
  type Rules,
} from "../decision/methods.ts";
import { needsSearch } from "../decision/needs_search.ts";
import type { ConditionName } from "../evidence/evidence.ts";
import { type Labels, labelsOf } from "../labels.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import { searchLevels } from "../search/candidates.ts";
import { type SignalLevel, signalLevels } from "../signals/table.ts";
import { HashMemory } from "../../util/hash_memory.ts";
import { chooseModels } from "./choose_models.ts";
import type { SearchInput, SearchOptions } from "./image_state.ts";
import type { Measuring, RunEvents } from "./run_options.ts";
import type { TracerOptions } from "./tracer.ts";

/** The choices that options leave open: what is measured, and by which method and rules a verdict is reached. */
export interface Choice {
  readonly set: ModelSet;
  readonly labels: Labels;
  readonly rules: Rules;
  readonly fitted: Calibration;
  readonly calibration: string | null;
  readonly method: MethodName;
  readonly unsureBelow: number;
  readonly condition: ConditionName;
  readonly quantization: QuantizerName;
  readonly signals: SignalLevel;
  readonly searching: SearchOptions | undefined;
}

/** Combines the options with the calibration. Throws where they do not fit. */
export async function choose(options: TracerOptions, events: RunEvents): Promise<Choice> {
  const { unsureBelow: limit } = options;
  if (limit !== undefined && !(limit >= 0 && limit <= 1)) {
    throw new RangeError(`unsureBelow: expected a confidence from 0 to 1, got ${limit}`);
  }
  const set = await chooseModels(options.models, events);
  requireCalibrated(options.method ?? "perplexity", set);
  const memory = await HashMemory.open();
  await set.check({ memory, onNetwork: (title) => events.onPrepare?.(`checking ${title}`) });
  const labels = labelsOf(set);
  const { calibration, sha256 } = await loadCalibration(set);
  const rules = rulesOf(calibration, labels, options.rules);
  // The default method uses classifiers, which were fitted under one condition. Under another, perplexity decides.
  const isFitted = options.condition === undefined || options.condition === rules.classifiers?.condition;
  const method = options.method ?? (isFitted ? defaultMethod(rules) : "perplexity");
  requireMethod(method, rules);
  for (const caution of rules.cautions ?? []) events.onNote?.(caution);
  const unsureBelow = limit ?? (method === "joint" ? rules.classifiers?.unsureBelow : undefined) ?? 0;
  const { needs, condition: usual = "none" } = methodOf(method);
  const condition = options.condition ?? (needs === undefined ? usual : rules.classifiers?.condition ?? usual);
  if (needs !== undefined) requireCondition(calibration, condition);
  const quantization = options.quantization ?? calibration.quantization;
  requireQuantizer(calibration, quantization);
  const signals = moreOf(levelOf(rules), options.signals ?? "core");
  const level = options.search ?? "quick";
  if (!searchLevels.includes(level)) {
    throw new RangeError(`search: expected ${searchLevels.join(", ")}, got ${level}`);
  }
  const searching = level === "off"
    ? undefined
    : { level, needs: (measured: SearchInput) => needsSearch(method, measured, rules) };
  const chosen = { set, labels, unsureBelow, rules, fitted: calibration, calibration: sha256 };
  return { ...chosen, method, condition, quantization, signals, searching };
}

/** What a choice asks to be measured. */
export function measuringOf({ set, quantization, signals, condition, method, rules, searching }: Choice): Measuring {
  const { extras } = methodOf(method);
  const scoring = {
    condition,
    // Classifiers were fitted to classes that were inferred with these settings, and methods share what is measured.
    inference: rules.classifiers?.inference,
    extras: extrasFor(extras === undefined ? [] : [extras], rules.classifiers),
  };
  return { quantization, signals, scoring, searching, openShare: openShareOf(method, set.families.length) };
}

/** Share of the families whose variants score an image, as long as no image has told. */
export function openShareOf(method: MethodName, families: number): number {
  if (methodOf(method).byThresholds) return 1 / families;
  return method === "joint" ? usualJointShare : 1;
}

/** Signals leave one of two families open in most images, none or both in a few (docs/scale.md). */
const usualJointShare = 0.5;

/** The one of two levels that has more signals. */
function moreOf(a: SignalLevel, b: SignalLevel): SignalLevel {
  return signalLevels.indexOf(a) < signalLevels.indexOf(b) ? b : a;
}
