/** The answers of the service, as schemas from which its types and its OpenAPI document come. */
import * as v from "npm:valibot@1.5.0";
import { findings } from "../evidence/evidence.ts";
import { evidenceSchema, settingsSchema } from "../evidence/schemas.ts";
import { findingWords, outlierMeaning } from "../evidence/words.ts";
import { searchLevels } from "../search/candidates.ts";
import { poseSchema } from "../images/pose.ts";

const nonNegative = v.pipe(v.number(), v.minValue(0));
const probability = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const label = v.pipe(v.string(), v.description(`A variant of the model set, or \`outlier\`: ${outlierMeaning}`));
const phrases = v.array(v.string());
const modelSet = v.object({
  name: v.string(),
  hash: v.pipe(v.string(), v.description("Identifies what the networks compute")),
  description: v.nullable(v.string()),
});

const grid = {
  width: v.pipe(v.number(), v.integer()),
  height: v.pipe(v.number(), v.integer()),
  values: v.pipe(v.array(v.number()), v.description("Row by row, over the centred square of the image")),
};

const maps = v.object({
  quantisation: v.pipe(
    v.object({ family: v.string(), ...grid }),
    v.description("Mean squared distance of the latent from its codes at every position"),
  ),
  surprise: v.pipe(
    v.nullable(v.object({ variant: v.string(), ...grid })),
    v.description("-log p of the tokens in nats under the variant decided for; null where no variant was run"),
  ),
});

const finding = v.pipe(
  v.picklist(findings),
  v.description(findings.map((name) => `${name}: ${findingWords[name].explanation}`).join(" ")),
);

/** What was decided about an image, in words and numbers. */
const decisionSchema = v.object({
  finding,
  title: v.pipe(v.string(), v.description("The finding in a few words, with the names of model or family")),
  explanation: v.pipe(v.string(), v.description("What the finding means, in a sentence")),
  label,
  labelMeaning: v.string(),
  confidence: v.pipe(probability, v.description("How often such verdicts are right")),
  unsure: v.pipe(v.boolean(), v.description("Whether the confidence is below the server's limit")),
  reasons: v.pipe(phrases, v.description("Why, in sentences")),
  log10LikelihoodRatio: v.pipe(
    v.nullable(v.number()),
    v.description("Of the likeliest model against outlier, whatever share of outliers is expected; null without one"),
  ),
  support: v.pipe(v.nullable(v.string()), v.description("The ratio in words, by ENFSI's verbal scale")),
  missRate: v.pipe(
    v.nullable(probability),
    v.description("Share of generated images, processed like this one, in which nothing is found; null if not known"),
  ),
  history: v.pipe(phrases, v.description("What happened to the image, as far as file and pixels show")),
  pose: v.pipe(
    v.nullable(poseSchema),
    v.description(
      "Frame of the generated image in the stored one, in its pixels, and how it was mirrored and turned; null where " +
        "it was found as it is, or not at all",
    ),
  ),
  found: v.pipe(phrases, v.description("The pose in words")),
  scores: v.pipe(
    v.record(v.string(), probability),
    v.description(
      "A score for each label that the image can have, adding up to 1: models for images of its size, and outlier",
    ),
  ),
});

/** What a line of evidence has beyond the decision. */
const restSchema = v.omit(evidenceSchema, [
  ...["image", "finding", "label", "confidence", "unsure", "reasons"] as const,
  ...["log10LikelihoodRatio", "missRate", "pose", "scores"] as const,
]);

export const verdictSchema = v.object({
  index: v.pipe(v.number(), v.integer(), v.description("Place of the image in the request")),
  name: v.pipe(v.nullable(v.string()), v.description("File name of a multipart part")),
  verdict: decisionSchema,
  evidence: v.pipe(restSchema, v.description("The numbers that the verdict rests on")),
  maps: v.optional(maps),
});

export const errorSchema = v.object({
  error: v.object({
    code: v.pipe(v.string(), v.description("Stable name of the kind of error")),
    message: v.string(),
  }),
});

const failedSchema = v.object({
  index: v.pipe(v.number(), v.integer()),
  name: v.nullable(v.string()),
  ...errorSchema.entries,
});

export const attributionSchema = v.object({
  id: v.pipe(v.string(), v.description("Of this request, as in the header X-Request-Id")),
  modelSet,
  images: v.array(v.union([verdictSchema, failedSchema])),
  timings: v.pipe(
    v.object({ receive: nonNegative, decode: nonNegative, wait: nonNegative, device: nonNegative, total: nonNegative }),
    v.description("Milliseconds; the device's time is that of the whole batch"),
  ),
});

const typical = v.record(
  v.string(),
  v.record(
    v.string(),
    v.object({ title: v.string(), meaning: v.string(), low: v.number(), middle: v.number(), high: v.number() }),
  ),
);

export const modelsSchema = v.object({
  version: v.pipe(v.string(), v.description("Of the program")),
  modelSet,
  variants: v.pipe(v.record(v.string(), v.array(v.string())), v.description("By family")),
  labels: v.array(label),
  method: v.string(),
  calibration: v.nullable(v.string()),
  settings: settingsSchema,
  search: v.pipe(v.picklist(["off", ...searchLevels]), v.description("How thoroughly other poses are searched")),
  unsureBelow: v.pipe(probability, v.description("Verdicts with a confidence below this are marked unsure")),
  findings: v.pipe(
    v.record(v.picklist(findings), v.object({ title: v.string(), explanation: v.string() })),
    v.description("What each finding is called, and what it means"),
  ),
  typical: v.pipe(
    v.object({ families: typical, variants: typical }),
    v.description("Ranges in which 19 of 20 own images of a family or variant have a number of the evidence"),
  ),
  cautions: v.pipe(phrases, v.description("Why the calibration should be trusted less than others")),
  notes: v.pipe(phrases, v.description("How verdicts are to be read, and what they cannot say")),
  device: v.object({ kind: v.picklist(["cpu", "webgpu"]), name: v.string(), software: v.boolean() }),
  imageSizes: v.array(v.number()),
  limits: v.object({
    bodyBytes: v.number(),
    pixels: v.number(),
    images: v.number(),
    queue: v.number(),
    batch: v.number(),
    deadlineMs: v.number(),
  }),
});

export const statusSchema = v.object({
  status: v.picklist(["ok", "starting", "ready", "draining", "failed"]),
  detail: v.optional(v.string()),
});

/** Data of the server-sent events, by their names; the last one is `result` or `error`. */
export const eventSchemas = {
  queued: v.object({ id: v.string(), images: v.number(), ahead: v.number() }),
  progress: v.object({ index: v.number(), done: probability }),
  result: attributionSchema,
  error: errorSchema,
} as const;

export type AttributionBody = v.InferOutput<typeof attributionSchema>;
export type VerdictBody = v.InferOutput<typeof verdictSchema>;
export type ImageResult = AttributionBody["images"][number];
export type ModelsBody = v.InferOutput<typeof modelsSchema>;
export type StatusBody = v.InferOutput<typeof statusSchema>;
export type ErrorBody = v.InferOutput<typeof errorSchema>;
