/**
 * Which classes an image may be of, by likelihood alone: successive halving over all classes under one variant, on more and
 * more of the first tokens (of VAR, the coarse scales). It ends with a few classes and weights, not with a verdict.
 *
 * VAR's coarse scales see the whole image, whatever it is, while RAR's first tokens are its upper left corner, and both
 * families have the same classes: RAR begins with the candidates that VAR's coarse scales leave, and with their likelihoods.
 */
import {
  broadcastTo,
  concat,
  type Device,
  fromArray,
  logSoftmaxGather,
  scope,
  slice,
  sum,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { Condition, ImageTokenizer, Variant } from "../../models/family.ts";
import { chunks } from "../../util/chunks.ts";

/** Classes that are compared on so many of the first tokens; the likeliest go on to the next round. */
export interface InferenceRound {
  /** Tokens of an image. */
  readonly tokens: number;
  /** Classes that the variant knows. */
  readonly classes: number;
}

/** How classes are inferred. */
export interface InferenceSettings {
  /** Most that the rounds may cost, in teacher-forced passes over one image. */
  readonly budget: number;
  /** Most classes of the result. */
  readonly top: number;
  /**
   * Exponent of the posterior that weights are proportional to, 0 (equal weights) to 1. Below 1, because the variant that
   * is asked is hardly ever the one that drew the image: it is too sure of itself.
   */
  readonly sharpness: number;
  /** Classes of less weight than this are left out; each one costs a pass of every variant. */
  readonly leastWeight: number;
  /** Most classes that coarse scales leave to families without scales. */
  readonly candidates: number;
}

/** What is used unless a calibration was made with something else. */
export const defaultInference: InferenceSettings = {
  budget: 40,
  top: 5,
  sharpness: 0.25,
  leastWeight: 1e-3,
  candidates: 64,
};

/** What is known of a variant before it is loaded. */
export type InferenceSizes = Pick<
  Variant,
  "classes" | "tokenCount" | "prefixes" | "patchNums" | "conditionCost"
>;

/** A class with its share of the weight, 0 to 1. */
export interface WeightedClass {
  /** Number of the class. */
  readonly class: number;
  /** Share among the likely classes, 0 to 1. */
  readonly weight: number;
}

/** A class with the logarithm of a likelihood. */
export interface Candidate {
  /** Number of the class. */
  readonly class: number;
  /** Of the tokens that were scored, in nats. */
  readonly logLikelihood: number;
}

/** Where to begin, when another family has been asked. */
export interface Start {
  /** The classes that are left, the likeliest first. */
  readonly candidates: readonly Candidate[];
  /** What it cost to get there. */
  readonly cost: number;
}

/** The likely classes of an image, and how they were found. */
export interface InferredClasses {
  /** The likeliest first; weights add up to 1. */
  readonly top: readonly WeightedClass[];
  /** In teacher-forced passes over one image, those of the start included. */
  readonly cost: number;
  /** What families without scales may start from; of variants with scales only. */
  readonly coarse?: Start;
}

/** Prefixes of successive rounds grow at least by this factor: a shorter step tells hardly more than the round before. */
const growth = 2.5;

/**
 * Cost of the first `tokens` tokens under one class, as a share of the pass over all of them. A row is one token;
 * preparing a condition is part of it. An upper bound, since later rows attend to more of the others.
 */
export function passShare(
  { conditionCost: { work: extra }, tokenCount }: Pick<InferenceSizes, "conditionCost" | "tokenCount">,
  tokens: number,
): number {
  return (tokens + extra) / (tokenCount + extra);
}

/** Cost of the rounds for one image, in passes over one image. */
export function inferenceCost(sizes: InferenceSizes, rounds: readonly InferenceRound[]): number {
  return rounds.reduce((sum, { tokens, classes }) => sum + classes * passShare(sizes, tokens), 0);
}

/** Share of the tokens that may count as coarse. */
const coarseShare = 0.04;

/** Tokens of the scales that are coarse; at least those of the first scale. */
export function coarseTokens({ prefixes, tokenCount }: Pick<InferenceSizes, "prefixes" | "tokenCount">): number {
  return prefixes.filter((tokens) => tokens <= coarseShare * tokenCount).at(-1) ?? prefixes[0];
}

/**
 * The prefixes that classes are compared on. The last of several scales, a third of the tokens or more, is left out: it says
 * little about the class, least of all under a variant that did not draw the image (docs/likelihood.md).
 */
function usedPrefixes({ patchNums, prefixes }: InferenceSizes): readonly number[] {
  return patchNums.length > 1 ? prefixes.slice(0, -1) : prefixes;
}

/**
 * Rounds within a budget. The first has all classes, on the longest prefix that takes at most half of the budget; the rest
 * is shared equally by the rounds that follow, each with as many classes as that pays for, at least `top`. A round after
 * which nobody is left out is left out itself: few classes are all compared on all tokens at once.
 */
export function inferenceRounds(
  sizes: InferenceSizes,
  { budget, top }: Pick<InferenceSettings, "budget" | "top"> = defaultInference,
): InferenceRound[] {
  const { classes } = sizes;
  const prefixes = usedPrefixes(sizes);
  const last = prefixes[prefixes.length - 1];
  const affordable = prefixes.filter((tokens) => classes * passShare(sizes, tokens) <= budget / 2);
  const first = affordable.at(-1) ?? prefixes[0];
  const lengths = [first];
  for (const tokens of prefixes) {
    const isFar = tokens >= growth * lengths[lengths.length - 1] && growth * tokens <= last;
    if (isFar || (tokens === last && first < last)) lengths.push(tokens);
  }
  const rest = budget - classes * passShare(sizes, first);
  const counts = lengths.map((tokens, r) => {
    if (r === 0) return classes;
    const paid = Math.floor(rest / (lengths.length - 1) / passShare(sizes, tokens));
    return Math.min(classes, Math.max(Math.min(top, classes), paid));
  });
  return lengths.flatMap((tokens, r) => counts[r + 1] === counts[r] ? [] : [{ tokens, classes: counts[r] }]);
}

/** Weights of classes, given the logarithm of each one's likelihood; the prior is uniform. */
export function weighClasses(
  candidates: readonly Candidate[],
  { top, sharpness, leastWeight }: Pick<InferenceSettings, "top" | "sharpness" | "leastWeight"> = defaultInference,
): WeightedClass[] {
  const sorted = byLikelihood(candidates).slice(0, top);
  const powers = sorted.map(({ logLikelihood }) => Math.exp(sharpness * (logLikelihood - sorted[0].logLikelihood)));
  const total = powers.reduce((a, b) => a + b, 0);
  const kept = powers.filter((power, i) => i === 0 || power >= leastWeight * total);
  const sum = kept.reduce((a, b) => a + b, 0);
  return kept.map((power, i) => ({ class: sorted[i].class, weight: power / sum }));
}

function byLikelihood<T extends Candidate>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => b.logLikelihood - a.logLikelihood || a.class - b.class);
}

/** How one search is done. */
export interface InferOptions {
  /** `defaultInference` by default. */
  readonly settings?: InferenceSettings;
  /** Images, each with a condition of its own, that would fit into memory for a whole pass. Default 8. */
  readonly batch?: number;
  /** Bytes for logits and what is made of them. Default 32 MiB. */
  readonly blockBytes?: number;
  /** Where each image begins; without it, with all classes. */
  readonly start?: readonly Start[];
  /** Stop as soon as the coarse scales have been compared, for the sake of `coarse`. Default false. */
  readonly coarseOnly?: boolean;
}

/** Most (image, class) pairs that are looked at together; more gain nothing. */
const mostPairs = 256;
/** Tensors [rows, codes] of a block that live at once. */
const blockTensors = 3;

/**
 * Infers the classes of images from tokens[images * tokenCount], image after image, by conditional likelihood under
 * `variant` (the smallest of the family is meant). In the first round, conditions are prepared once for all images.
 */
export async function inferClasses(
  device: Device,
  tokenizer: ImageTokenizer,
  variant: Variant,
  tokens: Int32Array,
  options: InferOptions = {},
): Promise<InferredClasses[]> {
  const { settings = defaultInference, batch = 8, blockBytes = 32 * 2 ** 20, start, coarseOnly = false } = options;
  const { tokenCount: n, codes } = variant;
  const images = tokens.length / n;
  if (!Number.isInteger(images)) throw new Error(`inferClasses: expected ${n} tokens per image, got ${tokens.length}`);
  const blockRows = Math.max(1, Math.floor(blockBytes / (4 * codes * blockTensors)));
  if (start !== undefined && start.length !== images) {
    throw new Error(`inferClasses: expected a start for each of ${images} images, got ${start.length}`);
  }
  const before = start?.map((own) => new Map(own.candidates.map((each) => [each.class, each.logLikelihood])));
  const classes = start === undefined ? variant.classes : Math.max(...start.map((own) => own.candidates.length));
  const known = start === undefined ? 0 : Math.max(...start.map(({ cost }) => cost));
  const planned = inferenceRounds(
    { classes, tokenCount: n, ...sizesOf(variant) },
    { ...settings, budget: Math.max(1, settings.budget - known) },
  );
  const coarse = variant.patchNums.length > 1 ? coarseTokens(variant) : undefined;
  const coarseRound = coarse === undefined ? -1 : planned.findIndex((round) => round.tokens >= coarse);
  const rounds = coarseOnly && coarseRound >= 0
    ? [...planned.slice(0, coarseRound), { ...planned[coarseRound], tokens: coarse! }]
    : planned;
  let coarseStarts: readonly Candidate[][] | undefined;
  let candidates: number[][] = start === undefined
    ? Array.from({ length: images }, () => range(classes))
    : start.map((own) => own.candidates.map((each) => each.class));
  let scored: Candidate[][] = [];
  for (const [index, { tokens: prefix, classes }] of rounds.entries()) {
    if (scored.length > 0) {
      candidates = scored.map((own) => byLikelihood(own).slice(0, classes).map((each) => each.class));
    }
    const pairs = pairsAtOnce(variant, prefix, batch);
    // Who has the same candidates, which is everybody at first, shares their conditions.
    for (const own of candidates) own.sort((a, b) => a - b);
    const groups = Map.groupBy(range(images), (image) => candidates[image].join()).values();
    const isCoarse = index === coarseRound;
    const sums: Tensor[] = [];
    const order: { image: number; classes: readonly number[] }[] = [];
    try {
      for (const group of groups) {
        for (const own of chunks(candidates[group[0]], pairs)) {
          const condition = variant.condition(own, prefix);
          try {
            for (const image of group) {
              const ids = tokens.slice(image * n, (image + 1) * n);
              const parts = isCoarse ? [coarse!, prefix] : [prefix];
              sums.push(scope(() => prefixLikelihood(device, tokenizer, variant, ids, condition, parts, blockRows)));
              order.push({ image, classes: own });
            }
          } finally {
            condition.dispose();
          }
        }
      }
      const all = scope(() => concat(sums, 0));
      const values = await all.data();
      all.dispose();
      const collect = () => {
        const found: Candidate[][] = Array.from({ length: images }, () => []);
        return { found, add: (image: number, own: Candidate) => void found[image].push(own) };
      };
      const coarseOnes = collect(), whole = collect();
      let at = 0;
      for (const { image, classes } of order) {
        if (isCoarse) {
          for (const each of classes) coarseOnes.add(image, { class: each, logLikelihood: values[at++] });
        }
        for (const each of classes) {
          whole.add(image, { class: each, logLikelihood: values[at++] + (before?.[image].get(each) ?? 0) });
        }
      }
      scored = whole.found;
      if (isCoarse) coarseStarts = coarseOnes.found.map((own) => byLikelihood(own).slice(0, settings.candidates));
    } finally {
      for (const tensor of sums) tensor.dispose();
    }
  }
  const cost = inferenceCost(variant, rounds);
  const coarseCost = coarse === undefined ? 0 : inferenceCost(variant, [
    ...rounds.slice(0, coarseRound),
    { ...rounds[coarseRound], tokens: coarse },
  ]);
  return scored.map((own, image) => ({
    top: weighClasses(own, settings),
    cost: cost + (start?.[image].cost ?? 0),
    ...coarseStarts && { coarse: { candidates: coarseStarts[image], cost: coarseCost } },
  }));
}

/** log p(first tokens | class) for every class of the condition, for each number of first tokens in turn: [parts * classes]. */
function prefixLikelihood(
  device: Device,
  tokenizer: ImageTokenizer,
  variant: Variant,
  ids: Int32Array<ArrayBuffer>,
  condition: Condition,
  ends: readonly number[],
  blockRows: number,
): Tensor {
  const prefix = ends[ends.length - 1];
  const input = tokenizer.transformerInput(fromArray(device, ids, [1, ids.length]));
  const classes = condition.batch;
  const repeated = classes === 1 ? input : broadcastTo(input, [classes, ...input.shape.slice(1)]);
  const rows = classes * prefix;
  const hidden = scope(() => variant.hiddenStates(repeated, condition, prefix)).reshape(rows, -1);
  const parts: Tensor[] = [];
  for (let start = 0; start < rows; start += blockRows) {
    const end = Math.min(rows, start + blockRows);
    const chosen = Int32Array.from({ length: end - start }, (_, r) => ids[(start + r) % prefix]);
    parts.push(scope(() => {
      const logits = variant.codeLogits(slice(hidden, 0, start, end));
      return logSoftmaxGather(logits, fromArray(device, chosen, [end - start]));
    }));
  }
  const each = concat(parts, 0).reshape(classes, prefix);
  return concat(ends.map((end) => sum(end === prefix ? each : slice(each, 1, 0, end), 1)), 0);
}

/** How many classes fit where `batch` whole passes, each with a condition of its own, do. */
function pairsAtOnce({ conditionCost: { memory: extra }, tokenCount }: Variant, prefix: number, batch: number): number {
  return Math.min(mostPairs, Math.max(1, Math.floor(batch * (tokenCount + extra) / (prefix + extra))));
}

function sizesOf({ prefixes, patchNums, conditionCost }: Variant) {
  return { prefixes, patchNums, conditionCost };
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
