// A report that can be sent: one HTML file with everything in it, without scripts, or the same on paper. It says what
// was found of which file, by what, and what it cannot say.
import { count, element, marked, percent, ratio, table, terms } from "./dom.js";
import { decode, figures } from "./pictures.js";
import { decision, evidence, findingLine, history, provenance, scores } from "./verdict.js";

/** Longer sides of pictures in a report of many images would make it too large to send. */
const manyImages = 50;

/**
 * The report as an element. `items` are those that are done or have failed, `about` is what the server says of itself.
 * `onImage` is told after each.
 */
export async function report(items, about, onImage = () => {}) {
  const made = new Date(), done = items.filter(({ image }) => image?.verdict);
  const sets = [...new Map(done.map(({ modelSet }) => [modelSet.hash, modelSet])).values()];
  const named = sets.map(({ name }) => name).join(", ") || "none";
  const subject = items.length === 1 ? items[0].name : count(items.length, "image");
  const parts = [
    element("h1", { text: `Attribution report: ${subject}` }),
    element("p", {
      class: "when",
      text: `Which image-autoregressive model made ${items.length === 1 ? "this image" : "these images"}, if any of ` +
        `the known ones did. Model set ${named}; written ${time(made)} by model-tracer ${about?.version ?? ""}.`,
    }),
  ];
  if (items.length > 1) parts.push(summary(items));
  for (const [i, item] of items.entries()) {
    parts.push(await imageSection(item, i, items.length, about));
    onImage(i + 1);
  }
  parts.push(...reading(about), ...settings(about, sets));
  return element("article", { class: "report" }, ...parts);
}

const time = (date) => `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;

function summary(items) {
  const rows = items.map(({ name, image, error }, i) => {
    const link = element("a", { href: `#image-${i + 1}`, text: name });
    if (!image?.verdict) return [link, `not read: ${error}`, "–", "–", "–"];
    const { title, label, confidence, unsure, support, log10LikelihoodRatio } = image.verdict;
    const likelihood = support === null ? "–" : ratio(log10LikelihoodRatio);
    return [link, title, label, percent(confidence) + (unsure ? " unsure" : ""), likelihood];
  });
  const findings = Object.entries(Object.groupBy(items, ({ image }) => image?.verdict?.finding ?? "not read"));
  return element(
    "section",
    {},
    element("h2", { text: "Summary" }),
    element("p", { text: `${findings.map(([finding, { length }]) => `${length} ${finding}`).join(", ")}.` }),
    table({
      caption: "All images",
      head: ["Image", "Finding", "Label", "Confidence", "Likelihood ratio"],
      rows,
      kind: "all",
    }),
  );
}

async function imageSection(item, i, total, about) {
  const { name, image, error, size } = item;
  const heading = element("h2", { text: total === 1 ? "Finding" : `${i + 1}. ${name}` });
  const section = element("section", { class: "image", id: `image-${i + 1}` }, heading);
  const pictures = await stills(item, about, total > manyImages ? 128 : 256);
  if (!image?.verdict) {
    section.append(element("p", { class: "verdict bad", text: `Not read: ${error}` }), ...pictures);
    return section;
  }
  section.append(...findingLine(image.verdict), decision(image.verdict));
  if (pictures.length > 0) section.append(element("div", { class: "pictures" }, ...pictures));
  section.append(
    history(image, size),
    scores(image.verdict),
    ...evidence(image, about?.typical),
    element("h3", { text: "How it was measured" }),
    provenance(item),
  );
  return section;
}

/** The figures with images in the place of canvases, which a file cannot have. */
async function stills(item, about, side) {
  const bitmap = await decode(item.file).catch(() => undefined);
  if (!bitmap) return [];
  const made = figures(item, bitmap, { typical: about?.typical, opacity: 0.65 });
  for (const canvas of made.flatMap((figure) => [...figure.querySelectorAll("canvas")])) {
    const isBar = canvas.classList.contains("bar");
    const alt = canvas.getAttribute("aria-label") ?? "";
    const src = isBar ? canvas.toDataURL("image/png") : smaller(canvas, side).toDataURL("image/jpeg", 0.85);
    canvas.replaceWith(element("img", { src, alt, class: isBar ? "bar" : undefined }));
  }
  bitmap.close();
  return made;
}

/** The canvas, at most `side` pixels long, on white: JPEG has no transparency. */
function smaller(canvas, side) {
  const scale = Math.min(1, side / Math.max(canvas.width, canvas.height));
  const [width, height] = [canvas.width, canvas.height].map((length) => Math.max(1, Math.round(length * scale)));
  const small = element("canvas", { width, height });
  const context = small.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, width, height);
  return small;
}

function reading(about) {
  const notes = [...about?.cautions ?? [], ...about?.notes ?? []];
  if (notes.length === 0) return [];
  const findings = Object.entries(about.findings ?? {}).map(([finding, { title, explanation }]) => [
    finding,
    `${title}: ${explanation}`,
  ]);
  return [
    element("h2", { text: "How to read this report, and its limits" }),
    element("ul", {}, ...notes.map((text) => element("li", {}, marked(text)))),
    element("h3", { text: "Findings" }),
    terms(findings),
  ];
}

function settings(about, sets) {
  const code = (text) => text ? element("code", { text }) : undefined;
  return [
    element("h2", { text: "Program and models" }),
    terms([
      ["Program", about ? `model-tracer ${about.version}` : undefined],
      ["Model set", ...sets.flatMap(({ name, hash, description }) => [name, code(hash), description])],
      ["Labels", about?.labels.join(", ")],
      ["Calibration", code(about?.calibration)],
      ["Method", about?.method],
      ["Search", about?.search],
      ["Unsure below", about ? percent(about.unsureBelow) : undefined],
      ["Device", about ? `${about.device.name}${about.device.software ? " (software)" : ""}` : undefined],
      ["Settings", about ? code(JSON.stringify(about.settings)) : undefined],
    ]),
    element(
      "p",
      {},
      marked(
        "To check: sha256 is that of a file's bytes (`sha256sum FILE`). The same program, model set, calibration and " +
          "settings give the same numbers for the same file.",
      ),
    ),
  ];
}

/** The report as the text of an HTML file. `css` is its style. */
export function asFile(article, css) {
  const title = article.querySelector("h1").textContent;
  const head = [
    element("meta", { charset: "utf-8" }),
    // Whatever a file name says, nothing in the file runs, and nothing is fetched.
    element("meta", {
      "http-equiv": "Content-Security-Policy",
      content: "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    }),
    element("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    element("meta", { name: "color-scheme", content: "light dark" }),
    element("title", { text: title }),
  ].map(({ outerHTML }) => outerHTML).join("\n");
  // A style element of this page would be refused by its policy, so the text is put together.
  return `<!doctype html>\n<html lang="en"><head>${head}\n<style>\n${css}</style></head>\n` +
    `<body><main>${article.outerHTML}</main></body></html>\n`;
}
