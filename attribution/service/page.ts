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

const scripts = ["app.js", "client.js", "frame.js", "heatmap.js", "results.js", "verdict.js"] as const;
const files = ["index.html", "style.css", ...scripts, "icon.svg"] as const;

/** By path of the URL; `/` is index.html. */
export async function loadPage(): Promise<ReadonlyMap<string, Asset>> {
  const assets = await Promise.all(files.map(async (name): Promise<[string, Asset]> => {
    const body = await Deno.readFile(new URL(`./page/${name}`, import.meta.url));
    const path = name === "index.html" ? "/" : `/page/${name}`;
    return [path, { body, type: types[name.split(".").pop()!] }];
  }));
  return new Map(assets);
}
