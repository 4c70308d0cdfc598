/**
 * Plans which networks stay on the device and how many images go through them at once, within a limit on memory.
 * models/footprint.ts estimates what a network needs; variant_pool.ts follows the plan.
 */
import { MemoryLimitError } from "../../util/errors.ts";
import type { Device } from "../../core/tensor/mod.ts";
import { type Footprint, kernelBytes, type PlannedDevice } from "../../models/footprint.ts";
import { type ModelSet, networkName } from "../../models/model_set.ts";
import { quantiserFootprint } from "../quantisation/footprint.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import { usualBlockBytes } from "../likelihood/block_bytes.ts";
import { formatBytes } from "../../util/bytes.ts";

/** Limits and settings that the plan depends on. */
export interface PlanOptions {
  /** Limit for weights and activations on the device, in bytes. */
  readonly memoryBytes: number;
  /** Whether the limit is the usual one, by the free memory, and was not named. Default false. */
  readonly isUsual?: boolean;
  /** Type in which weights are stored. Default: that of their files. */
  readonly weightType?: "f32" | "f16";
  /** Largest number of images per pass. Default 16. */
  readonly maxBatch?: number;
  /** Images per chunk when some transformers are swapped. Default 1024. */
  readonly swapChunk?: number;
  /** Whether images are scored under class conditions, which need memory in each pass. Default false. */
  readonly classes?: boolean;
  /** The quantiser, whose tables need memory. Default: `estimate`. */
  readonly quantization?: QuantizerName;
}

/** Sizes with which a variant scores tokens within its planned memory. */
export interface ScoringPlan {
  /** Bytes for a block of logits and the tensors derived from them. */
  readonly blockBytes: number;
  /** Images per pass when each has a different condition. */
  readonly ownConditions: number;
}

/** Which networks are loaded when, and the sizes of batches. */
export interface Plan {
  /** The limit. */
  readonly memoryBytes: number;
  /** Variants that stay loaded. Tokenizers always do. */
  readonly resident: ReadonlySet<string>;
  /** Variants that are loaded for every chunk and freed after it. */
  readonly swapped: readonly string[];
  /** Images per pass of the tokenizers. */
  readonly tokenizerBatch: number;
  /** Images per pass of each variant. */
  readonly variantBatch: ReadonlyMap<string, number>;
  /** Sizes of scoring by variant. */
  readonly scoring: ReadonlyMap<string, ScoringPlan>;
  /** Images per chunk; all networks run over a chunk before the next one begins. */
  readonly chunk: number;
}

/** Bytes of memory that the plan may use. */
interface Budget {
  /** The limit that the caller gave. */
  readonly limit: number;
  /** The limit without the reserve for packed weights that exist twice (`duplicateShare`). */
  readonly total: number;
  /** Size of the block that holds everything the CPU device's kernels work on; infinite for other devices. */
  readonly work: number;
  /** Factor on all estimates, see `headrooms`. */
  readonly headroom: number;
  /** What kernels need for themselves. */
  readonly kernels: number;
}

/** Bytes that a network needs, `headroom` included. */
interface Network {
  readonly name: string;
  readonly isTokenizer: boolean;
  readonly footprint: Footprint;
  /** Of a pass and of what is computed from its result, per image. */
  readonly perImage: number;
  /** Weights, unconditional condition and tables of the quantiser, as long as the network is loaded. */
  readonly fixed: number;
  /** In addition for loading, for making tables, or for a pass over one image, whichever is most. */
  readonly extra: number;
  /** The part of `fixed` that stays in the work block: all but packed weights. */
  readonly pinned: number;
  /** In the work block in addition to everything pinned: the weight in use, and what a pass or loading needs. */
  readonly working: number;
}

/**
 * Factor on all estimates. On the CPU device free memory is in pieces, on WebGPU allocations are rounded up by at most
 * 1/64.
 */
const headrooms = { cpu: 1.05, webgpu: 1.02 } as const;

/**
 * Memory for blocks of logits, as a share of a pass's. They are computed after the pass. On the CPU device they take the
 * memory of its activations, of which half is certainly there; on WebGPU theirs is other memory.
 */
const blockShares = { cpu: 1 / 2, webgpu: 5 / 8 } as const;

/**
 * Share of the CPU device's work block that is reserved for packed weights with a copy outside of it (weight_spill.ts).
 */
const duplicateShare = 1 / 16;

/**
 * Plans memory: all tokenizers stay loaded, and as many variants as fit; the others are swapped. Throws when a network
 * does not fit, with the bytes that each one needs.
 */
export function planMemory(
  set: Pick<ModelSet, "networks" | "footprint" | "tokenizerFacts">,
  device: PlannedDevice,
  options: PlanOptions,
): Plan {
  const { maxBatch = 16, swapChunk = 1024, classes = false } = options;
  const budget = budgetOf(device, options.memoryBytes);
  const networks = networksOf(set, device, options);
  const tokenizers = networks.filter(({ isTokenizer }) => isTokenizer);
  const variants = networks.filter(({ isTokenizer }) => !isTokenizer);
  const halved = () => networksOf(set, device, { ...options, weightType: "f16" });
  refuseTooLarge(networks, device, { ...options, budget, halved });

  const kept = keepVariants(tokenizers, variants, budget);
  const { resident } = kept;
  const batch = (network: Network) => {
    const largest = largestBatch(network, kept, { maxTensorBytes: device.info.maxTensorBytes, classes, budget });
    return Math.max(1, Math.min(largest, maxBatch)); // estimates are rounded: one image fits
  };
  const tokenizerBatch = Math.min(...tokenizers.map(batch));
  const variantBatch = new Map(variants.map((network) => [network.name, batch(network)]));
  const scoring = new Map(
    variants.map((
      { name, footprint },
    ) => [name, scoringPlan(footprint, variantBatch.get(name)!, device)]),
  );
  const swapped = variants.filter(({ name }) => !resident.has(name)).map(({ name }) => name);
  const chunk = swapped.length === 0 ? tokenizerBatch : swapChunk;
  return { memoryBytes: options.memoryBytes, resident, swapped, tokenizerBatch, variantBatch, scoring, chunk };
}

/** The least limit under which all networks run one at a time beside the tokenizers, in bytes. */
export function leastMemory(
  set: Pick<ModelSet, "networks" | "footprint" | "tokenizerFacts">,
  device: PlannedDevice,
  options: Omit<PlanOptions, "memoryBytes">,
): number {
  const networks = networksOf(set, device, options);
  return Math.ceil(Math.max(...needsOf(networks, budgetOf(device, Infinity)).map(({ total }) => total)));
}

function budgetOf({ info }: Pick<Device, "info">, limit: number): Budget {
  // Packed weights may leave the CPU device's work block. Those that came back may still have a copy outside.
  const work = info.kind === "cpu" ? info.maxTensorBytes : Infinity;
  const duplicates = limit > work ? work * duplicateShare : 0;
  const total = Math.max(limit - duplicates, Math.min(limit, work));
  return { limit, total, work, headroom: headrooms[info.kind], kernels: kernelBytes[info.kind] };
}

/** Memory that a pass of a network over some images takes, weights and the condition included, in bytes. */
export function passBytes(device: PlannedDevice, footprint: Footprint, images: number): number {
  const { weights, condition, perImage } = footprint;
  const { kind } = device.info;
  return headrooms[kind] * (weights + condition + images * perImage + kernelBytes[kind]);
}

function networksOf(
  set: Pick<ModelSet, "networks" | "footprint" | "tokenizerFacts">,
  device: PlannedDevice,
  { weightType, classes = false, quantization = "estimate" }: Omit<PlanOptions, "memoryBytes">,
): Network[] {
  const { kind } = device.info;
  const headroom = headrooms[kind];
  return set.networks.map((id): Network => {
    const footprint = set.footprint(device, id, weightType);
    const { weights, packed, condition, loading } = footprint;
    const addsBlocks = kind === "webgpu" && id.variant !== undefined;
    const perImage = footprint.perImage * (addsBlocks ? 1 + blockShares[kind] : 1);
    const { tables, opening } = id.variant === undefined
      ? quantiserFootprint(quantization, set.tokenizerFacts(id.family))
      : { tables: 0, opening: 0 };
    const pass = perImage + (classes ? condition : 0) + kernelBytes[kind];
    return {
      name: networkName(id),
      isTokenizer: id.variant === undefined,
      footprint,
      perImage,
      fixed: headroom * (weights + condition + tables),
      extra: headroom * Math.max(loading, opening, pass),
      pinned: headroom * (weights - packed + condition + tables),
      working: headroom * (loading + Math.max(loading, opening, pass)),
    };
  });
}

/** The variants that stay loaded, and the bytes that are free beside them and the tokenizers. */
interface Kept {
  readonly resident: ReadonlySet<string>;
  /** Of the whole budget. */
  readonly free: number;
  /** Of the work block. */
  readonly workFree: number;
}

/**
 * Keeps all variants if they fit; else those, from the first one on, beside which the largest network can still run.
 */
function keepVariants(tokenizers: readonly Network[], variants: readonly Network[], budget: Budget): Kept {
  const networks = [...tokenizers, ...variants];
  const free = budget.total - sum(tokenizers.map(({ fixed }) => fixed));
  const workFree = budget.work - sum(tokenizers.map(({ pinned }) => pinned));
  const largestWork = Math.max(...networks.map(({ working }) => working));
  const everything = sum(variants.map(({ fixed }) => fixed)) + Math.max(...networks.map(({ extra }) => extra));
  const fitsAll = everything <= free && sum(variants.map(({ pinned }) => pinned)) + largestWork <= workFree;
  const turn = Math.max(
    ...variants.map(({ fixed, extra }) => fixed + extra),
    ...tokenizers.map(({ extra }) => extra),
  );
  const workTurn = Math.max(...variants.map(({ pinned, working }) => pinned + working), largestWork);
  const resident = new Set<string>();
  let keptBytes = 0, keptPinned = 0;
  for (const { name, fixed, pinned } of variants) {
    const fits = keptBytes + fixed + turn <= free && keptPinned + pinned + workTurn <= workFree;
    if (!fitsAll && !fits) continue;
    resident.add(name);
    keptBytes += fixed;
    keptPinned += pinned;
  }
  return { resident, free: free - keptBytes, workFree: workFree - keptPinned };
}

/** How many images a network can take in one pass. */
function largestBatch(
  { footprint, isTokenizer, name, perImage, fixed, pinned }: Network,
  { resident, free, workFree }: Kept,
  { maxTensorBytes, classes, budget: { headroom, kernels } }: {
    readonly maxTensorBytes: number;
    readonly classes: boolean;
    readonly budget: Budget;
  },
) {
  const isLoaded = isTokenizer || resident.has(name);
  const room = Math.min(
    free - (isLoaded ? 0 : fixed),
    workFree - (isLoaded ? 0 : pinned) - headroom * footprint.loading,
  );
  const condition = classes ? footprint.condition : 0;
  const byMemory = Math.floor((room / headroom - condition - kernels) / perImage);
  const byTensor = Math.floor(maxTensorBytes / footprint.largestTensor);
  return Math.min(byMemory, byTensor);
}

function scoringPlan({ perImage, condition }: Footprint, batch: number, device: PlannedDevice): ScoringPlan {
  const bytes = batch * perImage;
  const blockBytes = Math.min(usualBlockBytes(device), blockShares[device.info.kind] * bytes);
  return { blockBytes, ownConditions: Math.max(1, Math.floor(bytes / (perImage + condition))) };
}

/** What a network needs beside the tokenizers, in bytes. */
interface Need {
  readonly network: Network;
  /** As a limit. */
  readonly total: number;
  /** Of the work block. */
  readonly work: number;
}

function needsOf(networks: readonly Network[], budget: Budget): Need[] {
  const tokenizers = networks.filter(({ isTokenizer }) => isTokenizer);
  const base = sum(tokenizers.map(({ fixed }) => fixed));
  const pinnedBase = sum(tokenizers.map(({ pinned }) => pinned));
  return networks.map((network) => {
    const { isTokenizer, fixed, extra, pinned, working } = network;
    const bytes = base + (isTokenizer ? 0 : fixed) + extra;
    const duplicates = bytes > budget.work ? budget.work * duplicateShare : 0;
    return { network, total: bytes + duplicates, work: pinnedBase + (isTokenizer ? 0 : pinned) + working };
  });
}

/** Throws when a network does not fit, even with the tokenizers alone, and lists what each of those needs. */
function refuseTooLarge(
  networks: readonly Network[],
  { info: { kind, maxTensorBytes } }: Pick<Device, "info">,
  { budget, weightType, isUsual = false, halved }: Pick<PlanOptions, "weightType" | "isUsual"> & {
    readonly budget: Budget;
    /** The networks in half precision. */
    readonly halved: () => readonly Network[];
  },
): void {
  const base = sum(networks.filter(({ isTokenizer }) => isTokenizer).map(({ fixed }) => fixed));
  const exceeds = ({ total, work }: Need) => total > budget.limit || work > budget.work;
  const needs = needsOf(networks, budget);
  const lines = needs.filter(exceeds).map(({ network: { name, footprint }, total, work }) => {
    const [weights, condition, perImage] = [footprint.weights, footprint.condition, footprint.perImage].map(
      formatBytes,
    );
    const type = weightType === undefined ? "" : `${weightType} `;
    return `  ${name}: ${formatBytes(total)} (${type}weights ${weights}, condition ${condition}, ` +
      `one image ${perImage}, tokenizers ${formatBytes(base)}` +
      (work > budget.work ? `; ${formatBytes(work)} of it at once` : "") + ")";
  });
  for (const { name, footprint: { largestTensor } } of networks) {
    if (largestTensor <= maxTensorBytes) continue;
    const [needed, possible] = [largestTensor, maxTensorBytes].map(formatBytes);
    lines.push(`  ${name}: a tensor of ${needed}, the ${kind} device takes at most ${possible}`);
  }
  if (lines.length === 0) return;
  const exceedsWork = needs.some(({ work }) => work > budget.work);
  const limit = exceedsWork
    ? formatBytes(budget.work)
    : formatBytes(budget.limit) + (isUsual ? ", by the free memory," : "");
  const halvedNeeds = weightType === "f16" ? needs : needsOf(halved(), budget);
  const advice = adviceFor(needs, halvedNeeds, budget).join("; or ");
  throw new MemoryLimitError([`memory: the limit of ${limit} is not enough; needed are:`, ...lines, advice].join("\n"));
}

/** What would help: only options under which every network fits. */
function adviceFor(needs: readonly Need[], halved: readonly Need[], { limit, work }: Budget): string[] {
  const most = (of: readonly Need[]) => Math.max(...of.map(({ total }) => total));
  const fitsWork = (of: readonly Need[]) => of.every((need) => need.work <= work);
  const isHalved = halved === needs;
  const ways: string[] = [];
  if (!isHalved && fitsWork(halved)) {
    const raised = most(halved) > limit ? ` and --memory ${memoryOption(most(halved))}` : "";
    ways.push(`keep weights in half precision with --weight-type f16${raised}`);
  }
  if (fitsWork(needs)) {
    if (most(needs) > limit) ways.push(`raise the limit with --memory ${memoryOption(most(needs))}`);
  } else ways.push("use --device webgpu: the cpu device holds no more at once");
  return ways.length > 0 ? ways : ["use a device that takes larger tensors"];
}

/** Bytes as `--memory` takes them, rounded up: `8.6GiB`. */
export function memoryOption(bytes: number): string {
  const unit = bytes >= 2 ** 30 ? 2 ** 30 : 2 ** 20;
  const value = unit === 2 ** 30 ? Math.ceil(10 * bytes / unit) / 10 : Math.ceil(bytes / unit);
  return `${value}${unit === 2 ** 30 ? "GiB" : "MiB"}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
