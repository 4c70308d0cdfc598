/**
 * The page for every finding, in a real browser: words, shapes, and the frame in which an image was found. A stand-in
 * answers in place of the service, so that each finding comes when a test wants it.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import type { Page } from "npm:playwright-core@1.65.1";
import { type Evidence, type Finding, findings } from "../../../attribution/evidence/evidence.ts";
import {
  findingWords,
  hiddenReason,
  missedReason,
  outlierMeaning,
  poseReason,
  supportReason,
  unknownModelReason,
  unsuitableReason,
} from "../../../attribution/evidence/words.ts";
import { decodeImage, encodePng } from "../../../attribution/images/decode.ts";
import { applyEdits, parseEdits } from "../../../attribution/images/edits/mod.ts";
import type { Pose } from "../../../attribution/images/pose.ts";
import { loadPage } from "../../../attribution/service/page.ts";
import { verdictBody } from "../../../attribution/service/verdict_body.ts";
import { labels } from "../../labels.ts";
import { finished, shoot, withPages } from "./browser.ts";
import { contrasts, frameOf, pageWidth } from "./in_page.js";
import { root } from "./server.ts";

const signals = { quantLoss: 0.25, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 0.375, quantErrorTail: 0.5 };
const size = 64;
const pose = (more: Partial<Pose>): Pose => ({
  ...{ left: 0, top: 0, width: size, height: size, turn: 0, mirror: false },
  ...more,
});

/** An image that the page is given: its file, what the stand-in answers, and the edits that made it. */
interface Case {
  readonly name: string;
  readonly edits: string;
  readonly answer: Partial<Evidence> & Pick<Evidence, "finding" | "label">;
}

const outlier = { label: "outlier", family: null } as const;
const canvasPose = pose({ left: 100, top: 40, mirror: true });
const cropPose = pose({ left: -8, top: -4, turn: 90 });
const cases: readonly Case[] = [
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

const sample = await decodeImage(await Deno.readFile(join(root, "examples", "Dataset", "test", "0001.png")));

/** The file of a case. Its name stands behind the image, where the stand-in finds it and decoders do not look. */
async function fileOf({ name, edits }: Case) {
  const { image } = await applyEdits(sample, parseEdits(edits));
  const mark = new TextEncoder().encode(`|${name}`);
  return { name, mimeType: "image/png", buffer: Buffer.concat([await encodePng(image), mark]) };
}

function answerOf({ answer: { label, ...answer } }: Case, index: number) {
  const scores = Object.fromEntries(labels.map((other) => [other, other === label ? 0.6 : 0.4 / (labels.length - 1)]));
  const evidence: Omit<Evidence, "image"> = {
    ...{ label, confidence: 0.5, unsure: false, family: null, method: "joint", scores, reasons: [] },
    ...{ sha256: "a".repeat(64), width: size, height: size, modelSet: "b".repeat(64), calibration: null },
    settings: { condition: "infer", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
    ...{ families: { rar: signals, var: signals }, variants: {}, timings: { read: 1, families: 2, variants: 3 } },
    ...answer,
  };
  const values = Array.from({ length: 16 }, (_, i) => i / 16);
  const grid = { width: 4, height: 4, values };
  const surprise = label === "outlier" ? null : { variant: label, ...grid };
  const maps = { quantisation: { family: "rar", ...grid }, surprise };
  return { index, name: null, ...verdictBody({ evidence, scores, maps }, true) };
}

/** Serves the page as the service does, and the cases' answers. */
async function withStandIn(body: (url: string) => Promise<void>): Promise<void> {
  const page = await loadPage();
  const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'";
  const modelSet = { name: "stand-in", hash: "b".repeat(64), description: null };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const asset = page.get(pathname);
    const headers = { "content-security-policy": csp };
    if (asset !== undefined) return new Response(asset.body, { headers: { ...headers, "content-type": asset.type } });
    if (pathname !== "/v1/attribute") return Response.json({ modelSet, device: { name: "nothing" } });
    const name = (await request.text()).split("|").at(-1);
    const images = [answerOf(cases.find((one) => one.name === name)!, 0)];
    return new Response(`event: result\ndata: ${JSON.stringify({ id: "1", modelSet, images, timings: {} })}\n\n`);
  });
  try {
    await body(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

/** Gives the page images, and waits for their cards. */
async function give(page: Page, images: readonly Case[]): Promise<void> {
  await page.setInputFiles("#files", await Promise.all(images.map(fileOf)));
  await finished(page, images.length);
}

const one = (finding: Finding) => cases.find(({ answer }) => answer.finding === finding)!;
const card = (page: Page, { name }: Case) =>
  page.locator(".card").filter({ has: page.locator("h2", { hasText: name }) });

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: every finding has its words, its shape and its reasons", async (t) => {
    await withStandIn((url) =>
      withPages(url, async (open) => {
        await t.step("title, explanation, label, confidence, ratio and reasons", async () => {
          const page = await open({ viewport: { width: 1000, height: 900 } });
          await give(page, cases);
          const shapes = new Set<string>();
          for (const finding of findings) {
            const shown = card(page, one(finding));
            const { answer: { label, reasons = [] } } = one(finding);
            assert.equal(await shown.locator(".verdict small").textContent(), finding);
            assert.equal(await shown.locator(".explanation").textContent(), findingWords[finding].explanation);
            const said = await shown.locator(".said dd").allTextContents();
            assert.ok(said[0].startsWith(`${label}: `), said[0]);
            const terms = await shown.locator(".said dt").allTextContents();
            assert.equal(terms.includes("Notes on the file"), finding === "inconclusive", `${finding}: ${terms}`);
            if (finding === "inconclusive") {
              assert.deepEqual(said.slice(-3), ["WebP with loss", "No end-of-image marker", "The first of 2 images"]);
            }
            if (label === "outlier") assert.equal(said[0], `outlier: ${outlierMeaning}`);
            for (const reason of reasons) assert.ok(said.includes(reason), `${reason} is not in ${said}`);
            shapes.add(await shown.locator(".verdict use").getAttribute("href") ?? "");
            assert.ok(await shown.locator(".verdict svg").isVisible());
            await shown.locator(".numbers summary").click();
            assert.match(await shown.locator("pre").innerText(), new RegExp(`"finding": "${finding}"`));
            await shown.locator(".numbers summary").click();
          }
          assert.equal(shapes.size, findings.length);
          assert.equal(await card(page, one("variant")).locator(".verdict span").textContent(), "Made by rarxl");
          const ratios = await page.locator("dt", { hasText: "Likelihood ratio" }).locator("+ dd").allTextContents();
          assert.deepEqual(ratios.slice(0, 2), [
            "10^5.2: very strong support for a known model",
            "10^2.6: moderately strong support for a known model",
          ]);
          assert.equal(
            await page.locator("#status").textContent(),
            "7 of 7 images done: 3 variant, 1 family, 1 none, 1 inconclusive, 1 unsuitable.",
          );
          await shoot(page, "findings-light");
        });

        await t.step("the frame in which an image was found is drawn where the pose has it", async () => {
          const page = await open({ viewport: { width: 1000, height: 900 } });
          await give(page, cases);
          assert.equal(
            await page.locator(".found:visible").count(),
            2,
            "only where an image was found in another pose",
          );
          for (const { name, edits, answer } of cases.filter(({ answer }) => answer.pose !== undefined)) {
            const { image } = await applyEdits(sample, parseEdits(edits));
            const found = card(page, { name, edits, answer }).locator(".found canvas");
            const { left, top, right, bottom, width, height } = await found.evaluate(frameOf);
            const { pose } = answer;
            // What the canvas shows: the image and the frame, with 6 pixels around them.
            const from = { x: Math.min(0, pose!.left), y: Math.min(0, pose!.top) };
            const to = Math.max(image.width, pose!.left + pose!.width) - from.x;
            const scale = (width - 12) / to;
            assert.ok(height <= 576 && width <= 576);
            const expected = [
              6 + (pose!.left - from.x) * scale,
              6 + (pose!.top - from.y) * scale,
              6 + (pose!.left + pose!.width - from.x) * scale,
              6 + (pose!.top + pose!.height - from.y) * scale,
            ];
            for (const [i, line] of [left, top, right, bottom].entries()) {
              assert.ok(Math.abs(line - expected[i]) <= 3, `${name}: line ${i} at ${line}, expected ${expected[i]}`);
            }
          }
          const captions = await page.locator(".found figcaption").allTextContents();
          assert.match(captions[1], /^Found mirrored, within a canvas at 100,40 \(64x64 pixels\)\. The frame is/);
          assert.match(
            captions[2],
            /^Found turned right by 90 degrees, 8 pixels cropped off left, 4 pixels cropped off top and bottom, 3 /,
          );
        });

        await t.step("the table and the JSON have the finding and the names of the files", async () => {
          const page = await open();
          await give(page, cases);
          const download = async (name: string) => {
            const downloading = page.waitForEvent("download");
            await page.getByRole("button", { name }).click();
            return await Deno.readTextFile((await (await downloading).path())!);
          };
          const table = parse(await download("Download CSV"), { columns: true }) as Record<string, string>[];
          const expected = cases.map(({ name, answer }) => [name, answer.label, answer.finding]);
          assert.deepEqual(table.map(({ image_name, label, finding }) => [image_name, label, finding]), expected);
          assert.equal(table[0].log10lr, "5.2");
          assert.deepEqual(table.map(({ notes }) => notes).slice(4), [
            ...["", "no end-of-image marker; the first of 2 images", ""],
          ]);
          assert.equal(table[6].reasons, "The image has 1x1 pixels, too few to measure.");
          const json = JSON.parse(await download("Download JSON"));
          assert.deepEqual(
            json.map(({ name, verdict }: ReturnType<typeof answerOf>) => [name, verdict.label, verdict.finding]),
            expected,
          );
        });

        await t.step("dark and narrow screens have everything, with enough contrast", async () => {
          for (const [name, width, colorScheme] of [["dark", 1000, "dark"], ["narrow", 340, "light"]] as const) {
            const page = await open({ viewport: { width, height: 740 }, colorScheme });
            await give(page, cases);
            assert.ok(await page.evaluate(pageWidth) <= width, `${name}: wider than the screen`);
            for (const finding of findings) {
              const texts = [".verdict span", ".verdict small", ".verdict svg", ".explanation", ".said dt", ".said dd"];
              const own = `.card[data-finding="${finding}"]`;
              const ratios = await page.evaluate(contrasts, texts.map((text) => [`${own} ${text}`, own]));
              for (const ratio of ratios) assert.ok(ratio >= 4.5, `${name}, ${finding}: contrasts ${ratios}`);
            }
            await shoot(page, `findings-${name}`);
          }
        });
      })
    );
  });
}
