/** Pages in a real browser, for tests of what the service serves. */
import assert from "node:assert/strict";
import { join } from "node:path";
import axe from "npm:axe-core@4.14.1";
import { type BrowserContextOptions, chromium, type Page } from "npm:playwright-core@1.65.1";
import { isFinished } from "./in_page.js";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Path of a Chromium. Throws, saying what to install. */
export async function findBrowser(): Promise<string> {
  const own = Deno.env.get("CHROMIUM");
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  for (const path of own ? [own] : folders.flatMap((folder) => names.map((name) => join(folder, name)))) {
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  throw new Error(
    "no Chromium found: `apt-get install chromium` on Debian, or its path in the variable CHROMIUM. " +
      "To test without a browser: deno task test -- --no-browser",
  );
}

/** Opens a page in a context of its own. */
export type Open = (options?: BrowserContextOptions, path?: string) => Promise<Page>;

/** Runs `body` with pages of the server at `url`; whatever they complain of fails the test. */
export async function withPages(url: string, body: (open: Open) => Promise<void>): Promise<void> {
  const executablePath = await findBrowser();
  // The sandbox does not work for root, which tests in containers run as.
  // A process that draws by a software GPU stalls on busy machines, and clicks wait for it; nothing here needs one.
  const args = ["--disable-gpu", ...Deno.uid() === 0 ? ["--no-sandbox"] : []];
  const browser = await chromium.launch({ executablePath, args });
  const complaints: string[] = [];
  try {
    await body(async (options = {}, path = "/") => {
      const context = await browser.newContext({ acceptDownloads: true, ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(600_000);
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("console", (message) => {
        // That a key is asked for, or an image refused, shows as a failed request; so does a cut connection.
        const expected = /status of (401|413|415|422|504)|net::ERR_(FAILED|INTERNET_DISCONNECTED)/;
        if (message.type() === "error" && !expected.test(message.text())) complaints.push(message.text());
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) {
          complaints.push(`asked for ${request.url()}`);
        }
      });
      await page.goto(url + path);
      await page.locator("body[data-ready]").waitFor({ state: "attached" });
      return page;
    });
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

/** Waits until `count` images have a verdict, or an error. */
export async function finished(page: Page, count: number): Promise<void> {
  await page.waitForFunction(isFinished, count, { polling: 200 });
}

/** Where screenshots go when someone wants to look at them. */
const shots = Deno.env.get("SCREENSHOTS");

/** Takes a screenshot of all of a page, if they are wanted. */
export async function shoot(page: Page, name: string): Promise<void> {
  if (shots !== undefined) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

/** What axe finds wrong on a page, in lines of rule, element and reason. */
export async function audit(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const violations = await page.evaluate("axe.run().then(({ violations }) => violations)") as {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
  }[];
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)}: ${failureSummary}`)
  );
}
