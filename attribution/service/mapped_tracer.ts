/**
 * A tracer for batches of decoded images that also says where in each image the evidence lies: the only file of the
 * service that knows the pipeline. It neither queues nor decodes, and it knows nothing of requests.
 */
import { disposeAll, keep, type Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { judging, standardisedScore } from "../decision/methods.ts";
import { type Evidence, isUnreadable } from "../evidence/evidence.ts";
import { ownDecoder } from "../images/decoder/mod.ts";
import type { ImageInput, Pixels } from "../images/load.ts";
import type { Label } from "../labels.ts";
import { measure } from "../run/pipeline.ts";
import { fittedOf, Tracer, type TracerInfo, type TracerOptions } from "../run/tracer.ts";
import { chooseModels } from "../run/choose_models.ts";
import { transformerOperations } from "../likelihood/operations.ts";
import { productRate } from "./expected_time.ts";
import { tokenErrors } from "../signals/reconstruction.ts";
import { type LabelScores, labelScores } from "./label_scores.ts";
import { type GridMap, tokenMap } from "./maps.ts";
import { type TypicalValues, typicalValues } from "./typical.ts";

/** How the service opens its tracer: all of it can be sent to a worker. */
export type MappedTracerOptions =
  & Pick<
    TracerOptions,
    "device" | "allowSoftware" | "threads" | "memoryBytes" | "weightType" | "method" | "search" | "unsureBelow"
  >
  & Pick<TracerOptions, "maxBatch" | "preload">
  & { readonly models?: string };

/** An image as the decoder leaves it. */
export interface DecodedImage {
  /** Of the file's bytes. */
  readonly sha256: string;
  readonly pixels: Pixels;
}

/** What the service says of itself. */
export interface ServedInfo extends TracerInfo {
  /** What is typical of own images. */
  readonly typical: TypicalValues;
  /** Why the calibration should be trusted less than others. */
  readonly cautions: readonly string[];
}

/** Where in an image the evidence lies. */
export interface Maps {
  /** Mean squared distance of the latent from its codes at every position, by the family decided for (else the nearest). */
  readonly quantisation: GridMap & { readonly family: FamilyName };
  /** -log p of the tokens in nats under the variant decided for (of an outlier, the likeliest); null where none was run. */
  readonly surprise: (GridMap & { readonly variant: string }) | null;
}

/** What is answered about an image. */
export interface MappedVerdict {
  /** The line that the pipeline writes about the image, but for its name. */
  readonly evidence: Omit<Evidence, "image">;
  readonly scores: LabelScores;
  readonly maps: Maps;
}

/** What the observer has seen of the batch in progress. */
interface Seen {
  /**
   * Per family, [images, positions]: errors of the first quantisation, which is that of the images themselves that the
   * family judges.
   */
  readonly errors: Record<FamilyName, Tensor>;
  /** Tokens of an image by its hash. */
  readonly tokens: Map<string, Record<FamilyName, Int32Array>>;
  /** Surprises by variant and tokens. */
  readonly surprises: Map<string, Float32Array>;
}

/** Open it with `MappedTracer.open`. Calls of `attribute` must not overlap: the device works on one batch at a time. */
export class MappedTracer implements AsyncDisposable {
  readonly tracer: Tracer;
  /** What an image that every family might have made is expected to take, as measured when it was opened. */
  readonly secondsPerImage: number;
  readonly #watch: { seen?: Seen };

  private constructor(tracer: Tracer, watch: { seen?: Seen }, secondsPerImage: number) {
    this.tracer = tracer;
    this.#watch = watch;
    this.secondsPerImage = secondsPerImage;
  }

  get info(): ServedInfo {
    const { info, labels, rules } = this.tracer;
    return { ...info, typical: typicalValues(fittedOf(this.tracer), labels), cautions: rules.cautions ?? [] };
  }

  /** Opens the tracer and runs an image, so that kernels are built. Throws, leaving nothing open, as `Tracer.open` does. */
  static async open(options: MappedTracerOptions, onPrepare?: (text: string) => void): Promise<MappedTracer> {
    const watch: { seen?: Seen } = {};
    const observer = {
      onQuantised(family: FamilyName, f: Tensor, fHat: Tensor) {
        const { seen } = watch;
        if (seen !== undefined && seen.errors[family] === undefined) seen.errors[family] = keep(tokenErrors(f, fHat));
      },
      onMeasured(measured: readonly { sha256: string; tokens?: Record<FamilyName, Int32Array> }[]) {
        for (const { sha256, tokens } of measured) if (tokens) watch.seen?.tokens.set(sha256, tokens);
      },
      onScores(variant: string, tokens: Int32Array, { conditional }: { conditional: Float32Array }) {
        watch.seen?.surprises.set(key(variant, tokens), conditional.map((value) => Math.max(0, -value)));
      },
    };
    const models = await chooseModels(options.models, { onNote: onPrepare });
    const tracer = await Tracer.open({ ...options, models, observer, decoder: ownDecoder }, {
      onNote: onPrepare,
      onPrepare,
    });
    let seconds: number;
    try {
      if (tracer.info.settings.condition === "given") {
        throw new Error("method: expected one that needs no classes, which requests do not say");
      }
      onPrepare?.("warming up");
      const tokenizers = await warmUp(tracer, options.preload ?? false);
      const { device } = tracer.run;
      seconds = tokenizers + transformerOperations(models, tracer.info.settings, device) / await productRate(device);
      // An image that is searched takes twice as much at most with quick, and ten times with full.
      if (tracer.info.search !== "off") seconds *= 2;
    } catch (error) {
      await tracer[Symbol.asyncDispose]();
      throw error;
    }
    return new MappedTracer(tracer, watch, seconds);
  }

  /**
   * Attributes 1 to `info.maxBatch` images, in their order; `onProgress` hears the share done, 0 to 1. An image's
   * result does not depend on the others.
   */
  async attribute(
    images: readonly DecodedImage[],
    onProgress?: (done: number) => void,
  ): Promise<MappedVerdict[]> {
    const { maxBatch } = this.tracer.info;
    if (images.length < 1 || images.length > maxBatch) {
      throw new RangeError(`attribute: expected 1 to ${maxBatch} images, got ${images.length}`);
    }
    const seen: Seen = this.#watch.seen = { errors: {}, tokens: new Map(), surprises: new Map() };
    let work = 0;
    try {
      const lines: Evidence[] = [];
      const onWork = (share: number) => onProgress?.((work += share) / images.length);
      for await (const line of this.tracer.attribute(images.map(toInput), { onWork })) {
        if (isUnreadable(line)) throw new Error(`attribute: ${line.error.message}`);
        lines.push(line);
      }
      const errors: Record<FamilyName, Float32Array> = {};
      for (const [family, tensor] of Object.entries(seen.errors)) errors[family] = await tensor.data();
      return lines.map((line) => {
        const { image: _, ...evidence } = line;
        const scores = labelScores(line, this.tracer.rules);
        const quantisation = this.#quantisation(line, lines, errors);
        return { evidence, scores, maps: { quantisation, surprise: this.#surprise(line, scores, seen) } };
      });
    } finally {
      this.#watch.seen = undefined;
      disposeAll(seen.errors);
    }
  }

  #quantisation(
    line: Evidence,
    batch: readonly Evidence[],
    errors: Readonly<Record<FamilyName, Float32Array>>,
  ): Maps["quantisation"] {
    const { rules } = this.tracer, { family: decided, families } = line;
    const distance = (name: FamilyName) => standardisedScore(families, rules, name);
    const family = decided ?? judging(families, rules).reduce((a, b) => (distance(b) < distance(a) ? b : a));
    const judged = batch.filter(({ families }) => family in families), i = judged.indexOf(line);
    const positions = errors[family].length / judged.length;
    const values = errors[family].subarray(i * positions, (i + 1) * positions);
    return { family, ...tokenMap(values, [Math.sqrt(positions)]) };
  }

  #surprise(line: Evidence, scores: LabelScores, { tokens, surprises }: Seen): Maps["surprise"] {
    // An outlier has no variant; where a method runs all of them, the likeliest one is the next best.
    const likeliest = Object.keys(line.variants)
      .reduce<Label | undefined>((a, b) => a === undefined || scores[b] > scores[a] ? b : a, undefined);
    const variant = line.family === null ? likeliest : line.label;
    const family = variant && this.tracer.labels.familyOf(variant);
    const ids = family && tokens.get(line.sha256)?.[family];
    const values = ids && surprises.get(key(variant, ids));
    if (!values) return null;
    return { variant, ...tokenMap(values, this.tracer.run.pool.tokenizers[family].patchNums) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tracer[Symbol.asyncDispose]();
  }
}

/**
 * One grey image through the tokenizers, and with `everything` through every transformer: kernels are built before ready.
 * Returns the seconds that the tokenizers take for an image when kernels are built.
 */
async function warmUp({ info, labels, run }: Tracer, everything: boolean): Promise<number> {
  const bySize = new Map(info.imageSizes.map((size) => [size, new Float32Array(size * size * 3).fill(0.5)]));
  const grey = { sha256: "0".repeat(64), pixels: { width: 1, height: 1, bySize } };
  const wanted = everything ? labels.families : [];
  const options = { ...run.measuring, search: undefined };
  const pass = async (families: readonly FamilyName[]) => {
    const start = performance.now();
    for await (const line of measure([toInput(grey, 0)], () => families, options)) {
      if (isUnreadable(line)) throw new Error(`warm-up: ${line.error.message}`);
    }
    return (performance.now() - start) / 1000;
  };
  const first = await pass(wanted);
  // Where it is slow because the device is, another pass would only take as long again.
  return first < 5 ? await pass([]) : first;
}

function toInput(decoded: DecodedImage, i: number): ImageInput {
  return { imageName: String(i), decoded };
}

function key(variant: string, tokens: Int32Array): string {
  return `${variant}:${tokens.join(",")}`;
}
