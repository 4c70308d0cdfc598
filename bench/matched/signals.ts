/**
 * How hard the tokens of a set are to find: true tokens found again, and how well single signals tell a family's images
 * from outliers, with the encoders that tokenizers were trained with and with inverse decoders.
 */
import { join } from "node:path";
import { toValueRange } from "../../attribution/images/load.ts";
import { auc } from "../../attribution/metrics/mod.ts";
import { defaultQuantizer, openQuantizer, type Quantizer } from "../../attribution/quantisation/quantizers.ts";
import type { FamilyEvidence } from "../../attribution/signals/family_evidence.ts";
import { measureSignals } from "../../attribution/signals/measure.ts";
import { type SignalName, signalTable } from "../../attribution/signals/table.ts";
import { type Device, disposeAll, fromArray, keep, scope, type Tensor } from "../../core/tensor/mod.ts";
import { type ImageTokenizer, scaleStarts } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { isStranger, readDraws, readOutliers, readPixels } from "./draws.ts";

/** Which encoder finds the tokens: the one that the tokenizer was trained with, or the set's inverse decoder. */
export type EncoderKind = "original" | "inverse";

/** The signals that public figures exist of. */
export const comparedSignals: readonly SignalName[] = ["quantLoss", "encLossUncalibrated", "encLoss", "changedTokens"];

/** AUC of a signal, the family's own images against others. */
export interface Separation {
  /** Against photographs that nothing was trained on. */
  readonly photographs: number;
  /** Against outliers of all sources but those that went through a tokenizer of the set. */
  readonly outliers: number;
}

/** The figures of a family with one of its encoders. */
export interface SignalFigures {
  readonly family: string;
  readonly encoder: EncoderKind;
  /** Name of the quantiser. */
  readonly quantizer: string;
  /** Numbers of images: of the family, photographs, outliers of `Separation.outliers`. */
  readonly images: { readonly own: number; readonly photographs: number; readonly outliers: number };
  /** Share of the true tokens that are found, 0 to 1: by the quantiser, and by nearest codes. */
  readonly recovered: number;
  readonly recoveredGreedy: number;
  /** By scale, from the first; a single one for a family without scales. */
  readonly byScale: readonly number[];
  readonly auc: Readonly<Record<string, Separation>>;
}

/** What is measured. */
export interface SignalOptions {
  readonly device: Device;
  readonly set: ModelSet;
  /** The dataset. */
  readonly data: string;
  /** Folder with the draws of the dataset's splits. */
  readonly draws: string;
  /** Images of each variant, and most of each source of outliers. */
  readonly each: number;
  readonly log: (line: string) => void;
}

/** Images per pass. */
const batch = 16;

/** The figures of all families: with original encoders, and with inverse decoders where the set has them. */
export async function signalFigures(options: SignalOptions): Promise<SignalFigures[]> {
  const { device, set, log } = options, figures: SignalFigures[] = [];
  for (const family of set.families) {
    const kinds: EncoderKind[] = ["original", ...set.manifest.families[family].encoder ? ["inverse"] as const : []];
    for (const encoder of kinds) {
      const tokenizer = await set.loadTokenizer(device, family, { originalEncoder: encoder === "original" });
      const quantizer = await openQuantizer(defaultQuantizer(set), tokenizer);
      try {
        const result = await figuresOf(family, encoder, { ...options, tokenizer, quantizer });
        figures.push(result);
        log(`${family}, ${encoder} encoder: ${(100 * result.recovered).toFixed(1)} % of the tokens`);
      } finally {
        quantizer.dispose();
        tokenizer.dispose();
      }
    }
  }
  return figures;
}

type Loaded = SignalOptions & { readonly tokenizer: ImageTokenizer; readonly quantizer: Quantizer };

async function figuresOf(family: string, encoder: EncoderKind, options: Loaded): Promise<SignalFigures> {
  const { set, data, draws, each, tokenizer } = options;
  const own = await readDraws(set, family, join(draws, "test"), each);
  const outliers = (await readOutliers(data, each)).filter(({ source }) => !isStranger(source));
  const ofOwn = await measure(own.map(({ path }) => path), options);
  const ofOthers = await measure(outliers.map(({ path }) => path), options);
  const starts = scaleStarts(tokenizer.patchNums);
  const share = (tokens: readonly Int32Array[], from = 0, to = tokenizer.tokenCount) => {
    let hits = 0;
    own.forEach((image, i) => {
      for (let t = from; t < to; t++) hits += Number(tokens[i][t] === image.tokens[t]);
    });
    return hits / own.length / (to - from);
  };
  const photographs = outliers.map(({ source }) => source === "photograph");
  const separation = (name: SignalName): Separation => {
    const { score } = signalTable[name], others = ofOthers.rows.map((row) => score(row)!);
    const members = ofOwn.rows.map((row) => score(row)!);
    return { photographs: auc(members, others.filter((_, i) => photographs[i])), outliers: auc(members, others) };
  };
  return {
    ...{ family, encoder, quantizer: tokenizer.residual === null ? "greedy" : defaultQuantizer(set) },
    images: { own: own.length, photographs: photographs.filter(Boolean).length, outliers: outliers.length },
    recovered: share(ofOwn.tokens),
    recoveredGreedy: share(ofOwn.greedy),
    byScale: tokenizer.patchNums.map((_, s) => share(ofOwn.tokens, starts[s], starts[s + 1])),
    auc: Object.fromEntries(comparedSignals.map((name) => [name, separation(name)])),
  };
}

/** Tokens of images by the quantiser and by nearest codes, and their signals by the names of evidence. */
interface MeasuredImages {
  readonly tokens: Int32Array[];
  readonly greedy: Int32Array[];
  readonly rows: FamilyEvidence[];
}

async function measure(
  paths: readonly string[],
  { device, tokenizer, quantizer }: Loaded,
): Promise<MeasuredImages> {
  const { imageSize: size, valueRange, tokenCount } = tokenizer;
  const all: MeasuredImages = { tokens: [], greedy: [], rows: [] };
  for (let at = 0; at < paths.length; at += batch) {
    const part = paths.slice(at, at + batch);
    const pixels = await Promise.all(part.map((path) => readPixels(path, size)));
    let greedy: Tensor | undefined;
    const { tokens, signals } = scope(() => {
      const x = fromArray(device, toValueRange(pixels, valueRange), [part.length, size, size, 3]);
      // The first latent that is quantised is the image's.
      const quantize: Quantizer["quantize"] = (f) => {
        greedy ??= keep(scope(() => tokenizer.quantize(f).tokens));
        return quantizer.quantize(f);
      };
      return measureSignals(tokenizer, x, "all", quantize);
    });
    const names = Object.keys(signals) as (keyof typeof signals)[];
    const values = await Promise.all(names.map((name) => signals[name]!.data()));
    const ids = await tokens.ints(), nearest = await greedy!.ints();
    disposeAll([tokens, signals]);
    greedy!.dispose();
    part.forEach((_, i) => {
      all.tokens.push(ids.slice(i * tokenCount, (i + 1) * tokenCount));
      all.greedy.push(nearest.slice(i * tokenCount, (i + 1) * tokenCount));
      all.rows.push(Object.fromEntries(names.map((name, k) => [name, values[k][i]])) as unknown as FamilyEvidence);
    });
  }
  return all;
}
