/**
 * The page in a real browser: choosing, pasting and dropping images, verdicts, maps, downloads, keyboard, narrow screens.
 * Without a Chromium these tests fail and say what to install; `-- --no-browser` leaves them out.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import type { FileChooser, Page } from "npm:playwright-core@1.65.1";
import { labels } from "../../labels.ts";
import { finished, type Open, shoot, withPages } from "./browser.ts";
import { coloursOf, contrasts, focused, giveFile, outlineOf, pageWidth, pictureOf } from "./in_page.js";
import { exampleImages, root, type Server, startServer } from "./server.ts";

const folder = join(root, "examples", "Dataset", "test");
const images = await exampleImages(8);
const paths = images.map(({ name }) => join(folder, name));

async function withBrowser(
  args: readonly string[],
  body: (opened: { open: Open; server: Server }) => Promise<void>,
): Promise<void> {
  const server = await startServer(["--preload", "--method", "perplexity", ...args]);
  try {
    await withPages(server.url, (open) => body({ open, server }));
  } finally {
    await server.stop("SIGKILL");
  }
}

/** The numbers of different colours in a card's canvases. */
async function colours(page: Page, card: number): Promise<number[]> {
  return await page.locator(".card").nth(card).locator("figure:not([hidden]) canvas:not([hidden])").evaluateAll(
    coloursOf,
  );
}

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: verdicts by file, paste, drop and keyboard, on screens of every sort", async (t) => {
    await withBrowser([], async ({ open, server }) => {
      await t.step("images are chosen, get verdicts, scores and maps, and are downloaded", async () => {
        const page = await open({ viewport: { width: 1100, height: 900 } });
        assert.match(await page.title(), /model-tracer/);
        await shoot(page, "empty-light");
        await page.setInputFiles("#files", paths.slice(0, 4));
        await finished(page, 4);
        const expected: string[] = [];
        for (const { bytes } of images.slice(0, 4)) {
          const response = await fetch(`${server.url}/v1/attribute`, { method: "POST", body: bytes });
          expected.push((await response.json()).images[0].verdict.label);
        }
        const shown = await page.locator(".said dd:first-of-type").allTextContents();
        assert.deepEqual(shown.map((text) => text.split(":")[0]), expected);
        const outliers = expected.filter((label) => label === "outlier").length;
        const status = await page.locator("#status").textContent() ?? "";
        assert.match(status, new RegExp(`^4 of 4 images done: .*\\b${4 - outliers} variant\\b`));
        const rows = await page.locator(".card").first().locator("tbody th").allTextContents();
        assert.deepEqual(rows, labels);
        // Both maps where a variant was run, the residual alone for an outlier; each with the colours of a map.
        for (const [i, label] of expected.entries()) {
          const counts = await colours(page, i);
          assert.equal(counts.length, label === "outlier" ? 2 : 3);
          for (const count of counts) assert.ok(count > 50, `a picture of ${count} colours`);
        }
        assert.ok(new Set(expected.map((label) => label === "outlier")).size === 2, "an outlier and another one");
        const before = await page.locator(".quantisation canvas").first().evaluate(pictureOf);
        await page.locator("#opacity").fill("0.2");
        const after = await page.locator(".quantisation canvas").first().evaluate(pictureOf);
        assert.notEqual(before, after);
        await page.locator("#opacity").fill("0.65");
        await shoot(page, "results-light");

        const downloading = page.waitForEvent("download");
        await page.getByRole("button", { name: "Download CSV" }).click();
        const csv = await Deno.readTextFile((await (await downloading).path())!);
        const table = parse(csv, { columns: true }) as Record<string, string>[];
        assert.deepEqual(table.map(({ image_name }) => image_name), images.slice(0, 4).map(({ name }) => name));
        assert.deepEqual(table.map(({ label }) => label), expected);
        const total = labels.reduce((sum, label) => sum + Number(table[0][`score_${label}`]), 0);
        assert.ok(Math.abs(total - 1) < 1e-6);
        const next = page.waitForEvent("download");
        await page.getByRole("button", { name: "Download JSON" }).click();
        const json = JSON.parse(await Deno.readTextFile((await (await next).path())!));
        assert.deepEqual(json.map(({ verdict }: { verdict: { label: string } }) => verdict.label), expected);
        assert.deepEqual(
          json.map(({ name }: { name: string }) => name),
          images.slice(0, 4).map(({ name }) => name),
        );
        await page.getByRole("button", { name: "Clear" }).click();
        assert.equal(await page.locator(".card").count(), 0);
      });

      await t.step("pasting, dropping, and files that are no images", async () => {
        const page = await open();
        const give = async (type: "paste" | "drop", name: string, bytes: Uint8Array, mime: string) => {
          await page.evaluate(giveFile, { type, name, bytes: [...bytes], mime });
        };
        await give("paste", "pasted.png", images[0].bytes, "image/png");
        await give("drop", "dropped.png", images[1].bytes, "image/png");
        await give("drop", "broken.png", images[2].bytes.subarray(0, 300), "image/png");
        await give("drop", "notes.txt", new TextEncoder().encode("no image"), "text/plain");
        await finished(page, 3);
        assert.deepEqual(await page.locator("h2").allTextContents(), ["pasted.png", "dropped.png", "broken.png"]);
        assert.match(await page.locator(".verdict.bad").textContent() ?? "", /PNG/);
        assert.match(await page.locator("#status").textContent() ?? "", /2 of 3 images done, 1 failed/);
        await shoot(page, "errors-light");
        const names = 'a<img src=x onerror="document.title=1">.png';
        await give("drop", names, images[0].bytes, "image/png");
        await finished(page, 4);
        assert.equal(await page.locator("h2").last().textContent(), names);
        assert.match(await page.title(), /model-tracer/);
      });

      await t.step("the keyboard alone is enough", async () => {
        const page = await open();
        // Listening before anything is pressed: the browser is told so by a message of its own.
        const chooser = new Promise<FileChooser>((resolve) => page.once("filechooser", resolve));
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(focused), "files");
        const outline = await page.locator(".drop label").evaluate(outlineOf);
        assert.equal(outline, "solid", "where the focus is can be seen");
        await page.keyboard.press("Enter");
        await (await chooser).setFiles(paths.slice(0, 2));
        await finished(page, 2);
        const seen: string[] = [];
        for (let i = 0; i < 12; i++) {
          await page.keyboard.press("Tab");
          seen.push(await page.evaluate(focused));
        }
        for (const id of ["opacity", "csv", "json", "clear", "remove", "SUMMARY"]) {
          assert.ok(seen.includes(id), `${id} is not reached: ${seen}`);
        }
        await page.locator(".numbers summary").first().focus();
        await page.keyboard.press("Enter");
        assert.match(await page.locator("pre").first().innerText(), /quantLoss/);
        await page.locator(".remove").first().focus();
        await page.keyboard.press("Enter");
        assert.equal(await page.locator(".card").count(), 1);
        assert.equal(await page.evaluate(focused), "card", "the focus goes to the next image, and not to nothing");
        await page.locator("#opacity").focus();
        const before = await page.locator("#opacity").inputValue();
        await page.keyboard.press("ArrowRight");
        assert.notEqual(await page.locator("#opacity").inputValue(), before);
      });

      await t.step("narrow and dark screens show everything, nothing wider than the screen", async () => {
        for (
          const [name, width, colorScheme] of [["narrow-light", 360, "light"], ["narrow-dark", 320, "dark"], [
            "wide-dark",
            1100,
            "dark",
          ]] as const
        ) {
          const page = await open({ viewport: { width, height: 740 }, colorScheme, hasTouch: width < 500 });
          await page.setInputFiles("#files", paths.slice(0, 2));
          await finished(page, 2);
          await page.locator(".numbers summary").first().click();
          const wide = await page.evaluate(pageWidth);
          assert.ok(wide <= width, `the page is ${wide} pixels wide, the screen ${width}`);
          for (const button of await page.locator("button:visible").all()) {
            const box = (await button.boundingBox())!;
            assert.ok(width > 500 || box.height >= 44, `a button of ${box.height} pixels for a finger`);
          }
          // Text against its background, as the WCAG defines contrast.
          const contrast = await page.evaluate(contrasts, [
            ["body", "body"],
            [".verdict", ".card"],
            [".verdict small", ".card"],
            [".said dt", ".card"],
            ["figcaption", ".card"],
            ["footer", "body"],
            [".drop strong", ".drop label"],
          ]);
          for (const ratio of contrast) assert.ok(ratio >= 4.5, `contrasts ${contrast}`);
          await page.locator(".numbers summary").first().click();
          await shoot(page, name);
          await page.context().close();
        }
      });
    });
  });

  Deno.test("page: asks for a key where the server wants one, and goes on with it", async () => {
    const key = "0123456789abcdef";
    await withBrowser(["--api-keys", key], async ({ open }) => {
      const page = await open();
      await page.locator("#key-form").waitFor({ state: "visible" });
      await page.setInputFiles("#files", paths.slice(0, 1));
      await page.locator("#key").fill("not the right one");
      await page.keyboard.press("Enter");
      await page.locator("#key-form").waitFor({ state: "visible" });
      await page.locator("#key").fill(key);
      await page.keyboard.press("Enter");
      await finished(page, 1);
      assert.match(await page.locator(".said").textContent() ?? "", /Confidence\d/);
    });
  });
}
