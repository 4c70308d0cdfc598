/**
 * Infers the likely classes of an image by likelihood alone. Successive halving under one variant: all classes are
 * compared on a short prefix of the tokens, and the likeliest go on to a longer one. The result is a few classes with
 * weights.
 *
 * A family without scales can start from the classes that the coarse scales of another family leave, and from their
 * likelihoods: VAR's coarse scales describe the whole image, while RAR's first tokens are its upper left corner. Where
 * VAR's tokens are hard to find, that misleads (docs/likelihood.md), so that it is not the default.
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
import { usualBlockBytes } from "./block_bytes.ts";

/** A round of the search: so many classes are compared on so many of the first tokens. */
export interface InferenceRound {
  /** Length of the prefix. */
  readonly tokens: number;
  /** How many classes are compared. */
  readonly classes: number;
}

/** How classes are inferred. */
export interface InferenceSettings {
  /** Most that the rounds may cost per image, in teacher-forced passes over one image. */
  readonly budget: number;
  /** Most classes of the result. */
  readonly top: number;
  /**
   * Weights are proportional to the posterior to this power, from 0 (equal weights) to 1. A power below 1 flattens
   * them: the variant that infers is seldom the one that generated the image, and its posterior is overconfident.
   */
  readonly sharpness: number;
  /** Classes of less weight, 0 to 1, are left out, because each class costs a pass of every variant. */
  readonly leastWeight: number;
  /** Most classes that coarse scales hand on to families without scales; with 0, every family searches by itself. */
  readonly candidates: number;
  /** Budget and classes of families that have others than the rest. */
  readonly families?: Readonly<Record<string, Thoroughness>>;
}

/** How many passes classes are inferred with, and how many of them are kept. */
export type Thoroughness = Pick<InferenceSettings, "budget" | "top">;

/** Default settings. Runs use those that their calibration was made with. */
export const defaultInference: InferenceSettings = {
  budget: 40,
  top: 5,
  sharpness: 0.25,
  leastWeight: 1e-3,
  candidates: 0,
};

/** The settings of a family. */
export function inferenceOf<T extends Thoroughness & Pick<InferenceSettings, "families">>(
  settings: T,
  family: string,
): Omit<T, "families"> {
  const { families, ...common } = settings;
  return { ...common, ...families?.[family] };
}

/** Sizes of a variant that are known before it is loaded. */
export type InferenceSizes = Pick<
  Variant,
  "classes" | "tokenCount" | "prefixes" | "patchNums" | "conditionCost"
>;

/** A likely class of an image. */
export interface WeightedClass {
  /** Number of the class. */
  readonly class: number;
  /** 0 to 1. The weights of an image's classes add up to 1. */
  readonly weight: number;
}

/** A class with its log-likelihood. */
export interface Candidate {
  /** Number of the class. */
  readonly class: number;
  /** Log-likelihood of the compared tokens, in nats. */
  readonly logLikelihood: number;
}

/** Where a search starts, after the search of another family. */
export interface Start {
  /** The classes to compare, the likeliest first. */
  readonly candidates: readonly Candidate[];
  /** Cost of the search that found them, in teacher-forced passes. */
  readonly cost: number;
}

/** The likely classes of an image. */
export interface InferredClasses {
  /** The likeliest first. Weights add up to 1. */
  readonly top: readonly WeightedClass[];
  /** Cost in teacher-forced passes over one image, including that of the start. */
  readonly cost: number;
  /** Where families without scales may start. Only variants with scales give it, and only where they are asked to. */
  readonly coarse?: Start;
}

/**
 * The least factor by which prefixes of successive rounds grow. A longer prefix must add enough information to be worth
 * it.
 */
const growth = 2.5;

/**
 * Cost of the first `tokens` tokens under one class, condition included, as a share of a pass over all tokens. It is an
 * upper bound: later tokens attend to more tokens, so they cost more than the first ones.
 */
export function passShare(
  { conditionCost: { work: extra }, tokenCount }: Pick<InferenceSizes, "conditionCost" | "tokenCount">,
  tokens: number,
): number {
  return (tokens + extra) / (tokenCount + extra);
}

/** Cost of rounds for one image, in passes over one image. */
export function inferenceCost(sizes: InferenceSizes, rounds: readonly InferenceRound[]): number {
  return rounds.reduce((sum, { tokens, classes }) => sum + classes * passShare(sizes, tokens), 0);
}

/** Scales are coarse up to this share of the tokens. */
const coarseShare = 0.04;

/** Number of tokens in the coarse scales, at least that of the first scale. */
export function coarseTokens({ prefixes, tokenCount }: Pick<InferenceSizes, "prefixes" | "tokenCount">): number {
  return prefixes.filter((tokens) => tokens <= coarseShare * tokenCount).at(-1) ?? prefixes[0];
}

/**
 * The prefixes that classes may be compared on. The last of several scales is left out. It has a third of the tokens or
 * more and says little about the class, least of all under a variant that did not generate the image
 * (docs/likelihood.md).
 */
function usedPrefixes({ patchNums, prefixes }: InferenceSizes): readonly number[] {
  return patchNums.length > 1 ? prefixes.slice(0, -1) : prefixes;
}

/**
 * The rounds of a search within a budget. The first round compares all classes, on the longest prefix that costs at
 * most half of the budget. The later rounds share the rest equally; each compares as many classes as its share pays
 * for, at least `top`. A round that would drop no class is skipped, so that few classes are compared on all tokens at
 * once.
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
    const affordable = Math.floor(rest / (lengths.length - 1) / passShare(sizes, tokens));
    return Math.min(classes, Math.max(Math.min(top, classes), affordable));
  });
  return lengths.flatMap((tokens, r) => counts[r + 1] === counts[r] ? [] : [{ tokens, classes: counts[r] }]);
}

/**
 * The first rounds of a search, as far as they compare coarse scales: what other families may start from. Undefined where
 * no round goes so far.
 */
export function coarseRounds(sizes: InferenceSizes, rounds: readonly InferenceRound[]): InferenceRound[] | undefined {
  const tokens = coarseTokens(sizes);
  const round = rounds.findIndex((round) => round.tokens >= tokens);
  return round < 0 ? undefined : [...rounds.slice(0, round), { ...rounds[round], tokens }];
}

/** Weights of the likeliest classes, under a uniform prior. They add up to 1; the likeliest class comes first. */
export function weighClasses(
  candidates: readonly Candidate[],
  { top, sharpness, leastWeight }: Pick<InferenceSettings, "top" | "sharpness" | "leastWeight"> = defaultInference,
): WeightedClass[] {
  const sorted = likeliest(candidates, top);
  const powers = sorted.map(({ logLikelihood }) => Math.exp(sharpness * (logLikelihood - sorted[0].logLikelihood)));
  const total = powers.reduce((a, b) => a + b, 0);
  const kept = powers.filter((power, i) => i === 0 || power >= leastWeight * total);
  const sum = kept.reduce((a, b) => a + b, 0);
  return kept.map((power, i) => ({ class: sorted[i].class, weight: power / sum }));
}

/** At most `count` candidates, the likeliest first; of equally likely ones, the lower class first. */
function likeliest(candidates: readonly Candidate[], count: number): Candidate[] {
  return [...candidates].sort((a, b) => b.logLikelihood - a.logLikelihood || a.class - b.class).slice(0, count);
}

/** How classes of several images are searched. */
export interface InferOptions {
  /** Default: `defaultInference`. */
  readonly settings?: InferenceSettings;
  /** How many images, each with its own condition, fit into memory in a pass over all tokens. Default 8. */
  readonly batch?: number;
  /** Bytes for a block of logits and what is computed from it. Default: `usualBlockBytes`. */
  readonly blockBytes?: number;
  /** Where the search of each image starts. Default: with all classes. */
  readonly start?: readonly Start[];
  /** Stop once the coarse scales are compared, if only `coarse` is needed. Default false. */
  readonly coarseOnly?: boolean;
}

/** Most (image, class) pairs per pass. Larger passes are not faster. */
const mostPairs = 256;
/** Tensors [rows, codes] of a block that exist at the same time. */
const blockTensors = 3;

/** Networks and tokens of a search. */
interface Search {
  readonly device: Device;
  readonly tokenizer: ImageTokenizer;
  readonly variant: Variant;
  /** [images * tokenCount], image after image. */
  readonly tokens: Int32Array;
  /** Rows of logits that exist at the same time. */
  readonly blockRows: number;
}

/**
 * Infers the classes of images from tokens[images * tokenCount], image after image, by conditional likelihood under
 * `variant`, which should be the smallest of its family. Images with the same candidates share their conditions, as all
 * images do in the first round. Throws if the number of tokens or of starts does not fit.
 */
export async function inferClasses(
  device: Device,
  tokenizer: ImageTokenizer,
  variant: Variant,
  tokens: Int32Array,
  options: InferOptions = {},
): Promise<InferredClasses[]> {
  const { settings = defaultInference, batch = 8, blockBytes = usualBlockBytes(device), start } = options;
  const { tokenCount, codes } = variant;
  const images = tokens.length / tokenCount;
  if (!Number.isInteger(images)) {
    throw new RangeError(`inferClasses: expected ${tokenCount} tokens per image, got ${tokens.length}`);
  }
  if (start !== undefined && start.length !== images) {
    throw new RangeError(`inferClasses: expected a start for each of ${images} images, got ${start.length}`);
  }
  const blockRows = Math.max(1, Math.floor(blockBytes / (4 * codes * blockTensors)));
  const search = { device, tokenizer, variant, tokens, blockRows };
  const { rounds, coarse } = planSearch(variant, options);
  // Log-likelihoods that the start brings along, by image and class.
  const known = start?.map(({ candidates }) => new Map(candidates.map((c) => [c.class, c.logLikelihood])));
  let candidates: number[][] = start === undefined
    ? Array.from({ length: images }, () => range(variant.classes))
    : start.map((image) => image.candidates.map((candidate) => candidate.class));
  let scored: Candidate[][] = [], coarseScored: Candidate[][] | undefined;
  for (const [index, round] of rounds.entries()) {
    if (index > 0) candidates = scored.map((image) => likeliest(image, round.classes).map((c) => c.class));
    const isCoarse = index === coarse?.round;
    const prefixes = isCoarse ? [coarse!.tokens, round.tokens] : [round.tokens];
    const byPrefix = await scoreCandidates(search, candidates, prefixes, pairsAtOnce(variant, round.tokens, batch));
    if (isCoarse) coarseScored = byPrefix[0];
    scored = byPrefix[byPrefix.length - 1].map((image, i) =>
      image.map((candidate) => ({
        class: candidate.class,
        logLikelihood: candidate.logLikelihood + (known?.[i].get(candidate.class) ?? 0),
      }))
    );
  }
  const cost = inferenceCost(variant, rounds);
  return scored.map((image, i): InferredClasses => ({
    top: weighClasses(image, settings),
    cost: cost + (start?.[i].cost ?? 0),
    ...coarseScored && {
      coarse: { candidates: likeliest(coarseScored[i], settings.candidates), cost: coarse!.cost },
    },
  }));
}

/**
 * The rounds of a search; for variants with scales also the round that compares the coarse scales, and the cost so far.
 */
function planSearch(
  variant: Variant,
  { settings = defaultInference, start, coarseOnly = false }: InferOptions,
): { rounds: InferenceRound[]; coarse?: { round: number; tokens: number; cost: number } } {
  const { tokenCount, prefixes, patchNums, conditionCost } = variant;
  const classes = start === undefined ? variant.classes : Math.max(...start.map((image) => image.candidates.length));
  const spent = start === undefined ? 0 : Math.max(...start.map(({ cost }) => cost));
  const rounds = inferenceRounds(
    { classes, tokenCount, prefixes, patchNums, conditionCost },
    { ...settings, budget: Math.max(1, settings.budget - spent) },
  );
  if (patchNums.length === 1 || settings.candidates === 0) return { rounds };
  const first = coarseRounds(variant, rounds);
  if (first === undefined) return { rounds };
  const round = first.length - 1;
  const coarse = { round, tokens: first[round].tokens, cost: inferenceCost(variant, first) };
  return { rounds: coarseOnly ? first : rounds, coarse };
}

/**
 * Log-likelihoods of every image's candidate classes on each of several prefixes, of which the last is the longest:
 * [prefix][image][candidate]. `pairs` classes of an image go through the network at once. Sorts the candidates by
 * class.
 */
async function scoreCandidates(
  search: Search,
  candidates: readonly number[][],
  prefixes: readonly number[],
  pairs: number,
): Promise<Candidate[][][]> {
  for (const classes of candidates) classes.sort((a, b) => a - b);
  const groups = Map.groupBy(candidates.keys(), (image) => candidates[image].join()).values();
  const sums: Tensor[] = [];
  const order: { image: number; classes: readonly number[] }[] = [];
  try {
    for (const images of groups) {
      for (const classes of chunks(candidates[images[0]], pairs)) {
        const condition = search.variant.condition(classes, prefixes[prefixes.length - 1]);
        try {
          for (const image of images) {
            sums.push(scope(() => prefixLikelihood(search, image, condition, prefixes)));
            order.push({ image, classes });
          }
        } finally {
          condition.dispose();
        }
      }
    }
    const all = scope(() => concat(sums, 0));
    const values = await all.data();
    all.dispose();
    const scored = prefixes.map(() => candidates.map((): Candidate[] => []));
    let at = 0;
    for (const { image, classes } of order) {
      for (const byImage of scored) {
        for (const label of classes) byImage[image].push({ class: label, logLikelihood: values[at++] });
      }
    }
    return scored;
  } finally {
    for (const tensor of sums) tensor.dispose();
  }
}

/** log p(first tokens | class) of one image for each prefix and every class of the condition: [prefixes * classes]. */
function prefixLikelihood(
  { device, tokenizer, variant, tokens, blockRows }: Search,
  image: number,
  condition: Condition,
  prefixes: readonly number[],
): Tensor {
  const { tokenCount } = variant;
  const ids = tokens.slice(image * tokenCount, (image + 1) * tokenCount);
  const longest = prefixes[prefixes.length - 1];
  const input = tokenizer.transformerInput(fromArray(device, ids, [1, tokenCount]));
  const classes = condition.batch;
  const repeated = classes === 1 ? input : broadcastTo(input, [classes, ...input.shape.slice(1)]);
  const rows = classes * longest;
  const hidden = scope(() => variant.hiddenStates(repeated, condition, longest)).reshape(rows, -1);
  const blocks: Tensor[] = [];
  for (let start = 0; start < rows; start += blockRows) {
    const end = Math.min(rows, start + blockRows);
    const chosen = Int32Array.from({ length: end - start }, (_, r) => ids[(start + r) % longest]);
    blocks.push(scope(() => {
      const logits = variant.codeLogits(slice(hidden, 0, start, end));
      return logSoftmaxGather(logits, fromArray(device, chosen, [end - start]));
    }));
  }
  const logProbs = concat(blocks, 0).reshape(classes, longest);
  return concat(prefixes.map((end) => sum(end === longest ? logProbs : slice(logProbs, 1, 0, end), 1)), 0);
}

/** How many (image, class) pairs of a prefix fit into the memory of `batch` passes over all tokens. */
function pairsAtOnce({ conditionCost: { memory: extra }, tokenCount }: Variant, prefix: number, batch: number): number {
  return Math.min(mostPairs, Math.max(1, Math.floor(batch * (tokenCount + extra) / (prefix + extra))));
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
