/**
 * Sizes and sampler settings of the LlamaGen family (class-conditional), as data.
 * Source: FoundationVision/LlamaGen, tokenizer/tokenizer_image/vq_model.py, autoregressive/models/gpt.py and
 * GETTING_STARTED.md; file names are those of the hub's FoundationVision/LlamaGen.
 */
import type { OfficialVariant } from "../family.ts";

/** Sizes of the VQ tokenizer. */
export interface LlamagenTokenizerConfig {
  readonly ch: number;
  readonly chMult: readonly number[];
  readonly resBlocks: number;
  readonly zChannels: number;
  readonly codes: number;
  /** Channels of a code. Latents and codes have unit length over them. */
  readonly codeChannels: number;
  /** Side of the images in pixels; nothing else in the network depends on it. */
  readonly resolution: number;
  /** Groups of every group norm; 32 in the official code, fewer where layers are narrower than that. */
  readonly normGroups?: number;
}

/** Sizes of a transformer. */
export interface LlamagenConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Width of the feed-forward layers, `feedForwardWidth` in the official code. */
  readonly mlp: number;
  /** Tokens per image, a square. */
  readonly tokenCount: number;
  readonly classes: number;
  readonly codes: number;
}

/**
 * Guidance scale (1 or less for none); the step after which tokens are not guided any more (-1: all are); softmax
 * temperature; and which codes may be drawn: the `topK` likeliest (0: all), of those the likeliest with this share of
 * the probability (1: all).
 */
export type LlamagenSampler = Record<"guidance" | "interval" | "temperature" | "topK" | "topP", number>;

/**
 * The width that the official code gives the feed-forward layers: 8/3 of the model's, rounded up to a multiple of 256.
 */
export function feedForwardWidth(width: number, multiple = 256): number {
  return Math.ceil(Math.trunc(2 * 4 * width / 3) / multiple) * multiple;
}

/** VQ-16 (vq_ds16_c2i.pt), shared by all class-conditional variants. */
export function llamagenTokenizer(resolution: number): LlamagenTokenizerConfig {
  return {
    ch: 128,
    chMult: [1, 1, 2, 2, 4],
    resBlocks: 2,
    zChannels: 256,
    codes: 16384,
    codeChannels: 8,
    resolution,
  };
}

/** Name, layers, heads and width of the sizes for which class-conditional weights are published. */
const sizes = {
  b: ["GPT-B", 12, 12, 768],
  l: ["GPT-L", 24, 16, 1024],
  xl: ["GPT-XL", 36, 20, 1280],
  xxl: ["GPT-XXL", 48, 24, 1536],
  "3b": ["GPT-3B", 24, 32, 3200],
} as const;

/** The sampler of the official demo (sample_c2i.py). */
const sampler: LlamagenSampler = { guidance: 4, interval: -1, temperature: 1, topK: 2000, topP: 1 };

/**
 * Other settings that people draw with: no guidance, and that of the paper's evaluation (arXiv 2406.06525). Not
 * measured.
 */
export const llamagenOtherSettings: readonly Partial<LlamagenSampler>[] = [{ guidance: 1 }, { guidance: 2 }];

/** The published variants for images of this side, from small to large. Their labels end with `suffix`. */
export function llamagenVariants(resolution: 256 | 384, suffix: string): readonly OfficialVariant<LlamagenConfig>[] {
  const published = resolution === 256 ? ["b", "l"] as const : ["b", "l", "xl", "xxl", "3b"] as const;
  return published.map((size) => {
    const [title, layers, heads, width] = sizes[size];
    return {
      label: `llamagen${size}${suffix}`,
      title: `${title} ${resolution}`,
      config: {
        ...{ width, layers, heads, mlp: feedForwardWidth(width) },
        ...{ tokenCount: (resolution / 16) ** 2, classes: 1000, codes: 16384 },
      },
      sampler,
    };
  });
}
