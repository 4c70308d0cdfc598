// Elements and numbers as the page writes them. Texts become text, never HTML.

/** An element with attributes; children are elements or texts. `class` and `text` are short for what they set. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

/** A finding as a shape, which needs no colour. The words stand beside it. It is whole in itself, for reports. */
export function icon(finding) {
  const symbol = document.getElementById(`icon-${finding}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  // Its size where styles are lost, as in mail.
  svg.setAttribute("width", "24");
  svg.setAttribute("height", "24");
  svg.setAttribute("aria-hidden", "true");
  if (symbol) svg.append(...[...symbol.children].map((child) => child.cloneNode(true)));
  return svg;
}

/** A likelihood ratio by its log10. */
export function ratio(log10) {
  const text = log10.toFixed(1);
  return `10^${text === "-0.0" ? "0.0" : text}`;
}

/** A list of terms, each with one or more values; terms without values are left out. */
export function terms(rows, attributes = { class: "terms" }) {
  const list = element("dl", attributes);
  for (const [term, ...values] of rows) {
    const shown = values.filter((value) => value !== undefined && value !== null && value !== "");
    if (shown.length > 0) list.append(element("dt", { text: term }), ...shown.map((value) => element("dd", {}, value)));
  }
  return list;
}

/** A table that scrolls by itself where it is wider than the screen. Rows are lists of texts or elements. */
export function table({ caption, head, rows, kind, strong = () => false }) {
  const made = element(
    "table",
    { class: kind },
    element("caption", { text: caption }),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col", text })))),
    element(
      "tbody",
      {},
      ...rows.map((cells, i) =>
        element(
          "tr",
          { class: strong(i) ? "strong" : undefined },
          ...cells.map((cell, j) =>
            j === 0
              ? element("th", { scope: "row" }, cell)
              : element("td", { class: isNumber(cell) ? "number" : undefined }, cell)
          ),
        )
      ),
    ),
  );
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, made);
}

const isNumber = (cell) => typeof cell === "string" && /^[-+−]?[\d.,]+( %)?$|^–$/.test(cell);

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** Three digits, and a minus sign. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5)
    ? value.toExponential(2)
    : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}

export function bytes(n) {
  return n < 1e6 ? `${Math.max(1, Math.round(n / 1e3))} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

/** Offers a text as a file. */
export function download(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A text in which `words` are code. */
export const marked = (text) => {
  const parts = text.split("`").map((part, i) => i % 2 === 1 ? element("code", { text: part }) : part);
  return element("span", {}, ...parts);
};
