/**
 * A stand-in for the service: serves the page with its headers, and answers what a test wants to see, so that every finding
 * comes when it is wanted. The images' names stand behind their bytes, where the stand-in finds them and decoders do not
 * look.
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import type { Evidence, Finding } from "../../../attribution/evidence/evidence.ts";
import {
  findingWords,
  hiddenReason,
  missedReason,
  poseReason,
  readingNotes,
  supportReason,
  unknownModelReason,
  unsuitableReason,
} from "../../../attribution/evidence/words.ts";
import { decodeImage, encodePng } from "../../../attribution/images/decode.ts";
import { applyEdits, parseEdits } from "../../../attribution/images/edits/mod.ts";
import type { Pose } from "../../../attribution/images/pose.ts";
import { openApi } from "../../../attribution/service/openapi.ts";
import { loadPage } from "../../../attribution/service/page.ts";
import type { ModelsBody } from "../../../attribution/service/schemas.ts";
import { typicalValues } from "../../../attribution/service/typical.ts";
import { verdictBody } from "../../../attribution/service/verdict_body.ts";
import { parseCalibration } from "../../../attribution/decision/calibration_file.ts";
import { labels, officialLabels, variantLabels } from "../../labels.ts";
import { root } from "./server.ts";

const signals = { quantLoss: 0.25, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 0.375, quantErrorTail: 0.5 };
const size = 64;
const pose = (more: Partial<Pose>): Pose => ({
  ...{ left: 0, top: 0, width: size, height: size, turn: 0, mirror: false },
  ...more,
});

/** An image that the page is given: its file, what the stand-in answers, and the edits that made it. */
export interface Case {
  readonly name: string;
  readonly edits: string;
  readonly answer: Partial<Evidence> & Pick<Evidence, "finding" | "label">;
}

const outlier = { label: "outlier", family: null } as const;
const canvasPose = pose({ left: 100, top: 40, mirror: true });
const cropPose = pose({ left: -8, top: -4, turn: 90 });
export const cases: readonly Case[] = [
  {
    name: "variant.png",
    edits: "none",
    answer: {
      ...{ finding: "variant", label: "rarxl", family: "rar", confidence: 0.991, log10LikelihoodRatio: 5.2 },
      reasons: [supportReason("rarxl", 5.2)],
    },
  },
  {
    name: "canvas.png",
    edits: "mirror,canvas:256x144+100+40:#dde4ee",
    answer: {
      ...{ finding: "variant", label: "var24", family: "var", confidence: 0.87, log10LikelihoodRatio: 2.6 },
      reasons: [poseReason(canvasPose, { width: 256, height: 144 })],
      ...{ pose: canvasPose, width: 256, height: 144 },
    },
  },
  {
    name: "cropped.png",
    edits: "turn:90,crop:8:4:3:4",
    answer: {
      ...{
        finding: "variant",
        label: "var16",
        family: "var",
        confidence: 0.71,
        unsure: true,
        log10LikelihoodRatio: 1.4,
      },
      reasons: [poseReason(cropPose, { width: 53, height: 56 })],
      ...{ pose: cropPose, width: 53, height: 56 },
    },
  },
  {
    name: "family.png",
    edits: "none",
    answer: {
      ...{ finding: "family", label: "outlier", family: "rar", confidence: 0.82, log10LikelihoodRatio: 0.1 },
      reasons: [unknownModelReason("rar")],
    },
  },
  {
    name: "none.png",
    edits: "none",
    answer: {
      ...outlier,
      ...{ finding: "none", confidence: 0.97, log10LikelihoodRatio: -2.4, missRate: 0.02 },
      reasons: [supportReason("var20", -2.4), missedReason(0.02)],
    },
  },
  {
    name: "inconclusive.png",
    edits: "webp:20",
    answer: {
      ...outlier,
      facts: {
        ...{ colours: 4000, noise: 0.5, contrast: 30 },
        file: { format: "webp", lossless: false, depth: 8, transparency: false, pictures: 1 },
      },
      notes: ["no end-of-image marker", "the first of 2 images"],
      ...{ finding: "inconclusive", confidence: 0.58, log10LikelihoodRatio: -0.4, missRate: 0.26 },
      reasons: [hiddenReason(["WebP with loss"]), missedReason(0.26)],
    },
  },
  {
    name: "unsuitable.png",
    edits: "crop:63:63:0:0",
    answer: {
      ...outlier,
      ...{ finding: "unsuitable", confidence: 0.5, reasons: [unsuitableReason("too-small", { width: 1, height: 1 })] },
      ...{ width: 1, height: 1 },
    },
  },
];

/** The image that all are made of. */
export const sample = await decodeImage(await Deno.readFile(join(root, "examples", "Dataset", "test", "0001.png")));

/** A file for the page. */
export interface GivenFile {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

const files = new Map<string, Uint8Array>();

/** The file of a case; `name` is that of the file if it is another one. The stand-in answers by the case. */
export async function fileOf({ name: own, edits }: Case, name = own): Promise<GivenFile> {
  let png = files.get(edits);
  if (png === undefined) {
    const { image } = await applyEdits(sample, parseEdits(edits));
    files.set(edits, png = await encodePng(image));
  }
  return { name, mimeType: "image/png", buffer: Buffer.concat([png, new TextEncoder().encode(`|${own}`)]) };
}

/** What is typical of own images in the embedded set. */
async function embedded(): Promise<Pick<ModelsBody, "typical">> {
  const path = join(root, "weights", "tiny", "calibration.json");
  const text = await Deno.readTextFile(path);
  const hash = JSON.parse(text).modelSet;
  const calibration = parseCalibration(text, { hash, families: Object.keys(variantLabels) });
  return { typical: typicalValues(calibration, officialLabels) };
}

const modelSet = { name: "stand-in", hash: "b".repeat(64), description: "Answers that a test wants." };
const settings = {
  ...{ condition: "infer", quantization: "greedy", signals: "core" } as const,
  ...{ device: "cpu", weightType: "f32" } as const,
};

/** What the stand-in says of itself. */
export async function modelsOf(): Promise<ModelsBody> {
  return {
    version: "0.0.0-test",
    modelSet,
    variants: Object.fromEntries(Object.entries(variantLabels).map(([family, names]) => [family, [...names]])),
    labels: [...labels],
    ...{ method: "joint", calibration: "c".repeat(64), settings, search: "quick", unsureBelow: 0.6 },
    ...await embedded(),
    ...{ findings: findingWords, cautions: [], notes: [...readingNotes] },
    ...{ device: { kind: "cpu", name: "nothing", software: false }, imageSizes: [size] },
    limits: { bodyBytes: 2 ** 20, pixels: 2 ** 24, images: 16, queue: 64, batch: 16, deadlineMs: 30_000 },
  };
}

/** What the stand-in answers about an image. */
export function answerOf({ answer: { label, ...answer } }: Case, index: number) {
  const scores = Object.fromEntries(labels.map((other) => [other, other === label ? 0.6 : 0.4 / (labels.length - 1)]));
  const summaries = {
    ...{ "own.guided.mean": -4, "own.guided.lowest20": -7, "difference.mean": 0.2, "own.support.rate": 1 },
    ...{ "own.rank.logMean": 2.3, "conditional.mean": -4.2 },
  };
  const variants = label === "outlier" ? {} : {
    [label]: { tokens: 16, meanLogProb: -4.2, perplexity: Math.exp(4.2), summaries },
  };
  const evidence: Omit<Evidence, "image"> = {
    ...{ label, confidence: 0.5, unsure: false, family: null, method: "joint", scores, reasons: [] },
    ...{ sha256: "a".repeat(64), width: size, height: size, modelSet: "b".repeat(64), calibration: "c".repeat(64) },
    ...{ version: "0.0.0-test", judged: "2026-02-03T04:05:06.789Z", settings },
    ...{ families: { rar: signals, var: signals }, variants, timings: { read: 1, families: 2, variants: 3 } },
    ...answer,
  };
  const grid = (step: number) => ({ width: 4, height: 4, values: Array.from({ length: 16 }, (_, i) => i * step) });
  const surprise = label === "outlier" || answer.pose !== undefined ? null : { variant: label, ...grid(0.5) };
  const maps = { quantisation: { family: "rar", ...grid(0.002) }, surprise };
  return { index, name: null, ...verdictBody({ evidence, scores, maps }, true) };
}

const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Serves the page as the service does, and the cases' answers; an image without a case is refused as damaged. */
export async function withStandIn(body: (url: string) => Promise<void>): Promise<void> {
  const page = await loadPage(), models = await modelsOf(), api = openApi(false);
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const asset = page.get(pathname);
    const headers = { "content-security-policy": csp };
    if (asset !== undefined) return new Response(asset.body, { headers: { ...headers, "content-type": asset.type } });
    if (pathname === "/openapi.json") return Response.json(api);
    if (pathname !== "/v1/attribute") return Response.json(models);
    const name = (await request.text()).split("|").at(-1);
    const found = cases.find((one) => one.name === name);
    if (found === undefined) {
      return Response.json({ error: { code: "corrupt", message: "the PNG data are damaged" } }, { status: 422 });
    }
    const data = JSON.stringify({ id: "1", modelSet, images: [answerOf(found, 0)], timings: {} });
    return new Response(`event: result\ndata: ${data}\n\n`);
  });
  try {
    await body(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

/** The first case of a finding. */
export const caseOf = (finding: Finding): Case => cases.find(({ answer }) => answer.finding === finding)!;
