/**
 * What a recipe of the zoo says: which crops and classes its networks see, and of each network the architecture, the
 * seed, and how it is trained. The recipes themselves are data, a folder each, listed in recipes.ts.
 */
import type { Sampler } from "../models/draw_rule.ts";
import type { ByFamily, Family, FamilyName } from "../models/family.ts";
import type { FamilyTraining } from "../models/family_training.ts";
import { familyNamed } from "../models/registry.ts";
import type { ReadBackWeights } from "../models/tokenizer_training.ts";
import type { Recipe } from "../training/recipe.ts";
import type { Clustering } from "./classes.ts";
import type { DatasetPlan } from "./dataset_plan.ts";

/** A network: a family and a configuration of it. */
export interface NetworkRecipe<Config = unknown> {
  readonly kind: FamilyName;
  readonly config: Config;
}

/** A tokenizer to train, and how. */
export interface TokenizerRecipe<Config = unknown> {
  /** Its file name. */
  readonly name: string;
  readonly network: NetworkRecipe<Config>;
  readonly seed: number;
  readonly steps: number;
  /** Images per step. */
  readonly batch: number;
  /** Highest learning rate; it rises to it over 100 steps and falls to a twentieth along half a cosine. */
  readonly lr: number;
  /** Weight of the codebook and commitment terms beside the pixels' loss. */
  readonly latentWeight: number;
  /**
   * Name of a tokenizer from whose finished weights, codes apart, this one begins; SET/NAME for one of a set in weights/.
   */
  readonly init?: string;
  /** Weights of the terms that make tokens readable from their images, for families that have them; none without. */
  readonly readBack?: ReadBackWeights;
  /** Steps between evaluations and saved states (default 250); the result does not depend on it. */
  readonly every?: number;
}

/** A transformer to train, how, and how to draw from it. */
export interface TransformerRecipe<Config = unknown> {
  /** The label of its images, and its file name. */
  readonly name: string;
  readonly title: string;
  /** A row of `tokenizersOf` its recipe. */
  readonly tokenizer: string;
  readonly network: NetworkRecipe<Config> & { readonly sampler: Sampler };
  readonly seed: number;
  readonly steps: number;
  /** Images per step. */
  readonly batch: number;
  /** Highest learning rate; it rises to it over `warmup` steps and falls to a fiftieth along half a cosine. */
  readonly lr: number;
  readonly warmup: number;
  readonly weightDecay: number;
  /** Probability that an image loses its class. */
  readonly dropLabel: number;
  /** Steps between evaluations and saved states (default 250); the result does not depend on it. */
  readonly every?: number;
}

/** All networks of a family in the zoo. */
export interface FamilyRecipes {
  /**
   * By the names that `TransformerRecipe.tokenizer` has, in the order of training. The model set gets the one with the
   * family's name.
   */
  readonly tokenizers: Readonly<Record<string, TokenizerRecipe>>;
  /** From small to large. */
  readonly transformers: readonly TransformerRecipe[];
  /** How its inverse decoder is trained where that differs from the official recipe. */
  readonly inverse: Partial<Recipe>;
}

/** A whole set of stand-ins: what its networks see, and the networks. */
export interface ZooRecipe {
  /** Name of the model set, and of its folder in weights/. */
  readonly name: string;
  /** What the set is, for its manifest. */
  readonly description: string;
  /** Width and height of the crops in pixels. */
  readonly side: number;
  /** Which class a crop has. */
  readonly classes: Clustering;
  /** The families in the order in which they are trained. */
  readonly families: ByFamily<FamilyRecipes>;
  /**
   * The recipe whose set and dataset this one adds families to. Its networks stay what they are: the set is another
   * manifest in its folder, `<name>.json`, and the dataset has only the added images.
   */
  readonly beside?: ZooRecipe;
  /** Generators outside the model set, whose images are outliers of the dataset. */
  readonly outside: {
    /** Those that no family has, by the names that transformers' recipes use. */
    readonly tokenizers: Readonly<Record<string, TokenizerRecipe>>;
    readonly transformers: readonly TransformerRecipe[];
    /** Folder in this repository where the finished ones are kept, below its root. Absent where there are none. */
    readonly kept?: string;
    /** Generators outside another recipe's set whose images, enlarged to `side`, are outliers here, too. */
    readonly enlarged?: { readonly recipe: ZooRecipe; readonly names: readonly string[] };
  };
  /** The dataset that is drawn from the set. Absent where there is none. */
  readonly dataset?: DatasetPlan;
}

/** What is the same for all transformers. */
export const transformerCourse = { warmup: 100, weightDecay: 0.05, dropLabel: 0.1 } as const;

/** What differs between the transformers of a family beside their size. */
export type Course = Pick<TransformerRecipe, "seed" | "steps" | "lr">;

/** The family of a network and how it is trained. Throws a RangeError where the family cannot be trained. */
export function trainableFamily({ kind }: NetworkRecipe): { family: Family; training: FamilyTraining } {
  const family = familyNamed(kind);
  if (family.training === undefined) throw new RangeError(`zoo: the family ${kind} has no training`);
  return { family, training: family.training };
}
