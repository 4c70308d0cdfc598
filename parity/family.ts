/**
 * What parity needs of a model family: the cases that are the family's alone, and its part in the cases that every
 * family has (signals, fine-tuning). A family fills it in parity/<family>/part.ts; families.ts lists them.
 */
import type { Quantize } from "../attribution/quantisation/quantize.ts";
import type { Family, ImageTokenizer } from "../models/family.ts";
import type { CaseManifest } from "./case.ts";
import type { Compute } from "./compute.ts";

/** A kind of case, recognised by its name and by a network in its configuration. */
export interface FamilyCase {
  /** Of the case's name. */
  readonly name: RegExp;
  /** A key of the manifest's `config`. */
  readonly network: string;
  readonly compute: Compute;
}

/** A way of quantising in the case of signals. */
export interface NamedQuantiser {
  /** Of the names of its tensors. */
  readonly prefix: string;
  readonly quantize: Quantize;
  /** Frees what it keeps on the device. */
  dispose?(): void;
}

/** A family's part in parity. */
export interface FamilyParity {
  readonly family: Family;
  /** The cases that are the family's alone. The first that fits is computed. */
  readonly cases: readonly FamilyCase[];
  /** The tokenizer's configuration that a manifest states; null where it states none of the family. */
  tokenizerConfig(manifest: CaseManifest): unknown;
  /** How the case of signals quantises, one after the other. */
  quantisers(tokenizer: ImageTokenizer, manifest: CaseManifest): Iterable<NamedQuantiser>;
}
