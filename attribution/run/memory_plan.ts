/**
 * Which networks stay on the device, and how many images go through them at once, within a limit on memory.
 * Plans only: nothing is loaded here. What a network needs is estimated in models/footprint.ts.
 */
import { MemoryLimitError } from "../../util/errors.ts";
import type { Device } from "../../core/tensor/mod.ts";
import type { Footprint } from "../../models/footprint.ts";
import { type ModelSet, networkName } from "../../models/model_set.ts";
import { quantiserFootprint } from "../quantisation/footprint.ts";
import type { QuantizerName } from "../quantisation/quantizers.ts";
import { formatBytes } from "../../util/bytes.ts";

export interface PlanOptions {
  /** Limit for weights and activations on the device, in bytes. */
  readonly memoryBytes: number;
  readonly weightType?: "f32" | "f16";
  /** Largest number of images per pass. Default 16. */
  readonly maxBatch?: number;
  /** Images per chunk when transformers take turns on the device. Default 1024. */
  readonly swapChunk?: number;
  /** Whether images are scored under classes, too, which needs room for another condition. Default false. */
  readonly classes?: boolean;
  /** What latents are quantised with. Default: `estimate`. */
  readonly quantization?: QuantizerName;
}

/** How a variant scores tokens within the memory that is planned for it. */
export interface ScoringPlan {
  /** Bytes for the logits of a block of rows and what is made of them. */
  readonly blockBytes: number;
  /** Images, each under a condition of its own, in one pass. */
  readonly ownConditions: number;
}

export interface Plan {
  readonly memoryBytes: number;
  /** Variants that stay loaded; the tokenizers always do. */
  readonly resident: ReadonlySet<string>;
  /** Variants that are loaded for every chunk and freed again. */
  readonly swapped: readonly string[];
  /** Images per pass of the tokenizers, and of each variant. */
  readonly tokenizerBatch: number;
  readonly variantBatch: ReadonlyMap<string, number>;
  readonly scoring: ReadonlyMap<string, ScoringPlan>;
  /** Images that are worked on together, one model after the other. */
  readonly chunk: number;
}

interface Network {
  readonly name: string;
  readonly tokenizer: boolean;
  readonly footprint: Footprint;
  /** The tables of its quantiser. */
  readonly tables: number;
  /** Stays as long as the network is loaded. */
  readonly fixed: number;
  /** Needed on top for loading, for making tables, or for a pass over one image. */
  readonly extra: number;
  /** Part of `fixed` that is never anywhere but in the memory that kernels work in. */
  readonly pinned: number;
  /** What must be in that memory on top of all that is pinned: the weight in use, and what it is loaded from or makes. */
  readonly working: number;
}

/** Allocations are rounded up, and freed memory waits in pools of other sizes: plans leave this factor of room. */
const headroom = 1.05;

/** Part of the CPU device's memory that it may need twice while packed weights are outside. */
const twiceShare = 1 / 16;

/** More logits at once gain nothing. */
const mostBlockBytes = 32 * 2 ** 20;

/**
 * All tokenizers stay loaded, as many variants as fit stay too, the others take turns. Throws before any work when a
 * network does not fit, saying what each one needs.
 */
export function planMemory(
  set: Pick<ModelSet, "networks" | "footprint" | "tokenizerFacts">,
  device: Pick<Device, "info" | "packedBytes">,
  options: PlanOptions,
): Plan {
  const { weightType = "f32", maxBatch = 16, swapChunk = 1024, classes = false, quantization = "estimate" } = options;
  // All that the CPU device's kernels work on is in one block of limited size; packed weights may wait outside.
  const workBytes = device.info.kind === "cpu" ? device.info.maxTensorBytes : Infinity;
  // Those that came back may still be outside, too.
  const twice = options.memoryBytes > workBytes ? workBytes * twiceShare : 0;
  const memoryBytes = Math.max(options.memoryBytes - twice, Math.min(options.memoryBytes, workBytes));
  const networks = set.networks.map((id): Network => {
    const footprint = set.footprint(device, id, weightType);
    const { weights, packed, condition, loading, perImage } = footprint;
    const { tables, opening } = id.variant === undefined
      ? quantiserFootprint(quantization, set.tokenizerFacts(id.family))
      : { tables: 0, opening: 0 };
    const pass = perImage + (classes ? condition : 0);
    return {
      name: networkName(id),
      tokenizer: id.variant === undefined,
      footprint,
      tables,
      fixed: headroom * (weights + condition + tables),
      extra: headroom * Math.max(loading, opening, pass),
      pinned: headroom * (weights - packed + condition + tables),
      working: headroom * (loading + Math.max(loading, opening, pass)),
    };
  });
  const tokenizers = networks.filter((network) => network.tokenizer);
  const variants = networks.filter((network) => !network.tokenizer);
  const base = sum(tokenizers.map(({ fixed }) => fixed));
  const pinnedBase = sum(tokenizers.map(({ pinned }) => pinned));
  refuseTooLarge(networks, device, {
    memoryBytes,
    asked: options.memoryBytes,
    workBytes,
    base,
    pinnedBase,
    weightType,
  });

  const free = memoryBytes - base;
  const workFree = workBytes - pinnedBase;
  const largestWork = Math.max(...networks.map(({ working }) => working));
  const everything = sum(variants.map(({ fixed }) => fixed)) + Math.max(...networks.map(({ extra }) => extra));
  const resident = new Set<string>();
  let kept = 0, pinned = 0;
  const keep = (network: Network) => {
    resident.add(network.name);
    kept += network.fixed;
    pinned += network.pinned;
  };
  if (everything <= free && sum(variants.map(({ pinned }) => pinned)) + largestWork <= workFree) {
    variants.forEach(keep);
  } else {
    // The largest one must still find room beside those that stay.
    const turn = Math.max(
      ...variants.map(({ fixed, extra }) => fixed + extra),
      ...tokenizers.map(({ extra }) => extra),
    );
    const workTurn = Math.max(...variants.map(({ pinned, working }) => pinned + working), largestWork);
    for (const network of variants) {
      if (kept + network.fixed + turn > free || pinned + network.pinned + workTurn > workFree) continue;
      keep(network);
    }
  }

  const batch = (network: Network) => {
    const { footprint, tokenizer, name } = network;
    const loaded = tokenizer || resident.has(name);
    const room = Math.min(
      free - kept - (loaded ? 0 : network.fixed),
      workFree - pinned - (loaded ? 0 : network.pinned) - headroom * footprint.loading,
    );
    const own = classes ? footprint.condition : 0;
    const byMemory = Math.floor((room / headroom - own) / footprint.perImage);
    const byTensor = Math.floor(device.info.maxTensorBytes / footprint.largestTensor);
    return Math.max(1, Math.min(byMemory, byTensor, maxBatch));
  };
  const tokenizerBatch = Math.min(...tokenizers.map(batch));
  const variantBatch = new Map(variants.map((network) => [network.name, batch(network)]));
  const scoring = new Map(variants.map(({ name, footprint }): [string, ScoringPlan] => {
    const bytes = variantBatch.get(name)! * footprint.perImage;
    // A pass is over, and its activations are freed, when logits are made.
    const blockBytes = Math.min(mostBlockBytes, bytes / 2);
    const ownConditions = Math.max(1, Math.floor(bytes / (footprint.perImage + footprint.condition)));
    return [name, { blockBytes, ownConditions }];
  }));
  const swapped = variants.filter(({ name }) => !resident.has(name)).map(({ name }) => name);
  const chunk = swapped.length === 0 ? tokenizerBatch : swapChunk;
  return { memoryBytes: options.memoryBytes, resident, swapped, tokenizerBatch, variantBatch, scoring, chunk };
}

/** Throws when a network does not fit, even alone with the tokenizers, with what each of them needs. */
function refuseTooLarge(
  networks: readonly Network[],
  device: Pick<Device, "info">,
  { memoryBytes, asked, workBytes, base, pinnedBase, weightType }: {
    memoryBytes: number;
    asked: number;
    workBytes: number;
    base: number;
    pinnedBase: number;
    weightType: "f32" | "f16";
  },
): void {
  const lines: string[] = [];
  let held = false;
  for (const { name, footprint, fixed, extra, pinned, working, tokenizer } of networks) {
    const total = base + (tokenizer ? 0 : fixed) + extra + asked - memoryBytes;
    const work = pinnedBase + (tokenizer ? 0 : pinned) + working;
    if (total > asked || work > workBytes) {
      held ||= work > workBytes;
      lines.push(
        `  ${name}: ${formatBytes(total)} (${weightType} weights ${formatBytes(footprint.weights)}, ` +
          `condition ${formatBytes(footprint.condition)}, one image ${formatBytes(footprint.perImage)}, ` +
          `tokenizers ${formatBytes(base)}` +
          (work > workBytes ? `; ${formatBytes(work)} of it at once` : "") + ")",
      );
    }
    if (footprint.largestTensor > device.info.maxTensorBytes) {
      lines.push(
        `  ${name}: a tensor of ${
          formatBytes(footprint.largestTensor)
        }, the ${device.info.kind} device takes at most ` +
          formatBytes(device.info.maxTensorBytes),
      );
    }
  }
  if (lines.length === 0) return;
  const halve = weightType === "f32" ? "halve the weights with --weight-type f16, or " : "";
  const limit = held ? workBytes : asked;
  const more = held ? `the cpu device holds no more; ${halve}use --device webgpu` : `${halve}raise --memory`;
  throw new MemoryLimitError(
    [`memory: the limit of ${formatBytes(limit)} is not enough; needed are:`, ...lines, more].join("\n"),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
