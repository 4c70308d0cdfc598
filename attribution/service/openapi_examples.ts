/** Answers as examples for the OpenAPI document. The numbers are made up; tests hold them against the schemas. */
import { findingWords, supportReason } from "../evidence/words.ts";
import type { AttributionBody, ModelsBody, StatusBody } from "./schemas.ts";

const modelSet = {
  name: "tiny",
  hash: "03eaa2362350297da197208cd9c0abda173b2c9e7ca6154a5881c9088bdd7c0e",
  description: null,
};
const calibration = "5".repeat(64);
const settings: ModelsBody["settings"] = {
  condition: "infer",
  quantization: "greedy",
  signals: "core",
  device: "cpu",
  weightType: "f32",
};

/** The answer about one image. */
export const attributionExample: AttributionBody = {
  id: "0b1c5a3e-6f0e-4a57-9c56-3f7f2f5b1c11",
  modelSet,
  images: [{
    index: 0,
    name: null,
    verdict: {
      ...{ finding: "variant", title: "made by rarxl", explanation: findingWords.variant.explanation },
      ...{ label: "rarxl", labelMeaning: "a model of the family RAR", confidence: 0.97, unsure: false },
      reasons: [supportReason("rarxl", 3.4)],
      log10LikelihoodRatio: 3.4,
      support: "strong support for a known model",
      missRate: null,
      history: ["PNG, 8 bits per channel"],
      pose: null,
      found: [],
      scores: { rarb: 0.01, rarl: 0.01, rarxl: 0.97, outlier: 0.01 },
    },
    evidence: {
      sha256: "a".repeat(64),
      ...{ width: 256, height: 256, modelSet: modelSet.hash, version: "0.2.0", settings },
      families: {
        rar: {
          ...{ quantLoss: 0.0052, encLoss: 1.02, encLossUncalibrated: 0.0011, combined: 0.0053 },
          quantErrorTail: 0.011,
        },
      },
      variants: { rarxl: { tokens: 256, meanLogProb: -4.2, perplexity: 66.7 } },
      timings: { read: 4.1, families: 310.5, variants: 820.2 },
      ...{ method: "joint", family: "rar", calibration, judged: "2026-01-31T12:00:00.000Z" },
    },
  }],
  timings: { receive: 1.2, decode: 4.1, wait: 9.8, device: 1130.7, total: 1146.1 },
};

/** An answer about the server. */
export const modelsExample: ModelsBody = {
  version: "0.2.0",
  modelSet,
  variants: { rar: ["rarb", "rarl", "rarxl"] },
  labels: ["rarb", "rarl", "rarxl", "outlier"],
  ...{ method: "joint", calibration, settings, search: "quick", unsureBelow: 0.67 },
  findings: findingWords,
  typical: {
    families: {
      rar: {
        quantLoss: {
          title: "QuantLoss",
          meaning: "Lower means closer to the family.",
          ...{ low: 0.0018, middle: 0.0056, high: 0.0176 },
        },
      },
    },
    variants: {},
  },
  cautions: [],
  notes: ["A verdict is about the models of this set alone."],
  device: { kind: "cpu", name: "16 threads", software: false },
  imageSizes: [256],
  limits: { bodyBytes: 33554432, pixels: 16777216, images: 16, queue: 64, batch: 16, deadlineMs: 30000 },
};

/** Answers about health, by the route that gives them. */
export const statusExamples: Readonly<Record<"/healthz" | "/readyz", readonly [StatusBody, StatusBody]>> = {
  "/healthz": [{ status: "ok" }, { status: "failed", detail: "the device cannot be opened" }],
  "/readyz": [{ status: "ready" }, { status: "starting" }],
};

/** The events of an answer to `stream=1`. */
export const eventsExample = [
  'event: queued\ndata: {"id":"0b1c5a3e-6f0e-4a57-9c56-3f7f2f5b1c11","images":1,"ahead":0}',
  'event: progress\ndata: {"index":0,"done":0.5}',
  `event: result\ndata: {"id":"0b1c5a3e-6f0e-4a57-9c56-3f7f2f5b1c11","images":[...],...}`,
].join("\n\n");

/** Requests on a command line. */
export const requestExamples: readonly { readonly title: string; readonly command: (url: string) => string }[] = [
  { title: "One image as the body", command: (url) => `curl -s --data-binary @image.png '${url}/v1/attribute'` },
  {
    title: "Several images in a form, with maps",
    command: (url) => `curl -s -F image=@a.png -F image=@b.jpg '${url}/v1/attribute?maps=1'`,
  },
  {
    title: "With progress, as events",
    command: (url) => `curl -sN --data-binary @image.png '${url}/v1/attribute?stream=1'`,
  },
  {
    title: "With a key",
    command: (url) => `curl -s -H 'Authorization: Bearer KEY' --data-binary @image.png '${url}/v1/attribute'`,
  },
];

/** A few lines of /metrics. */
export const metricsExample = [
  "# HELP model_tracer_queue_images Images accepted and not answered yet",
  "# TYPE model_tracer_queue_images gauge",
  "model_tracer_queue_images 3",
].join("\n");
