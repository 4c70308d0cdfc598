/** Scores generated images by the pipeline, which is told of tokens and classes that no program knows. */
import { isUnreadable, type MeasuredLine } from "../../attribution/evidence/evidence.ts";
import { readContent } from "../../attribution/images/load.ts";
import type { InferenceSettings } from "../../attribution/likelihood/class_inference.ts";
import { defaultQuantizer } from "../../attribution/quantisation/quantizers.ts";
import type { Measured } from "../../attribution/run/image_state.ts";
import { openRun } from "../../attribution/run/open_run.ts";
import { measure, type MeasureOptions } from "../../attribution/run/pipeline.ts";
import type { ModelSet } from "../../models/model_set.ts";
import type { Drawn } from "./draws.ts";

/** What is known of an image. */
export interface Known {
  readonly tokens: boolean;
  readonly class: boolean;
}

/** A generated image whose tokens were scored. */
export interface Scored {
  readonly image: Drawn;
  readonly line: MeasuredLine;
}

/** What the tokenizers found, by the sha256 of the images. */
export type Found = Map<string, Measured>;

/** Scores images of which so much is known. */
export type Score = (images: readonly Drawn[], known: Known) => Promise<Scored[]>;

/** With what is scored. */
export interface ScoringOptions {
  readonly set: ModelSet;
  readonly family: string;
  readonly threads?: number;
  /** Kept for further cases. */
  readonly found: Found;
  /** How classes are inferred where the true one is not known. */
  readonly inference?: InferenceSettings;
  readonly log: (line: string) => void;
}

/**
 * Opens the networks. The first pass over an image keeps what the tokenizers found, and has to be one in which nothing is
 * known; for a case in which more is known, the pipeline is told that it has measured the true tokens, or classes, before.
 */
export async function withScoring(
  { set, family, threads, found, inference, log }: ScoringOptions,
  body: (score: Score) => Promise<void>,
): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const what = {
    quantization: defaultQuantizer(set),
    signals: "core",
    scoring: { condition: "infer", inference },
  } as const;
  const run = await openRun(set, what, { device: "cpu", threads }, { onPrepare: log }, cleanup);
  await body(async (images, known) => {
    const byHash = new Map<string, Drawn>();
    for (const image of images) {
      const { sha256 } = await readContent({ imageName: image.picture, path: image.path });
      if ((known.tokens || known.class) && !found.has(sha256)) {
        throw new Error(`${image.picture}: expected a pass in which nothing is known first`);
      }
      byHash.set(sha256, image);
    }
    const hooks: Pick<MeasureOptions, "recall" | "remember"> = {
      recall: (sha256) => Promise.resolve(knowing(found.get(sha256), byHash.get(sha256), family, known)),
      remember: (measured) => {
        for (const item of measured) {
          if (item.families !== undefined && !found.has(item.sha256)) found.set(item.sha256, { ...item, variants: {} });
        }
        return Promise.resolve();
      },
    };
    const inputs = images.map(({ picture, path }) => ({ imageName: picture, path }));
    const scored: Scored[] = [];
    for await (const line of measure(inputs, () => [family], { ...run.measuring, ...hooks })) {
      if (isUnreadable(line)) throw new Error(`${line.image}: ${line.error.message}`);
      scored.push({ image: images[scored.length], line });
    }
    return scored;
  });
}

/** What was measured of an image, with what is known of it in place of what was found. */
function knowing(
  measured: Measured | undefined,
  image: Drawn | undefined,
  family: string,
  known: Known,
): Measured | undefined {
  if (measured?.tokens === undefined || image === undefined) return undefined;
  const tokens = known.tokens ? { ...measured.tokens, [family]: image.tokens } : measured.tokens;
  const given = known.class && image.class !== null
    ? { classes: { [family]: { top: [{ class: image.class, weight: 1 }], cost: 0 } } }
    : {};
  const { classes: _, starts: __, ...rest } = measured;
  return { ...rest, tokens, ...given, variants: {}, timings: { read: 0, families: 0, variants: 0 } };
}
