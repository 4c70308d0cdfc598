/** The files of the page, by their paths, read once when a server starts: requests never open a file. */

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** The pages by their paths; all other files are below /page/. */
const pages: Readonly<Record<string, string>> = { "index.html": "/", "docs.html": "/docs" };
const styles = ["style.css", "overview.css", "report.css", "docs.css"] as const;
const scripts = [
  ...["app.js", "client.js", "detail.js", "docs.js", "dom.js", "frame.js", "heatmap.js", "intake.js"] as const,
  ...["items.js", "overview.js", "pictures.js", "report.js", "results.js", "store.js", "unzip_worker.js"] as const,
  ...["verdict.js", "vendor/fflate.js"] as const,
] as const;

/** All files, by their names in the folder `page`. */
export const pageFiles: readonly string[] = [...Object.keys(pages), ...styles, ...scripts, "icon.svg"];

/** By path of the URL. */
export async function loadPage(): Promise<ReadonlyMap<string, Asset>> {
  const assets = await Promise.all(pageFiles.map(async (name): Promise<[string, Asset]> => {
    const body = await Deno.readFile(new URL(`./page/${name}`, import.meta.url));
    return [pages[name] ?? `/page/${name}`, { body, type: types[name.split(".").pop()!] }];
  }));
  return new Map(assets);
}
