/**
 * A model set, opened once, that attributes batches of decoded images: the only file of the service that knows the pipeline.
 * It neither queues nor decodes, and it knows nothing of requests.
 */
import { type DeviceName, openDevice } from "../../core/open_device.ts";
import { type Device, disposeAll, keep, type Tensor } from "../../core/tensor/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { setName } from "../../models/model_set.ts";
import { levelOf, loadCalibration, requireCondition, type Rules, rulesOf } from "../decision/calibration_file.ts";
import { type Evidence, isUnreadable, type Settings } from "../evidence/evidence.ts";
import { extrasFor, joinExtras } from "../decision/extras.ts";
import type { ImageInput, Pixels } from "../images/load.ts";
import { chooseModels } from "../run/attribute.ts";
import { familyNames, familyOf, type Label } from "../labels.ts";
import { defaultInference } from "../likelihood/mod.ts";
import type { ExtraScores } from "../likelihood/variant_scorer.ts";
import { attribute, measure, variantsOf } from "../run/pipeline.ts";
import { planMemory } from "../run/memory_plan.ts";
import { openQuantizer } from "../quantisation/quantizers.ts";
import { type Quantize, tokenErrors } from "../signals/reconstruction.ts";
import { defaultMethod, type MethodName, methodOf, requireMethod, standardisedScore } from "../decision/methods.ts";
import { type LabelScores, labelScores } from "./label_scores.ts";
import { type GridMap, scaleMap, squareMap } from "./maps.ts";
import { LazyNetworks } from "./networks.ts";

export interface TracerOptions {
  /** Folder of the model set. Default: weights/official where it is complete, else weights/tiny. */
  readonly models?: string;
  readonly device: DeviceName;
  /** Whether a software adapter will do. */
  readonly allowSoftware: boolean;
  readonly threads?: number;
  readonly memoryBytes: number;
  readonly weightType: "f32" | "f16";
  /** Default: the best that the set is calibrated for. */
  readonly method?: MethodName;
  /** Verdicts below this confidence are marked `unsure`. */
  readonly unsureBelow: number;
  /** Largest number of images at once; memory may allow fewer. */
  readonly maxBatch: number;
  /** Load all transformers that fit before the first image. */
  readonly preload: boolean;
}

/** An image as the decoder leaves it. */
export interface DecodedImage {
  /** Of the file's bytes. */
  readonly sha256: string;
  readonly pixels: Pixels;
}

export interface Maps {
  /** Mean squared distance of the latent from its codes at every position, by the family decided for (else the nearer one). */
  readonly quantisation: GridMap & { readonly family: FamilyName };
  /** -log p of the tokens in nats under the variant decided for (of an outlier, the likeliest); null where none was run. */
  readonly surprise: (GridMap & { readonly variant: string }) | null;
}

export interface Attribution {
  /** The line that the pipeline writes about the image, but for its name. */
  readonly evidence: Omit<Evidence, "image">;
  readonly scores: LabelScores;
  readonly maps: Maps;
}

/** What is known of a tracer once it is open. */
export interface TracerInfo {
  readonly modelSet: { readonly name: string; readonly hash: string; readonly description: string | null };
  readonly variants: Readonly<Record<FamilyName, readonly string[]>>;
  readonly calibration: string | null;
  readonly method: MethodName;
  readonly settings: Settings;
  readonly device: { readonly kind: "cpu" | "webgpu"; readonly name: string; readonly software: boolean };
  /** Sides of the squares that images must be prepared for. */
  readonly imageSizes: readonly number[];
  readonly maxBatch: number;
  readonly memoryBytes: number;
}

/** What is seen of the batch in progress through the pipeline's hooks. */
interface Seen {
  /** Per family, [batch, positions]: errors of the first quantisation, which is that of the images themselves. */
  readonly errors: Partial<Record<FamilyName, Tensor>>;
  /** Tokens of an image by its hash. */
  readonly tokens: Map<string, Record<FamilyName, Int32Array>>;
  /** Surprises by variant and tokens. */
  readonly surprises: Map<string, Float32Array>;
}

/** Open it with `Tracer.open`. Calls of `attribute` must not overlap: the device works through one batch at a time. */
export class Tracer {
  #seen: Seen | undefined;

  private constructor(
    readonly info: TracerInfo,
    readonly device: Device,
    readonly networks: LazyNetworks,
    readonly rules: Rules,
    readonly options: TracerOptions,
    readonly patchNums: readonly number[],
    readonly plan: ReturnType<typeof planMemory>,
    readonly quantizers: Readonly<Record<FamilyName, Quantize>>,
    readonly extras: ExtraScores | undefined,
    readonly cleanup: AsyncDisposableStack,
  ) {}

  /** Opens the device and the tokenizers, and runs an image. Throws, leaving nothing open, on anything that is wrong. */
  static async open(options: TracerOptions, onPrepare?: (text: string) => void): Promise<Tracer> {
    const set = await chooseModels(options.models, { onNote: onPrepare });
    const variants = variantsOf(set);
    await set.check({ onNetwork: (title) => onPrepare?.(`checking ${title}`) });
    const { calibration, sha256 } = await loadCalibration(set);
    const rules = rulesOf(calibration);
    await using cleanup = new AsyncDisposableStack();
    const device = await openDevice(options.device, { threads: options.threads });
    cleanup.defer(() => device.close());
    if (device.info.software && !options.allowSoftware) {
      throw new Error(
        `device: expected a GPU, found the software adapter ${device.info.name}, which is slower than --device cpu; ` +
          "install the GPU's Vulkan driver (docs/deploy.md), or allow it with --allow-software",
      );
    }
    const method = options.method ?? defaultMethod(rules);
    requireMethod(method, rules);
    const { needs, condition: usual = "none", extras: ownExtras } = methodOf(method);
    const fitted = needs === undefined ? undefined : rules.classifiers;
    const condition = fitted?.condition ?? usual;
    if (condition === "given") throw new Error("method: expected one that needs no classes, which requests do not say");
    if (needs !== undefined) requireCondition(calibration, condition);
    const extras = extrasFor(ownExtras === undefined ? [] : [ownExtras], rules.classifiers);
    const { memoryBytes, weightType, maxBatch } = options;
    const { quantization } = calibration;
    const plan = planMemory(set, device, {
      memoryBytes,
      weightType,
      maxBatch,
      quantization,
      classes: condition !== "none",
    });
    const networks = await LazyNetworks.open(set, device, plan, {
      weightType,
      onLoad: (name) => onPrepare?.(`loading ${name}`),
    });
    cleanup.defer(() => networks.dispose());
    const quantizers = {} as Record<FamilyName, Quantize>;
    for (const name of familyNames) {
      const quantizer = await openQuantizer(quantization, networks.families[name]);
      cleanup.defer(() => quantizer.dispose());
      quantizers[name] = quantizer.quantize;
    }
    const info: TracerInfo = {
      modelSet: { name: setName(set), hash: set.hash, description: set.manifest.description ?? null },
      variants,
      calibration: sha256,
      method,
      settings: {
        condition,
        summaries: "summaries/1",
        ...condition === "infer" && { inference: fitted?.inference ?? defaultInference },
        ...extras !== undefined && { extras: extras.id },
        quantization,
        signals: levelOf(rules),
        device: device.info.kind,
        weightType,
      },
      device: { kind: device.info.kind, name: device.info.name, software: device.info.software },
      imageSizes: [...new Set(familyNames.map((name) => networks.families[name].imageSize))],
      maxBatch: Math.min(maxBatch, plan.tokenizerBatch),
      memoryBytes: plan.memoryBytes,
    };
    const { patchNums } = set.manifest.families.var.tokenizer.config;
    const tracer = new Tracer(
      ...[info, device, networks, rules, options, patchNums, plan, quantizers, extras] as const,
      cleanup.move(),
    );
    try {
      onPrepare?.("warming up");
      await tracer.#warmUp();
    } catch (error) {
      await tracer.close();
      throw error;
    }
    return tracer;
  }

  /** One grey image through the tokenizers, and with `preload` through every transformer: kernels are built before ready. */
  async #warmUp(): Promise<void> {
    const bySize = new Map(this.info.imageSizes.map((size) => [size, new Float32Array(size * size * 3).fill(0.5)]));
    const grey = { sha256: "0".repeat(64), pixels: { width: 1, height: 1, bySize } };
    const wanted = this.options.preload ? familyNames : [];
    for await (const line of measure([input(grey, 0)], () => wanted, this.#streamOptions())) {
      if (isUnreadable(line)) throw new Error(`warm-up: ${line.error.message}`);
    }
  }

  /**
   * Attributes 1 to `info.maxBatch` images, in their order; `onProgress` hears the share done, 0 to 1. What an image gets
   * does not depend on the others.
   */
  async attribute(images: readonly DecodedImage[], onProgress?: (done: number) => void): Promise<Attribution[]> {
    const { maxBatch } = this.info;
    if (images.length < 1 || images.length > maxBatch) {
      throw new Error(`attribute: expected 1 to ${maxBatch} images, got ${images.length}`);
    }
    const seen: Seen = this.#seen = { errors: {}, tokens: new Map(), surprises: new Map() };
    let work = 0;
    try {
      const lines: Evidence[] = [];
      const stream = attribute(images.map(input), {
        ...this.#streamOptions(),
        rules: this.rules,
        calibrationHash: this.info.calibration,
        method: this.info.method,
        unsureBelow: this.options.unsureBelow,
        onWork: (share) => onProgress?.((work += share) / images.length),
      });
      for await (const line of stream) {
        if (isUnreadable(line)) throw new Error(`attribute: ${line.error.message}`);
        lines.push(line);
      }
      const [rar, other] = await Promise.all(familyNames.map((name) => seen.errors[name]!.data()));
      return lines.map((line, i) => this.#result(line, i, images.length, { rar, var: other }, seen));
    } finally {
      this.#seen = undefined;
      disposeAll(seen.errors);
    }
  }

  #result(
    line: Evidence,
    i: number,
    batch: number,
    errors: Readonly<Record<FamilyName, Float32Array>>,
    seen: Seen,
  ): Attribution {
    const scores = labelScores(line, this.rules);
    const distance = (name: FamilyName) => standardisedScore(line.families, this.rules, name);
    const family = line.family ?? familyNames.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    const each = errors[family].length / batch;
    const quantisation = squareMap(errors[family].subarray(i * each, (i + 1) * each));
    // An outlier has no variant of its own; where a method runs all of them, the likeliest one is the next best.
    const variant = (Object.keys(line.variants) as Label[])
      .reduce<Label | undefined>((a, b) => a === undefined || scores[b] > scores[a] ? b : a, undefined);
    const shown = line.family === null ? variant : line.label;
    const own = shown && seen.tokens.get(line.sha256)?.[familyOf(shown)];
    const values = own && seen.surprises.get(key(shown, own));
    const surprise = values && (familyOf(shown) === "var" ? scaleMap(values, this.patchNums) : squareMap(values));
    const { image: _, ...evidence } = line;
    return {
      evidence,
      scores,
      maps: {
        quantisation: { family, ...quantisation },
        surprise: surprise ? { variant: shown, ...surprise } : null,
      },
    };
  }

  #streamOptions() {
    const watched = (name: FamilyName): Quantize => (f) => {
      const result = this.quantizers[name](f);
      const seen = this.#seen;
      if (seen && seen.errors[name] === undefined) seen.errors[name] = keep(tokenErrors(f, result.fHat));
      return result;
    };
    const watcher: ExtraScores = {
      id: "",
      // Adds no number to the evidence: it only looks at what the scorer has at hand.
      summarise: ({ conditional }, tokens, variant) => {
        this.#seen?.surprises.set(key(variant, tokens), conditional.map((value) => Math.max(0, -value)));
        return {};
      },
    };
    return {
      device: this.device,
      models: this.networks,
      plan: this.plan,
      modelSet: this.info.modelSet.hash,
      variants: this.info.variants,
      settings: this.info.settings,
      quantizers: { rar: watched("rar"), var: watched("var") },
      extras: joinExtras([...this.extras === undefined ? [] : [this.extras], watcher]),
      remember: (measured: readonly { sha256: string; tokens?: Record<FamilyName, Int32Array> }[]) => {
        for (const { sha256, tokens } of measured) if (tokens) this.#seen?.tokens.set(sha256, tokens);
        return Promise.resolve();
      },
    };
  }

  async close(): Promise<void> {
    await this.cleanup.disposeAsync();
  }
}

function input(decoded: DecodedImage, i: number): ImageInput {
  return { path: "", imageName: String(i), decoded };
}

function key(variant: string, tokens: Int32Array): string {
  return `${variant}:${tokens.join(",")}`;
}
