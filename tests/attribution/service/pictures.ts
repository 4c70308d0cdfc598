/**
 * Pictures of the page of a real server with real verdicts: `deno run -A tests/attribution/service/pictures.ts DIR IMAGES...`
 * writes page.webp, which README shows, and where images are given every view of them, to look at: at 390 and 1440 pixels,
 * light and dark.
 */
import { join } from "node:path";
import { ownDecoder } from "../../../attribution/images/decoder/mod.ts";
import { encodeWebp } from "../../../attribution/images/edits/codecs.ts";
import type { Page } from "npm:playwright-core@1.65.1";
import { pageSize } from "./in_page.js";
import { finished, type Open, withPages } from "./browser.ts";
import { root, startServer } from "./server.ts";

const test = join(root, "examples/Dataset/test");
/** Pixels of a picture at most, so that it can be looked at in its own size. */
const mostHigh = 1500;

/** The first thousands of pixels of a page, in pictures one below the other. */
async function shoot(page: Page, dir: string, name: string): Promise<void> {
  const { width, height } = await page.evaluate(pageSize);
  for (let y = 0, i = 1; y < height && i <= 3; y += mostHigh, i++) {
    const clip = { x: 0, y, width, height: Math.min(mostHigh, height - y) };
    await page.screenshot({ path: join(dir, `${name}-${i}.png`), fullPage: true, clip });
  }
}

async function views(open: Open, dir: string, files: readonly string[]): Promise<void> {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    for (const colorScheme of ["light", "dark"] as const) {
      const name = `${width}-${colorScheme}`;
      const page = await open({ viewport: { width, height }, colorScheme });
      await shoot(page, dir, `empty-${name}`);
      await page.setInputFiles("#files", [...files]);
      await finished(page, files.length);
      await page.locator("#rows img").first().waitFor();
      await shoot(page, dir, `list-${name}`);
      for (const finding of ["variant", "family", "none", "inconclusive", "unsuitable"]) {
        const row = page.locator(`#rows tr[data-finding="${finding}"]`).first();
        if (await row.count() === 0) continue;
        await row.getByRole("link").first().click();
        await page.locator("#detail-title").waitFor();
        await page.waitForTimeout(300);
        await shoot(page, dir, `${finding}-${name}`);
        await page.getByRole("link", { name: "All images" }).click();
      }
      const [report] = await Promise.all([
        page.waitForEvent("download"),
        page.locator("#report").click(),
      ]);
      await report.saveAs(join(dir, "report.html"));
      const own = await page.context().newPage();
      await own.goto(`file://${join(dir, "report.html")}`);
      await shoot(own, dir, `report-${name}`);
      await page.context().close();
    }
  }
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    const page = await open({ viewport: { width, height } }, "/docs");
    await shoot(page, dir, `docs-${width}`);
  }
}

/** Images of README's picture: made by models, photographs, and one of another model with a known tokenizer. */
const shown = ["0001", "0003", "0004", "0331", "0005", "0007", "0006", "0020", "0016"].map((name) =>
  join(test, `${name}.png`)
);

/** README's picture: the top of the page with a list. */
async function picture(open: Open, dir: string): Promise<void> {
  const page = await open({ viewport: { width: 1100, height: 900 }, colorScheme: "light" });
  await page.setInputFiles("#files", shown);
  await finished(page, shown.length);
  await page.locator("#rows img").nth(shown.length - 1).waitFor();
  const bytes = Uint8Array.from(await page.screenshot());
  const image = await ownDecoder.stored({ imageName: "page" }, bytes);
  await Deno.writeFile(join(dir, "page.webp"), await encodeWebp(image, 80));
}

const [dir, ...files] = Deno.args;
await Deno.mkdir(dir, { recursive: true });
const server = await startServer([]);
try {
  await withPages(server.url, async (open) => {
    await picture(open, dir);
    if (files.length > 0) await views(open, dir, files);
  });
} finally {
  await server.stop();
}
