/**
 * The page for every finding, in a real browser: words, shapes, the frame in which an image was found, evidence beside what
 * is typical, maps on a common scale. A stand-in answers in place of the service.
 */
import assert from "node:assert/strict";
import { parse } from "npm:csv-parse@6.1.0/sync";
import type { Page } from "npm:playwright-core@1.65.1";
import { findings } from "../../../attribution/evidence/evidence.ts";
import { findingWords, outlierMeaning } from "../../../attribution/evidence/words.ts";
import { applyEdits, parseEdits } from "../../../attribution/images/edits/mod.ts";
import { finished, withPages } from "./browser.ts";
import { contrasts, frameOf, pageWidth, pictureOf } from "./in_page.js";
import { type answerOf, type Case, caseOf, cases, fileOf, modelsOf, sample, withStandIn } from "./stand_in.ts";

/** Gives the page images, and waits for their verdicts. */
async function give(page: Page, images: readonly Case[]): Promise<void> {
  await page.setInputFiles("#files", await Promise.all(images.map((one) => fileOf(one))));
  await finished(page, images.length);
}

/** Opens the detail view of an image. */
async function show(page: Page, { name }: Case): Promise<void> {
  if (await page.locator("#detail").isVisible()) await page.getByRole("link", { name: "All images" }).click();
  await page.getByRole("link", { name }).click();
  await page.locator("#pictures .quantisation, #pictures .original").first().waitFor();
}

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: every finding has its words, its shape and its reasons", async (t) => {
    await withStandIn((url) =>
      withPages(url, async (open) => {
        const page = await open({ viewport: { width: 1000, height: 900 } });
        await give(page, cases);

        await t.step("title, explanation, label, confidence, ratio and reasons", async () => {
          const shapes = new Set<string>();
          for (const finding of findings) {
            const { answer: { label, reasons = [] } } = caseOf(finding);
            await show(page, caseOf(finding));
            assert.equal(await page.locator("#said .verdict small").textContent(), finding);
            assert.equal(await page.locator("#said .explanation").textContent(), findingWords[finding].explanation);
            const said = await page.locator("#said dd").allTextContents();
            assert.deepEqual(said.slice(0, reasons.length), reasons, "the reasons come first");
            assert.ok(said[reasons.length].startsWith(`${label}: `), said[reasons.length]);
            if (label === "outlier") assert.ok(said.includes(`outlier: ${outlierMeaning}`));
            const happened = await page.locator("#history dd").allTextContents();
            if (finding === "inconclusive") {
              const notes = ["No end-of-image marker", "The first of 2 images"];
              assert.deepEqual(happened.slice(0, 3), ["WebP with loss", ...notes]);
            }
            shapes.add(await page.locator("#said .icon").innerHTML());
            assert.equal(await page.locator("table.scores tbody tr").count(), 9);
            await page.locator("#detail summary").click();
            assert.match(await page.locator("#numbers").innerText(), new RegExp(`"finding": "${finding}"`));
            await page.locator("#detail summary").click();
          }
          assert.equal(shapes.size, findings.length);
          await show(page, caseOf("variant"));
          assert.equal(await page.locator("#said .verdict span").textContent(), "Made by rarxl");
          const said = await page.locator("#said dd").allTextContents();
          assert.ok(said.includes("10^5.2: very strong support for a known model"), said.join("; "));
          assert.equal(
            await page.locator("#status").textContent(),
            "7 of 7 images done: 3 variant, 1 family, 1 none, 1 inconclusive, 1 unsuitable.",
          );
        });

        await t.step("every number stands beside what is typical, and says which side it is on", async () => {
          const { typical } = await modelsOf();
          const { low, high, title } = typical.families.rar.encLoss;
          assert.ok(low < 1.5 && 1.5 < high, "the stand-in's EncLoss is typical");
          const rows = page.locator("#evidence table").first().locator("tbody tr");
          const cells = await rows.nth(1).locator("th, td").allTextContents();
          assert.ok(cells[0].startsWith(title), cells[0]);
          const digits = (value: number) => String(Number(value.toPrecision(3)));
          assert.deepEqual(cells.slice(1), ["1.5", `${digits(low)} to ${digits(high)}`, "● within"]);
          assert.match(await rows.first().textContent() ?? "", /QuantLoss.*0\.25.*▲ above$/);
          assert.match(await page.locator("#evidence").textContent() ?? "", /Likelihood of the 16 tokens under rarxl/);
        });

        await t.step("maps have the scale of the model set, not of the image", async () => {
          const { typical } = await modelsOf();
          const legend = await page.locator(".quantisation .scale").innerText();
          assert.ok(legend.includes(`≥ ${Number(typical.families.rar.quantErrorTail.high.toPrecision(3))}`), legend);
          const note = await page.locator(".surprise figcaption small").textContent();
          assert.match(note ?? "", /^Mark: mean of own images, [\d.]+\. Same scale for all images; /);
          const before = await page.locator(".quantisation > canvas").evaluate(pictureOf);
          await page.locator("#opacity").fill("0.2");
          assert.notEqual(await page.locator(".quantisation > canvas").evaluate(pictureOf), before);
          await page.locator("#opacity").fill("0.65");
          await show(page, cases.find(({ answer }) => answer.pose !== undefined)!);
          assert.match(await page.locator(".surprise").textContent() ?? "", /models read the image inside the frame/);
          await show(page, caseOf("none"));
          assert.match(await page.locator(".surprise").textContent() ?? "", /no model of the set read this image/);
        });

        await t.step("the frame in which an image was found is drawn where the pose has it", async () => {
          await show(page, caseOf("variant"));
          assert.equal(await page.locator(".found").count(), 0, "only where an image was found in another pose");
          const captions: (string | null)[] = [];
          for (const one of cases.filter(({ answer }) => answer.pose !== undefined)) {
            await show(page, one);
            await page.locator(".found canvas").waitFor();
            const { name, edits, answer: { pose } } = one;
            const { image } = await applyEdits(sample, parseEdits(edits));
            const { left, top, right, bottom, width, height } = await page.locator(".found canvas").evaluate(frameOf);
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
            captions.push(await page.locator(".found figcaption").textContent());
          }
          assert.match(captions[0]!, /^Found mirrored, within a canvas at 100,40 \(64x64 pixels\)\. The frame is/);
          assert.match(
            captions[1]!,
            /^Found turned right by 90 degrees, 8 pixels cropped off left, 4 pixels cropped off top and bottom, 3 /,
          );
        });

        await t.step("the table and the JSON have the finding and the names of the files", async () => {
          await page.getByRole("link", { name: "All images" }).click();
          const download = async (name: string) => {
            const downloading = page.waitForEvent("download");
            await page.getByRole("button", { name }).click();
            return await Deno.readTextFile((await (await downloading).path())!);
          };
          const table = parse(await download("CSV"), { columns: true }) as Record<string, string>[];
          const expected = cases.map(({ name, answer }) => [name, answer.label, answer.finding]);
          assert.deepEqual(table.map(({ image_name, label, finding }) => [image_name, label, finding]), expected);
          assert.equal(table[0].log10lr, "5.2");
          assert.deepEqual(table.map(({ notes }) => notes).slice(4), [
            ...["", "no end-of-image marker; the first of 2 images", ""],
          ]);
          assert.equal(table[6].reasons, "The image has 1x1 pixels, too few to measure.");
          const json = JSON.parse(await download("JSON"));
          assert.deepEqual(
            json.map(({ name, verdict }: ReturnType<typeof answerOf>) => [name, verdict.label, verdict.finding]),
            expected,
          );
          assert.equal(json[0].server.version, "0.0.0-test", "with what answered");
        });

        await t.step("dark and narrow screens have everything, with enough contrast", async () => {
          for (const [width, colorScheme] of [[1000, "dark"], [340, "light"]] as const) {
            await page.setViewportSize({ width, height: 740 });
            await page.emulateMedia({ colorScheme });
            for (const finding of findings) {
              await show(page, caseOf(finding));
              assert.ok(await page.evaluate(pageWidth) <= width, `${width}: wider than the screen`);
              // The icon, too, which axe does not look at.
              const texts = [
                ".verdict span",
                ".verdict small",
                ".verdict .icon",
                ".explanation",
                "#said dt",
                "#said dd",
              ];
              const ratios = await page.evaluate(contrasts, texts.map((text) => [text, "body"]));
              for (const ratio of ratios) assert.ok(ratio >= 4.5, `${colorScheme}, ${finding}: contrasts ${ratios}`);
            }
          }
        });
      })
    );
  });
}
