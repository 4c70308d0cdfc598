/**
 * A set of weights on disk: finds its files, checks them before any work, and loads its networks one at a time.
 * Which of them are kept on a device, and for how long, is the caller's plan; `footprint` says what that costs.
 */
import { ModelSetError } from "../util/errors.ts";
import { basename, dirname, join } from "node:path";
import { type Device, sizeOf } from "../core/tensor/mod.ts";
import { hashFile } from "../util/hash.ts";
import type { HashMemory } from "../util/hash_memory.ts";
import {
  checkNames,
  openCheckpoint,
  syntheticSource,
  type TensorSource,
  unwrapNetwork,
  withPrefix,
} from "./checkpoint/mod.ts";
import { possibleSamplers, type Sampler } from "./draw_rule.ts";
import type { ByFamily, FamilyName, ImageTokenizer, TokenizerFacts, Variant, VariantFacts } from "./family.ts";
import { type Footprint, type PlannedDevice, weightFootprint } from "./footprint.ts";
import { filesOf, type NetworkId, type NetworkRow, networkRows, wholeFact } from "./network_rows.ts";
import { withEncoder } from "./overlay.ts";
import {
  checkLatentStatistics,
  latentNames,
  type LatentStatistics,
  latentTensors,
  withLatentStatistics,
} from "./latent_statistics.ts";
import { familiesOf, type FileEntry, type Manifest, modelSetHash, parseManifest } from "./manifest.ts";
import { families, familyNamed, officialSpecs, strangers } from "./registry.ts";
import type { LoadNetworkOptions, WeightType } from "./weights.ts";

export type { NetworkId } from "./network_rows.ts";

/** How a tokenizer is loaded. */
export interface LoadTokenizerOptions extends LoadNetworkOptions {
  /** With the encoder that it was trained with, even where the manifest puts a fine-tuned one in its place. */
  readonly originalEncoder?: boolean;
  /** The loaded tokenizer of another family that has the same weights (`sharedTokenizer`), used instead of the files. */
  readonly shared?: ImageTokenizer;
}

/** How a set is checked. */
export interface CheckOptions {
  /** Also compare every file's sha256 with the manifest. Default true. */
  readonly verify?: boolean;
  /**
   * Remembers hashes of files, and which networks were found to be whole. Such a network's files are not opened.
   *
   * @internal
   */
  readonly memory?: HashMemory;
  /** Called before each network is looked at, unless it is remembered. */
  readonly onNetwork?: (network: string) => void;
}

/** A set of weights on disk. */
export interface ModelSet {
  /** Its folder. */
  readonly dir: string;
  /** What opens it again: the folder, or the manifest in it. */
  readonly path: string;
  /** What its manifest says. */
  readonly manifest: Manifest;
  /** Identifies what the set computes; see `modelSetHash`. */
  readonly hash: string;
  /** Every network, tokenizers first. */
  readonly networks: readonly NetworkId[];
  /** Its families in the order of the registry. */
  readonly families: readonly FamilyName[];
  /** The variants of a family in the manifest's order. Throws when the set has no such family. */
  variants(family: FamilyName): readonly string[];
  /** The family of a variant. Throws when the set has no such variant. */
  familyOf(variant: string): FamilyName;
  /** What is known of a family's tokenizer without loading it. */
  tokenizerFacts(family: FamilyName): TokenizerFacts;
  /** What is known of a variant without loading it. */
  variantFacts(variant: string): VariantFacts;
  /** The manifest's sampler of a variant. */
  samplerOf(variant: string): Sampler;
  /** The samplers that images of a variant may have been drawn with: the manifest's first, then the family's others. */
  samplersOf(variant: string): readonly Sampler[];
  /** Device memory that a network needs. Default of the weights' type: `stored`. */
  footprint(device: PlannedDevice, network: NetworkId, weightType?: WeightType): Footprint;
  /**
   * Whether the encoder of a family is an inverse decoder of others, whose file lacks the latent statistics that the
   * quantiser needs.
   */
  lacksLatents(family: FamilyName): Promise<boolean>;
  /**
   * Gives families the latent statistics that their files lack: tokenizers that are loaded from now on have them. `id`
   * identifies them beside the set's hash. Throws, naming `label`, when they do not fit.
   */
  supplyLatents(latents: ByFamily<LatentStatistics>, id: string, label?: string): void;
  /** What `supplyLatents` was called with; undefined for none. */
  readonly latentsId: string | undefined;
  /** Paths of the files that a network is loaded from; none for weights that are computed. */
  filesOf(network: NetworkId): readonly string[];
  /** Opens every checkpoint and compares names, shapes and sha256 with the manifest, without loading anything. */
  check(options?: CheckOptions): Promise<void>;
  /** The checkpoint of a network, its names being the network's own; the caller closes it. */
  openNetwork(network: NetworkId): Promise<TensorSource>;
  /** Loads a tokenizer. Rejects naming missing, unused or mis-shaped tensors. */
  loadTokenizer(device: Device, family: FamilyName, options?: LoadTokenizerOptions): Promise<ImageTokenizer>;
  /** Loads a transformer. Rejects like `loadTokenizer`. */
  loadVariant(device: Device, variant: string, options?: LoadNetworkOptions): Promise<Variant>;
}

/** The manifest of a set: `path` itself where it is one (`*.json`), else manifest.json in the folder `path`. */
export function manifestPath(path: string): string {
  return path.endsWith(".json") ? path : join(path, "manifest.json");
}

/**
 * Opens the set in the folder `where`, or that of the manifest `where` (`*.json`), whose files are beside it: several
 * sets can share files. Reads the manifest and looks at the size of its files. Throws one error that lists the files
 * that are missing or have another size, where they were expected, and what to do.
 */
export async function openModelSet(where: string): Promise<ModelSet> {
  const path = manifestPath(where), dir = path === where ? dirname(path) : where;
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) {
      throw new ModelSetError(`${path}: ${(cause as Error).message}`, { cause });
    }
    throw new ModelSetError(
      `${path}: expected the manifest of a set of weights, found nothing at this path; ` +
        "--models takes the folder that has the manifest, such as weights/tiny, or the manifest itself",
      { cause },
    );
  }
  const manifest = parseManifest(text, path);
  const set = new OpenedSet(dir, where, manifest, await modelSetHash(manifest));
  await set.checkFiles();
  await set.readStoredTypes();
  return set;
}

class OpenedSet implements ModelSet {
  readonly #rows: readonly NetworkRow[];
  #latents: { readonly id: string; readonly byFamily: ByFamily<LatentStatistics> } | undefined;
  /** Names of the parameters that a row's files have in half precision. */
  readonly #halves = new Map<NetworkRow, ReadonlySet<string>>();

  constructor(readonly dir: string, readonly path: string, readonly manifest: Manifest, readonly hash: string) {
    this.#rows = networkRows(manifest);
  }

  get networks(): readonly NetworkId[] {
    return this.#rows.map((row) => row.id);
  }

  get families(): readonly FamilyName[] {
    return familiesOf(this.manifest);
  }

  variants(family: FamilyName): readonly string[] {
    return Object.keys(this.#family(family).variants);
  }

  familyOf(variant: string): FamilyName {
    const row = this.#rows.find(({ id }) => id.variant === variant);
    if (row !== undefined) return row.id.family;
    const known = this.families.flatMap((family) => this.variants(family)).join(", ");
    throw new RangeError(`${this.dir}: has no variant ${variant}; it has ${known}`);
  }

  tokenizerFacts(family: FamilyName): TokenizerFacts {
    return familyNamed(family).tokenizerFacts(this.#family(family).tokenizer.config);
  }

  variantFacts(variant: string): VariantFacts {
    const family = this.familyOf(variant);
    return familyNamed(family).variantFacts(this.#family(family).variants[variant].config);
  }

  samplerOf(variant: string): Sampler {
    return this.#family(this.familyOf(variant)).variants[variant].sampler;
  }

  samplersOf(variant: string): readonly Sampler[] {
    return possibleSamplers(this.samplerOf(variant), familyNamed(this.familyOf(variant)).otherSettings);
  }

  footprint(device: PlannedDevice, network: NetworkId, weightType: WeightType = "stored"): Footprint {
    const row = this.#row(network);
    const { perImage, ...others } = row.activations;
    const weights = weightFootprint(device, row.specs(), weightType, this.#halves.get(row));
    return { ...weights, ...others, perImage: perImage[device.info.kind] };
  }

  get latentsId(): string | undefined {
    return this.#latents?.id;
  }

  async lacksLatents(family: FamilyName): Promise<boolean> {
    const row = this.#row({ family });
    if (row.encoder === undefined || this.tokenizerFacts(family).patchNums.length === 1) return false;
    const source = await this.#open(row);
    source.close();
    return !source.tensors.has(latentTensors.noise) && !source.tensors.has(latentTensors.prior);
  }

  supplyLatents(latents: ByFamily<LatentStatistics>, id: string, label = this.dir): void {
    for (const [family, statistics] of Object.entries(latents)) {
      checkLatentStatistics(statistics, this.tokenizerFacts(family), `${label}: latents.${family}`);
    }
    this.#latents = { id, byFamily: latents };
  }

  /**
   * Notes which parameters the files have in half precision. A file with more than three bytes for every parameter is not
   * opened: it is in single precision. One that cannot be read is refused where it is checked or loaded.
   */
  async readStoredTypes(): Promise<void> {
    for (const row of this.#rows) {
      const elements = row.specs().reduce((sum, { shape }) => sum + sizeOf(shape), 0);
      const files = filesOf(row);
      const isLarge = files.some(({ bytes, prefix }) => prefix === undefined && bytes > 3 * elements);
      if (files.length === 0 || isLarge) continue;
      const source = await this.#open(row).catch(() => undefined);
      if (source === undefined) continue;
      const halves = row.specs().filter(({ name }) => source.tensors.get(name)?.dtype === "f16");
      this.#halves.set(row, new Set(halves.map(({ name }) => name)));
      source.close();
    }
  }

  filesOf(network: NetworkId): readonly string[] {
    return filesOf(this.#row(network)).map(({ file }) => join(this.dir, file));
  }

  /** Throws one error that lists the files that are missing or whose size is not the manifest's. */
  async checkFiles(): Promise<void> {
    const missing: string[] = [];
    const wrong: string[] = [];
    for (const row of this.#rows) {
      for (const entry of filesOf(row)) {
        const path = join(this.dir, entry.file);
        const info = await Deno.stat(path).catch(() => null);
        const what = `  ${path} (${row.title}, ${entry.bytes} bytes)`;
        if (info === null || !info.isFile) missing.push(what);
        else if (info.size !== entry.bytes) {
          wrong.push(`${what}: has ${info.size} bytes${await this.#misfit(row)}`);
        }
      }
    }
    const lines: string[] = [];
    if (missing.length > 0) {
      lines.push(`${this.dir}: ${missing.length} of the weight files are missing; expected:`, ...missing);
      lines.push("Put the files there, or name another set with --models (weights/tiny needs nothing).");
    }
    if (wrong.length > 0) {
      lines.push(`${this.dir}: ${wrong.length} of the weight files do not have the manifest's size:`, ...wrong);
      lines.push(
        "A download that broke off, or another variant's checkpoint: replace the file, or correct the manifest.",
      );
    }
    if (lines.length > 0) throw new ModelSetError(lines.join("\n"));
  }

  async check(options: CheckOptions = {}): Promise<void> {
    const { memory } = options;
    try {
      await this.#checkRows(options);
    } finally {
      await memory?.save();
    }
  }

  async #checkRows({ verify = true, memory, onNetwork }: CheckOptions): Promise<void> {
    const verified = new Set<string>();
    for (const row of this.#rows) {
      if (filesOf(row).length === 0) continue;
      const fact = memory && await wholeFact(row);
      if (verify && memory !== undefined && memory.knows(fact!) && this.#isRemembered(row, memory)) continue;
      onNetwork?.(row.title);
      const source = await this.#open(row);
      try {
        this.#checkNames(row, source);
      } finally {
        source.close();
      }
      if (!verify) continue;
      for (const { file, sha256 } of filesOf(row)) {
        if (verified.has(file)) continue;
        const path = join(this.dir, file);
        const actual = memory === undefined ? await hashFile(path) : await memory.hash(path, sha256);
        if (actual !== sha256) {
          throw new ModelSetError(
            `${path}: expected the sha256 ${sha256}, got ${actual}: ` +
              "the file is damaged or not the one that the manifest means",
          );
        }
        verified.add(file);
      }
      memory?.note(fact!);
    }
  }

  /** Whether all files of a network are remembered with the hashes of the manifest. */
  #isRemembered(row: NetworkRow, memory: HashMemory): boolean {
    for (const { file, sha256 } of filesOf(row)) {
      if (memory.recall(join(this.dir, file)) !== sha256) return false;
    }
    return true;
  }

  async openNetwork(network: NetworkId): Promise<TensorSource> {
    return await this.#open(this.#row(network));
  }

  async loadTokenizer(
    device: Device,
    family: FamilyName,
    { originalEncoder = false, weightType = "stored", shared, ...others }: LoadTokenizerOptions = {},
  ): Promise<ImageTokenizer> {
    if (shared !== undefined) {
      return familyNamed(family).shares!.tokenizer(shared, this.#family(family).tokenizer.config);
    }
    const options = { ...others, weightType };
    const row = this.#row({ family });
    const opened = await this.#open(originalEncoder ? { ...row, encoder: undefined } : row);
    const supplied = originalEncoder ? undefined : this.#latents?.byFamily[family];
    const source = supplied === undefined
      ? opened
      : withLatentStatistics(opened, supplied, this.tokenizerFacts(family));
    try {
      return await familyNamed(family).loadTokenizer(device, source, this.#family(family).tokenizer.config, options);
    } finally {
      source.close();
    }
  }

  async loadVariant(
    device: Device,
    variant: string,
    { weightType = "stored", ...others }: LoadNetworkOptions = {},
  ): Promise<Variant> {
    const options = { ...others, weightType };
    const family = this.familyOf(variant);
    const row = this.#row({ family, variant });
    const source = await this.#open(row);
    try {
      this.#checkNames(row, source); // knows the set's other variants, which the loader does not
      const { config } = this.#family(family).variants[variant];
      return await familyNamed(family).loadVariant(device, source, config, variant, options);
    } finally {
      source.close();
    }
  }

  #family(family: FamilyName): Manifest["families"][string] {
    const entry = this.manifest.families[family];
    if (entry !== undefined) return entry;
    throw new RangeError(`${this.dir}: has no family ${family}; it has ${this.families.join(", ")}`);
  }

  #row({ family, variant }: NetworkId): NetworkRow {
    const row = this.#rows.find(({ id }) => id.family === family && id.variant === variant);
    if (row === undefined) throw new ModelSetError(`${this.dir}: has no ${family} variant ${variant}`);
    return row;
  }

  async #open(row: NetworkRow): Promise<TensorSource> {
    const { entry, encoder } = row;
    const source = "synthetic" in entry
      ? syntheticSource(entry.synthetic.salt, row.specs())
      : unwrapNetwork(await this.#openFile(entry), row.specs()).source;
    if (encoder === undefined) return source;
    let over: TensorSource | undefined;
    try {
      over = await this.#openFile(encoder);
      return withEncoder(source, over);
    } catch (error) {
      source.close();
      over?.close();
      throw error;
    }
  }

  async #openFile({ file, prefix }: FileEntry): Promise<TensorSource> {
    const source = await openCheckpoint(join(this.dir, file));
    try {
      return prefix === undefined ? source : withPrefix(source, prefix);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  #checkNames(row: NetworkRow, source: TensorSource): void {
    const siblings = this.#rows.filter(({ id }) => id !== row.id);
    checkNames(source, row.specs(), {
      what: row.title,
      ignored: knownBuffers,
      strangers,
      alternatives: new Map([
        ...siblings.map((sibling) => [sibling.title, sibling.specs()] as const),
        ...(row.id.variant === undefined ? [] : officialSpecs(row.id.family)),
      ]),
    });
  }

  /** What a file of the wrong size is, as far as its tensors tell: `; rar_l.bin: does not fit ...`. */
  async #misfit(row: NetworkRow): Promise<string> {
    try {
      const source = await this.#open(row);
      try {
        this.#checkNames(row, source);
      } finally {
        source.close();
      }
      return "";
    } catch (error) {
      return `; ${(error as Error).message}`;
    }
  }
}

/** Tensors that checkpoints of any family may carry and no network uses. */
const knownBuffers: readonly RegExp[] = [...families.flatMap(({ buffers }) => buffers), latentNames];

/** Name of a network for messages and reports: `rar` for a tokenizer, `rarb` for a variant. */
export function networkName({ family, variant }: NetworkId): string {
  return variant ?? family;
}

/** Name of a set: of its manifest, and of the folder where they differ. */
export function setName(set: ModelSet): string {
  const folder = basename(set.dir);
  return folder === set.manifest.name ? folder : `${set.manifest.name} (${folder})`;
}
