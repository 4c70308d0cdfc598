/**
 * The page with many images in a real browser: counts, filters, order and pages; folders and zips; reloads, lost connections
 * and clearing; downloads, the report and paper. A stand-in answers in place of the service.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { zipSync } from "npm:fflate@0.8.3";
import type { Page } from "npm:playwright-core@1.65.1";
import { audit, finished, type Open, shoot, withPages } from "./browser.ts";
import { giveFile, hasFocus, isPrinted, keptItems, naturalWidths, pageWidth, stubPrint } from "./in_page.js";
import { caseOf, cases, fileOf, type GivenFile, withStandIn } from "./stand_in.ts";

/** `count` images of all cases in turn, in a folder. */
async function many(count: number): Promise<GivenFile[]> {
  return await Promise.all(Array.from({ length: count }, (_, i) => {
    return fileOf(cases[i % cases.length], `image-${i + 1}.png`);
  }));
}

const names = (page: Page) => page.locator("#rows th.name").allTextContents();

async function downloaded(page: Page, button: string): Promise<string> {
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: button, exact: true }).click();
  return await Deno.readTextFile((await (await downloading).path())!);
}

async function reload(page: Page): Promise<void> {
  await page.reload();
  await page.locator("body[data-ready]").waitFor({ state: "attached" });
}

async function give(page: Page, type: "drop" | "paste", name: string, bytes: Uint8Array, mime: string): Promise<void> {
  await page.evaluate(giveFile, { type, name, bytes: [...bytes], mime });
}

async function overviewSteps(t: Deno.TestContext, open: Open): Promise<void> {
  await t.step("60 images are counted, filtered, sorted and shown a page at a time", async () => {
    const page = await open({ viewport: { width: 1440, height: 900 } });
    await page.setInputFiles("#files", await many(60));
    await finished(page, 60);
    await page.locator("#page-size").selectOption("25");
    const counts = await page.locator("#counts button").allTextContents();
    assert.deepEqual(counts, [
      ...["60all images", "27made by a known model", "9fits a known tokenizer", "8no trace of a known model"],
      ...["8cannot tell", "8nothing to measure"],
    ]);
    assert.equal(await page.locator("#rows tr").count(), 25);
    assert.match(await page.locator("#page").textContent() ?? "", /^1 to 25 of 60 images, page 1 of 3$/);
    await page.getByRole("button", { name: "Next" }).click();
    await page.locator("#page", { hasText: "page 2 of 3" }).waitFor();
    assert.equal((await names(page))[0], "image-26.png", "names are in natural order");
    await page.locator("#rows img").nth(24).waitFor(); // every image has its thumbnail

    await page.locator('th button[data-sort="confidence"]').click();
    await page.locator('th[aria-sort="descending"]').waitFor();
    const confidences = (await page.locator('#rows td[data-title="Confidence"]').allTextContents()).map(parseFloat);
    assert.deepEqual(confidences, confidences.toSorted((a, b) => b - a));
    assert.equal(confidences[0], 99.1);

    await page.locator("#counts button", { hasText: "cannot tell" }).click();
    await page.locator("#page", { hasText: "of 8" }).waitFor({ state: "attached" });
    assert.equal(await page.locator("#rows tr").count(), 8);
    assert.ok((await page.locator("#rows .finding").allTextContents()).every((text) => text === "Cannot tell"));
    await page.locator("#counts button", { hasText: "all images" }).click();
    await page.locator("#search").fill("IMAGE-5");
    await page.locator("#page", { hasText: "of 11 images" }).waitFor({ state: "attached" });
    await page.locator("#label").selectOption("rarxl");
    await page.locator("#page", { hasText: "of 2 images" }).waitFor({ state: "attached" });
    assert.deepEqual(await names(page), ["image-50.png", "image-57.png"]);
    const table = parse(await downloaded(page, "CSV"), { columns: true }) as Record<string, string>[];
    assert.deepEqual(
      table.map(({ image_name }) => image_name),
      ["image-50.png", "image-57.png"],
      "what is shown is downloaded",
    );
  });

  await t.step("a reload keeps the list, its order and its verdicts, until it is cleared", async () => {
    const page = await open();
    await page.setInputFiles("#files", await many(9));
    await finished(page, 9);
    await page.locator("#search").fill("image-3");
    await page.locator("#page", { hasText: "of 1 image" }).waitFor({ state: "attached" });
    await reload(page);
    await finished(page, 9);
    assert.deepEqual(await names(page), ["image-3.png"]);
    assert.equal(await page.locator("#search").inputValue(), "image-3");
    await page.getByRole("link", { name: "image-3.png" }).click();
    await page.locator("#pictures .quantisation canvas:not(.bar)").waitFor();
    await reload(page);
    assert.equal(await page.locator("#detail-title").textContent(), "image-3.png", "the address says which image");
    const second = await page.context().newPage();
    await second.goto(page.url().replace(/#.*/, ""));
    await second.locator("body[data-ready]").waitFor({ state: "attached" });
    await second.setInputFiles("#files", await many(1));
    await finished(second, 1);
    assert.match(await second.locator("#kept").textContent() ?? "", /This tab does not keep the list/);
    await second.close();
    await page.getByRole("link", { name: "All images" }).click();
    await page.getByRole("button", { name: "Clear" }).click();
    await page.locator("#intro").waitFor();
    assert.equal(await page.evaluate(keptItems), 0, "nothing is left in the browser");
    await reload(page);
    await page.locator("#intro").waitFor();
    assert.equal(await page.locator("#rows tr").count(), 0);
  });
}

async function intakeSteps(t: Deno.TestContext, open: Open): Promise<void> {
  await t.step("folders, dropped or chosen, give their images under their paths", async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(join(folder, "set", "deep"), { recursive: true });
      const write = (path: string, bytes: Uint8Array) => Deno.writeFile(join(folder, "set", path), bytes);
      await write("a.png", (await fileOf(caseOf("variant"))).buffer);
      await write("deep/b.png", (await fileOf(caseOf("none"))).buffer);
      await write("notes.txt", new TextEncoder().encode("no image"));
      await write(".DS_Store", new Uint8Array(8));
      const page = await open();
      const devtools = await page.context().newCDPSession(page);
      const data = { items: [], files: [join(folder, "set")], dragOperationsMask: 1 };
      for (const type of ["dragEnter", "dragOver", "drop"] as const) {
        await devtools.send("Input.dispatchDragEvent", { type, x: 300, y: 200, data });
      }
      await finished(page, 2);
      assert.deepEqual(await names(page), ["set/a.png", "set/deep/b.png"]);
      assert.match(await page.locator("#problems").textContent() ?? "", /^1 other file left out/);
      await page.setInputFiles("#folder", join(folder, "set"));
      await finished(page, 4);
      assert.deepEqual((await names(page)).slice(2).sort(), ["set/a.png", "set/deep/b.png"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  await t.step("zips are unpacked in the page; what is damaged or too large is said", async () => {
    const page = await open();
    const [first, second] = await Promise.all([fileOf(caseOf("variant")), fileOf(caseOf("family"))]);
    const zip = zipSync({
      "b/10.png": [first.buffer, { level: 0 }],
      "b/9.png": second.buffer,
      "readme.txt": new TextEncoder().encode("text"),
      "__MACOSX/b/._9.png": new Uint8Array(8),
      "large.png": new Uint8Array(2 ** 20 + 1), // more than the server takes
    });
    await give(page, "drop", "set.zip", zip, "application/zip");
    await finished(page, 2);
    assert.deepEqual(await names(page), ["set.zip/b/9.png", "set.zip/b/10.png"]);
    const problems = page.locator("#problems p");
    assert.deepEqual(await problems.allTextContents(), [
      "set.zip: 1 image left out, too large to unpack or to send.",
      "1 other file left out: only PNG, JPEG, WebP and zips of them are read.",
    ]);
    await give(page, "drop", "cut.zip", zip.subarray(0, zip.length / 2), "application/zip");
    await problems.filter({ hasText: "cut.zip cannot be unpacked" }).waitFor();
    await give(page, "drop", "empty.zip", zipSync({ "a.txt": new Uint8Array(1) }), "application/zip");
    await problems.filter({ hasText: "no images in this zip" }).waitFor();
    assert.equal(await page.locator("#rows tr").count(), 2);
  });

  await t.step("a lost connection is waited for, and what may pass is tried again", async () => {
    const page = await open();
    await page.route("**/v1/attribute*", (route) => route.abort());
    await page.setInputFiles("#files", await many(2));
    await page.locator("#rows .bad", { hasText: "No connection to the server" }).first().waitFor();
    await page.unroute("**/v1/attribute*");
    await finished(page, 2);
    assert.match(await page.locator("#status").textContent() ?? "", /^2 of 2 images done: 2 variant\.$/);
    const failure = JSON.stringify({ error: { code: "deadline", message: "the deadline has passed" } });
    await page.route("**/v1/attribute*", (route) => route.fulfill({ status: 504, body: failure }));
    const broken = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") };
    await page.setInputFiles("#files", [await fileOf(caseOf("none"))]);
    await page.locator("#rows .bad", { hasText: "the deadline has passed" }).waitFor();
    await page.unroute("**/v1/attribute*");
    await page.setInputFiles("#files", [broken]);
    await finished(page, 4);
    await page.getByRole("button", { name: "Try 1 image again" }).click();
    await page.locator("#status", { hasText: "3 of 4 images done, 1 failed: 2 variant, 1 none." }).waitFor();
    assert.ok(await page.locator("#retry").isHidden(), "a damaged image stays damaged");
  });
}

async function reportSteps(t: Deno.TestContext, open: Open, url: string): Promise<void> {
  await t.step("the report is one file that says what was found of which file, by what, and its limits", async () => {
    const page = await open({ viewport: { width: 1440, height: 900 } });
    const evil = 'a<img src=x onerror="document.title=1">.png';
    const broken = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") };
    await page.setInputFiles("#files", [...await Promise.all(cases.map((one) => fileOf(one))), broken]);
    await give(page, "drop", evil, (await fileOf(caseOf("variant"))).buffer, "image/png");
    await finished(page, cases.length + 2);
    const html = await downloaded(page, "Report");
    assert.doesNotMatch(html, /<script|src="(?!data:)|<link|url\(/, "it needs nothing from elsewhere");
    await page.route("**/report.html", (route) => route.fulfill({ body: html, contentType: "text/html" }));
    for (const [width, colorScheme] of [[1440, "light"], [390, "dark"]] as const) {
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme });
      await page.goto(`${url}/report.html`);
      assert.equal(await page.title(), "Attribution report: 9 images");
      assert.ok(await page.evaluate(pageWidth) <= width);
      assert.deepEqual(await audit(page), []);
      await shoot(page, `report-${width}-${colorScheme}`);
    }
    const text = await page.locator("body").innerText();
    for (const part of ["a".repeat(64), "b".repeat(64), "c".repeat(64), "0.0.0-test", "joint", evil]) {
      assert.ok(text.includes(part), part);
    }
    assert.match(text, /2026-02-03 04:05:06 UTC/);
    assert.match(text, /A verdict is about the models of this set alone/);
    assert.match(text, /not read: the PNG data are damaged/i);
    assert.match(text, /3\.24|Mark: mean of own images/);
    assert.equal(await page.locator("section.image").count(), cases.length + 2);
    const [square, map] = await page.locator("#image-1 figure > img").evaluateAll(naturalWidths);
    assert.deepEqual([square, map], [256, 256], "pictures are inside");
  });

  await t.step("paper has the report and nothing of the page", async () => {
    const page = await open();
    await page.setInputFiles("#files", await many(2));
    await finished(page, 2);
    await page.evaluate(stubPrint);
    await page.getByRole("link", { name: "image-2.png" }).click();
    await page.locator("#one-print").click();
    await page.waitForFunction(isPrinted);
    await page.emulateMedia({ media: "print" });
    assert.ok(await page.locator("#paper h1", { hasText: "Attribution report: image-2.png" }).isVisible());
    assert.ok(await page.locator("main").isHidden());
    await shoot(page, "paper");
  });
}

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: an overview of many images, folders and zips, reloads, lost connections, reports", async (t) => {
    await withStandIn((url) =>
      withPages(url, async (open) => {
        await overviewSteps(t, open);
        await intakeSteps(t, open);
        await reportSteps(t, open, url);
      })
    );
  });

  Deno.test("page: without findings of axe, on phone and desktop, light and dark", async (t) => {
    await withStandIn((url) =>
      withPages(url, async (open) => {
        for (const [width, colorScheme] of [[390, "light"], [390, "dark"], [1440, "light"], [1440, "dark"]] as const) {
          await t.step(`${width} pixels, ${colorScheme}`, async () => {
            const page = await open({ viewport: { width, height: 844 }, colorScheme });
            const look = async (name: string) => {
              assert.deepEqual(await audit(page), [], name);
              assert.ok(await page.evaluate(pageWidth) <= width, `${name}: wider than the screen`);
              await shoot(page, `${name}-${width}-${colorScheme}`);
            };
            await look("empty");
            const broken = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") };
            await page.setInputFiles("#files", [...await Promise.all(cases.map((one) => fileOf(one))), broken]);
            await finished(page, cases.length + 1);
            await page.locator("#rows img").nth(6).waitFor();
            await look("list");
            for (const name of ["canvas.png", "inconclusive.png", "broken.png"]) {
              await page.getByRole("link", { name }).click();
              if (name !== "broken.png") await page.locator("#pictures .quantisation").waitFor();
              await look(name.replace(".png", ""));
              await page.keyboard.press("Escape");
              // The focus is back in the list.
              const id = 1 + [...cases.map(({ name }) => name), "broken.png"].indexOf(name);
              await page.waitForFunction(hasFocus, `image-${id}`);
            }
            await page.goto(`${url}/docs`);
            await page.locator("body[data-ready]").waitFor({ state: "attached" });
            for (const summary of await page.locator("main > section > details > summary").all()) await summary.click();
            await look("docs");
            const errors = await page.locator("table.errors").innerText();
            for (const text of ["not-an-image", "Retry-After", "truncated"]) assert.ok(errors.includes(text), text);
            const text = await page.locator("main").innerText();
            assert.ok(text.includes(`curl -s --data-binary @image.png '${url}/v1/attribute'`));
            await page.context().close();
          });
        }
      })
    );
  });
}
