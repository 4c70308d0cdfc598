/**
 * The networks of a manifest as rows: what each is called, which files it comes from, and which tensors it needs.
 * Nothing here opens a file; model_set.ts does.
 */
import { sha256Hex } from "../util/hash.ts";
import { canonicalJson } from "../util/json.ts";
import { version } from "../util/version.ts";
import type { FamilyName } from "./family.ts";
import type { Activations } from "./footprint.ts";
import { familiesOf, type FileEntry, type Manifest, type WeightEntry } from "./manifest.ts";
import { familyNamed } from "./registry.ts";
import type { WeightSpec } from "./weights.ts";

/** A network of a set: the tokenizer of a family, or a variant. */
export interface NetworkId {
  /** Its family. */
  readonly family: FamilyName;
  /** Name of the variant; undefined for the family's tokenizer. */
  readonly variant?: string;
}

/** A network of a manifest. */
export interface NetworkRow {
  readonly id: NetworkId;
  /** For messages: `RAR transformer rarb`. */
  readonly title: string;
  readonly entry: WeightEntry;
  /** Laid over the entry's tensors. */
  readonly encoder?: FileEntry;
  readonly specs: () => readonly WeightSpec[];
  readonly activations: Activations;
}

/** The files that a network comes from; none for weights that are computed. */
export function filesOf({ entry, encoder }: NetworkRow): FileEntry[] {
  return [..."file" in entry ? [entry] : [], ...encoder === undefined ? [] : [encoder]];
}

/** The fact that files of these hashes have the tensors that a network needs. Nothing else can change that. */
export async function wholeFact(row: NetworkRow): Promise<string> {
  const files = filesOf(row).map(({ sha256, prefix }) => [sha256, prefix]);
  const about = JSON.stringify([version, row.title, files, row.specs().map(({ name, shape }) => [name, shape])]);
  return `network ${await sha256Hex(new TextEncoder().encode(about))}`;
}

/**
 * The family whose tokenizer is that of another family as well, from the same files: it need not be loaded twice.
 * Undefined for most.
 */
export function sharedTokenizer({ families }: Manifest, name: FamilyName): FamilyName | undefined {
  const { shares } = familyNamed(name);
  if (shares === undefined || families[shares.family] === undefined) return undefined;
  const comparable = ({ tokenizer, encoder }: Manifest["families"][string]) => {
    const config = Object.entries(tokenizer.config as object).filter(([field]) => !shares.differs.includes(field));
    return canonicalJson({ tokenizer: { ...tokenizer, config: Object.fromEntries(config) }, encoder: encoder ?? null });
  };
  return comparable(families[name]) === comparable(families[shares.family]) ? shares.family : undefined;
}

/** The networks of a manifest, tokenizers first. */
export function networkRows(manifest: Manifest): NetworkRow[] {
  const tokenizers: NetworkRow[] = [], transformers: NetworkRow[] = [];
  for (const name of familiesOf(manifest)) {
    const family = familyNamed(name);
    const { tokenizer, encoder, variants } = manifest.families[name];
    tokenizers.push({
      id: { family: name },
      title: `${family.title} tokenizer`,
      entry: tokenizer,
      encoder,
      specs: () => family.tokenizerSpecs(tokenizer.config),
      activations: family.tokenizerFacts(tokenizer.config).activations,
    });
    for (const [variant, entry] of Object.entries(variants)) {
      transformers.push({
        id: { family: name, variant },
        title: `${family.title} transformer ${variant}`,
        entry,
        specs: () => family.variantSpecs(entry.config),
        activations: family.variantFacts(entry.config).activations,
      });
    }
  }
  return [...tokenizers, ...transformers];
}
