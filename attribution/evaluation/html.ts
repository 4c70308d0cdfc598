/**
 * Lays out an HTML page of numbers, tables and SVG diagrams, without scripts or other files. The page follows the
 * reader's light or dark setting.
 */
import { axisStyle, palette, renderSvg } from "../plot/chart.ts";
import type { Figure } from "./chart_style.ts";

/** A section of a page. */
export interface Section {
  readonly title: string;
  /** Its body. */
  readonly html: string;
}

/** Escapes the special characters of HTML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/**
 * A table of plain text, which may have lines. Columns of numbers are aligned right; rows with an index in `strong` are
 * set in bold.
 */
export function htmlTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  strong: number[] = [],
): string {
  const right = head.map((_, i) => rows.length > 0 && rows.every((row) => /^(–|[-+]?[\d.,]+[^]*)$/.test(row[i])));
  const row = (cells: readonly string[], tag: "th" | "td", isStrong: boolean) =>
    `<tr${isStrong ? ' class="strong"' : ""}>` +
    cells.map((cell, i) => `<${tag}${right[i] ? ' class="number"' : ""}>${escapeHtml(cell)}</${tag}>`).join("") +
    "</tr>";
  return `<div class="scroll" tabindex="0"><table><thead>${row(head, "th", false)}</thead><tbody>` +
    rows.map((cells, i) => row(cells, "td", strong.includes(i))).join("\n") + "</tbody></table></div>";
}

/** A diagram with its caption. */
export async function figure({ option, width, height }: Figure, caption: string): Promise<string> {
  const svg = await renderSvg(option, width, height);
  const label = `<svg role="img" aria-label="${escapeHtml(caption)}"`;
  // A phone would shrink wide diagrams until nobody can read them: there, they are moved sideways instead.
  const kind = width > phoneWidth ? ' class="wide"' : "";
  const scroll = width > phoneWidth ? '<div class="scroll" tabindex="0">' : "<div>";
  const drawing = `${scroll}${svg.replace("<svg", label)}</div>`;
  return `<figure${kind}>${drawing}<figcaption>${escapeHtml(caption)}</figcaption></figure>`;
}

/** Diagrams up to this width in pixels are readable on a phone. */
const phoneWidth = 420;

/** Small diagrams beside one another, or one below the other on a narrow screen. */
export async function panelsOf(
  panels: readonly { readonly title: string; readonly figure: Figure }[],
): Promise<string> {
  const drawn = await Promise.all(panels.map(({ title, figure: own }) => figure(own, title)));
  return `<div class="panels">${drawn.join("\n")}</div>`;
}

/** What the colours of several diagrams mean. */
export function colourKey(entries: readonly { readonly title: string; readonly color: string }[]): string {
  const items = entries.map(({ title, color }) => {
    const swatch = `<svg width="14" height="8" aria-hidden="true"><rect width="14" height="8" fill="${color}"/></svg>`;
    return `<li>${swatch} ${escapeHtml(title)}</li>`;
  });
  return `<figure class="key"><ul>${items.join("")}</ul></figure>`;
}

/** Colours of diagrams on a dark page, by the colour on a light page. */
export const darkColors: Readonly<Record<string, string>> = {
  "#ffffff": "#14191f",
  [axisStyle.nameTextStyle.color]: "#e3e8ee",
  [axisStyle.splitLine.lineStyle.color]: "#353c45",
  [palette[0]]: "#4da3e0",
  [palette[1]]: "#ff8a3d",
  [palette[2]]: "#2ec99b",
  [palette[3]]: "#e29cc3",
};

/**
 * CSS rules that replace colours. echarts writes colours as attributes, in one of two spellings; CSS overrides
 * attributes.
 */
function darkRules(): string {
  return Object.entries(darkColors).flatMap(([light, dark]) => {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(light.slice(at, at + 2), 16));
    return [light, `rgb(${r},${g},${b})`].flatMap((spelling) =>
      ["fill", "stroke"].map((property) => `figure svg [${property}="${spelling}"]{${property}:${dark}}`)
    );
  }).join("\n");
}

const style = `
:root{color-scheme:light dark;--ink:#1f2328;--faint:#d0d7de;--paper:#ffffff;--soft:#f6f8fa;--edge:#8b949e}
@media (prefers-color-scheme:dark){:root{--ink:#e3e8ee;--faint:#353c45;--paper:#14191f;--soft:#1d242c;--edge:#768390}
${darkRules()}}
body{font:15px/1.5 system-ui,"DejaVu Sans",Verdana,sans-serif;color:var(--ink);background:var(--paper)}
body{max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;border-bottom:1px solid var(--faint);text-align:left;vertical-align:top}
td{white-space:pre}th{min-width:3.5rem;vertical-align:bottom}
td:last-child:not(.number){white-space:normal}.number{text-align:right}
.strong td{font-weight:600;background:var(--soft)}
.scroll{overflow-x:auto;background:linear-gradient(to right,var(--paper) 40%,transparent),
linear-gradient(to left,var(--paper) 40%,transparent) 100% 0,linear-gradient(to right,var(--edge),transparent),
linear-gradient(to left,var(--edge),transparent) 100% 0;background-repeat:no-repeat;
background-size:3rem 100%,3rem 100%,.8rem 100%,.8rem 100%;background-attachment:local,local,scroll,scroll}
figure{margin:1rem 0}figure svg{max-width:100%;height:auto}
figcaption{font-size:.87rem;max-width:46rem}
.panels{display:flex;flex-wrap:wrap;gap:0 1.5rem}.panels figure{display:flex;flex-direction:column-reverse}
.panels figcaption{font-weight:600}.key ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0}
.about{font-size:.87rem}h1{overflow-wrap:anywhere}
@media (max-width:44rem){.wide svg{max-width:none}body{margin-top:1rem}h1{font-size:1.25rem}
td:last-child:not(.number){min-width:12rem}
.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:var(--paper);max-width:8rem;
white-space:normal;overflow-wrap:break-word}.strong td:first-child{background:var(--soft)}}
@media print{.scroll{overflow:visible}figure,tr{break-inside:avoid}body{font-size:10pt}}
.tiles{display:flex;flex-wrap:wrap;gap:.75rem}
.tile{background:var(--soft);border:1px solid var(--faint);border-radius:6px;padding:.6rem .9rem}
.tile b{display:block;font-size:1.3rem}
`;

/** A box with a name, a number and a line of small print. */
export function tile(name: string, value: string, note: string): string {
  return `<div class="tile">${escapeHtml(name)}<b>${escapeHtml(value)}</b>${escapeHtml(note)}</div>`;
}

/** A page of sections. */
export function page(title: string, sections: readonly Section[]): string {
  const body = sections.map(({ title, html }) => `<h2>${escapeHtml(title)}</h2>\n${html}`).join("\n");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><h1>${escapeHtml(title).replaceAll("/", "/<wbr>")}</h1>
${body}
</body></html>
`;
}
