/** Bundles modules for a page, and opens them in a Chromium with WebGPU on SwiftShader. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "npm:playwright-core@1.65.1";
import { findBrowser } from "../../attribution/service/browser.ts";
import { withFolder } from "../../attribution/files.ts";

/** WebGPU without a graphics card, on Chromium's own Vulkan driver. */
const flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** One JavaScript module for a page with everything that the modules import; `Deno.test` is the page's runner. */
export async function bundle(modules: readonly URL[]): Promise<string> {
  return await withFolder(async (dir) => {
    const together = join(dir, "together.ts"), out = join(dir, "bundle.js");
    await Deno.writeTextFile(together, modules.map(({ href }) => `import ${JSON.stringify(href)};\n`).join(""));
    const entry = modules.length === 1 ? fileURLToPath(modules[0]) : together; // one module keeps its exports
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--platform", "browser", "--config", join(root, "deno.json"), entry, "-o", out],
    }).output();
    if (!success) throw new Error(`deno bundle failed: ${new TextDecoder().decode(stderr)}`);
    return (await Deno.readTextFile(out)).replaceAll("Deno.test(", "pageTests.test(");
  });
}

/** How a page is served. */
export interface PageOptions {
  /** JavaScript modules by path: `/networks.js`. They are run in this order. */
  readonly modules: Readonly<Record<string, string>>;
  /** What imports of other names mean, as in an import map. */
  readonly imports?: Readonly<Record<string, string>>;
  /** A folder whose files the page may read below /files/. */
  readonly files?: string;
  /** Send the headers under which a page may share memory with workers. Default true. */
  readonly isolated?: boolean;
}

/**
 * Runs `body` with a page that has run the modules. What it has complained of by then is in `complaints`: uncaught
 * errors, and warnings and errors of its console.
 */
export async function withPage<T>(
  options: PageOptions,
  body: (page: Page, complaints: readonly string[]) => Promise<T>,
): Promise<T> {
  const { modules, imports = {}, files, isolated = true } = options;
  const page = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script>`;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async ({ url }) => {
    const { pathname } = new URL(url);
    const headers = new Headers(
      isolated
        ? { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" }
        : undefined,
    );
    const send = (type: string, content: BodyInit) => {
      headers.set("content-type", type);
      return new Response(content, { headers });
    };
    if (pathname === "/") return send("text/html", page);
    if (pathname in modules) return send("text/javascript", modules[pathname]);
    const file = /^\/files\/([\w.]+)$/.exec(pathname)?.[1];
    if (files !== undefined && file) return send("application/octet-stream", await Deno.readFile(join(files, file)));
    return new Response(null, { status: pathname === "/favicon.ico" ? 204 : 404 });
  });
  const executablePath = await findBrowser();
  // The sandbox does not work for root, which tests in containers run as.
  const browser = await chromium.launch({
    executablePath,
    args: [...flags, ...Deno.uid() === 0 ? ["--no-sandbox"] : []],
  });
  const complaints: string[] = [];
  try {
    const opened = await (await browser.newContext()).newPage();
    opened.on("pageerror", (error) => complaints.push(error.message));
    opened.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    await opened.goto(`http://127.0.0.1:${server.addr.port}/`, { waitUntil: "load" });
    for (const path of Object.keys(modules)) await opened.evaluate(async (path) => void await import(path), path);
    return await body(opened, complaints);
  } finally {
    await browser.close();
    await server.shutdown();
  }
}
