/**
 * The page of a real server in a real browser: choosing, pasting and dropping images, verdicts, maps, downloads, keyboard.
 * Without a Chromium these tests fail and say what to install; `-- --no-browser` leaves them out.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import type { FileChooser, Page } from "npm:playwright-core@1.65.1";
import { labels } from "../../labels.ts";
import { finished, type Open, shoot, withPages } from "./browser.ts";
import { coloursOf, focused, giveFile, hasFocus, heightsOf, isFinished, outlineOf, pageWidth } from "./in_page.js";
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

/** The numbers of different colours in the pictures of the image that is shown. */
async function colours(page: Page): Promise<number[]> {
  return await page.locator("#pictures figure > canvas").evaluateAll(coloursOf);
}

const names = (page: Page) => page.locator("#rows th.name").allTextContents();

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: verdicts by file, paste, drop and keyboard", async (t) => {
    await withBrowser([], async ({ open, server }) => {
      await t.step("images are chosen, get verdicts, scores and maps, and are downloaded", async () => {
        const page = await open({ viewport: { width: 1440, height: 900 } });
        assert.match(await page.title(), /model-tracer/);
        await page.setInputFiles("#files", paths.slice(0, 4));
        await finished(page, 4);
        const expected: string[] = [];
        for (const { bytes } of images.slice(0, 4)) {
          const response = await fetch(`${server.url}/v1/attribute`, { method: "POST", body: bytes });
          expected.push((await response.json()).images[0].verdict.label);
        }
        assert.deepEqual(await page.locator("#rows td.label").allTextContents(), expected);
        const outliers = expected.filter((label) => label === "outlier").length;
        const status = await page.locator("#status").textContent() ?? "";
        assert.match(status, new RegExp(`^4 of 4 images done: .*\\b${4 - outliers} variant\\b`));
        await shoot(page, "real-list");
        // Both maps where a variant was run, the residual alone for an outlier; each with the colours of a map.
        for (const [i, label] of expected.entries()) {
          await page.getByRole("link", { name: images[i].name }).click();
          await page.locator("#pictures .quantisation").waitFor();
          const counts = await colours(page);
          assert.equal(counts.length, label === "outlier" ? 2 : 3);
          for (const count of counts) assert.ok(count > 50, `a picture of ${count} colours`);
          assert.deepEqual(await page.locator("table.scores tbody th").allTextContents(), labels);
          assert.match(await page.locator("#evidence").innerText(), /QuantLoss.*\n?.*[\d.]+ to [\d.]+/);
          await shoot(page, `real-${label}`);
          await page.keyboard.press("Escape");
        }
        assert.ok(new Set(expected.map((label) => label === "outlier")).size === 2, "an outlier and another one");

        const downloading = page.waitForEvent("download");
        await page.getByRole("button", { name: "CSV" }).click();
        const csv = await Deno.readTextFile((await (await downloading).path())!);
        const table = parse(csv, { columns: true }) as Record<string, string>[];
        assert.deepEqual(table.map(({ image_name }) => image_name), images.slice(0, 4).map(({ name }) => name));
        assert.deepEqual(table.map(({ label }) => label), expected);
        const total = labels.reduce((sum, label) => sum + Number(table[0][`score_${label}`]), 0);
        assert.ok(Math.abs(total - 1) < 1e-6);
        const next = page.waitForEvent("download");
        await page.getByRole("button", { name: "JSON" }).click();
        const json = JSON.parse(await Deno.readTextFile((await (await next).path())!));
        assert.deepEqual(json.map(({ verdict }: { verdict: { label: string } }) => verdict.label), expected);
        const given = images.slice(0, 4).map(({ name }) => name);
        assert.deepEqual(json.map(({ name }: { name: string }) => name), given);
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
        assert.deepEqual(await names(page), ["pasted.png", "dropped.png", "broken.png"]);
        assert.match(await page.locator("#rows .bad").textContent() ?? "", /PNG/);
        assert.match(await page.locator("#status").textContent() ?? "", /2 of 3 images done, 1 failed/);
        const evil = 'a<img src=x onerror="document.title=1">.png';
        await give("drop", evil, images[0].bytes, "image/png");
        await finished(page, 4);
        assert.equal((await names(page)).at(-1), evil);
        assert.match(await page.title(), /model-tracer/);
      });

      await t.step("the keyboard alone is enough", async () => {
        const page = await open();
        // Listening before anything is pressed: the browser is told so by a message of its own.
        const chooser = new Promise<FileChooser>((resolve) => page.once("filechooser", resolve));
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(focused), "files");
        const outline = await page.locator(".drop label").first().evaluate(outlineOf);
        assert.equal(outline, "solid", "where the focus is can be seen");
        await page.keyboard.press("Enter");
        await (await chooser).setFiles(paths.slice(0, 2));
        await finished(page, 2);
        const seen: string[] = [];
        for (let i = 0; i < 25; i++) {
          await page.keyboard.press("Tab");
          seen.push(await page.evaluate(focused));
        }
        for (
          const id of ["folder", "search", "label", "sort", "direction", "csv", "json", "report", "clear", "remove"]
        ) {
          assert.ok(seen.includes(id), `${id} is not reached: ${seen}`);
        }
        await page.getByRole("link", { name: images[0].name }).focus();
        await page.keyboard.press("Enter");
        await page.locator("#detail").waitFor();
        assert.equal(await page.evaluate(focused), "detail-title");
        await page.keyboard.press("ArrowRight");
        await page.locator("#detail-title", { hasText: images[1].name }).waitFor();
        await page.locator("#detail summary").focus();
        await page.keyboard.press("Enter");
        assert.match(await page.locator("#numbers").innerText(), /quantLoss/);
        await page.locator("#opacity").focus();
        const before = await page.locator("#opacity").inputValue();
        await page.keyboard.press("ArrowRight");
        assert.notEqual(await page.locator("#opacity").inputValue(), before);
        await page.locator("#one-report").focus();
        await page.keyboard.press("Escape");
        await page.waitForFunction(hasFocus, "image-2");
        await page.locator(".remove").first().focus();
        await page.keyboard.press("Enter");
        await page.waitForFunction(hasFocus, "image-2");
        await page.waitForFunction(isFinished, 1);
        assert.deepEqual(await names(page), [images[1].name]);
      });

      await t.step("buttons of a phone fit fingers", async () => {
        const page = await open({ viewport: { width: 390, height: 844 }, hasTouch: true });
        await page.setInputFiles("#files", paths.slice(0, 2));
        await finished(page, 2);
        const heights = await page.locator("button:visible, select:visible").evaluateAll(heightsOf);
        assert.ok(heights.length > 10 && heights.every((height: number) => height >= 44), `for a finger: ${heights}`);
        await page.getByRole("link", { name: images[0].name }).click();
        await page.locator("#pictures .quantisation").waitFor();
        await shoot(page, "real-phone");
        assert.ok(await page.evaluate(pageWidth) <= 390);
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
      assert.match(await page.locator("#rows").textContent() ?? "", /\d %/);
    });
  });
}
