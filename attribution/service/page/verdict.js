// What is said of an image, as parts of a page: the finding in words and why, scores, evidence beside what is typical,
// history, how it was measured. The detail view and the report are made of them. The words are the server's.
import { capital, element, icon, percent, ratio, short, table, terms } from "./dom.js";

/** The finding in words. `level` is that of a heading in it, 0 for none. */
export function findingLine({ finding, title, explanation }) {
  return [
    element(
      "p",
      { class: "verdict", "data-finding": finding },
      icon(finding),
      element("span", { text: capital(title) }),
      element("small", { text: finding }),
    ),
    element("p", { class: "explanation", text: explanation }),
  ];
}

/** Label, confidence, likelihood ratio and reasons. */
export function decision(verdict) {
  const { label, labelMeaning, confidence, unsure, reasons, log10LikelihoodRatio, support, missRate } = verdict;
  return terms([
    ["Why", ...reasons],
    ["Label", `${label}: ${labelMeaning}`],
    ["Confidence", `${percent(confidence)}${unsure ? ", unsure" : ""}: how often such verdicts are right`],
    ["Likelihood ratio", support === null ? "" : `${ratio(log10LikelihoodRatio)}: ${support}`],
    ["Missed", missRate === null ? "" : `${percent(missRate)} of generated images processed like this one`],
  ]);
}

/** A score for every label that the image can have. */
export function scores({ label, scores }) {
  const rows = Object.entries(scores).map(([name, score]) => [name, percent(score), bar(score)]);
  const names = Object.keys(scores);
  return table({
    caption: `Scores of all ${names.length} labels`,
    head: ["Label", "Score", "Share"],
    rows,
    kind: "scores",
    strong: (i) => names[i] === label,
  });
}

function bar(share) {
  // A drawing, so that it needs no style of its own in a report. The number stands beside it.
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "share" })) {
    svg.setAttribute(name, value);
  }
  svg.setAttribute("aria-hidden", "true");
  for (const [name, value] of Object.entries({ width: 100 * share, height: 8 })) rect.setAttribute(name, value);
  svg.append(rect);
  return svg;
}

/** The numbers under every tokenizer and model, each beside what own images have. `typical` may be undefined. */
export function evidence({ evidence: { families, variants } }, typical) {
  const parts = Object.entries(families).map(([family, signals]) => {
    const known = typical?.families[family] ?? {};
    const rows = Object.entries(signals).map(([name, value]) => evidenceRow(known[name] ?? { title: name }, value));
    return evidenceTable(
      `Signals under the tokenizer of ${family.toUpperCase()}`,
      `${family.toUpperCase()}'s images`,
      rows,
    );
  });
  const names = Object.keys(variants);
  if (names.length === 0) {
    parts.push(element("p", { text: "No model read this image: its signals alone exclude all of them." }));
  }
  for (const variant of names) {
    const { summaries = {}, meanLogProb, perplexity, tokens } = variants[variant];
    const known = typical?.variants[variant] ?? {};
    const numbers = { "conditional.mean": meanLogProb, "conditional.perplexity": perplexity, ...summaries };
    const rows = Object.entries(known).filter(([name]) => name in numbers)
      .map(([name, words]) => evidenceRow(words, numbers[name]));
    if (rows.length === 0) {
      rows.push(evidenceRow({ title: "log-probability per token (nats)" }, meanLogProb));
      rows.push(evidenceRow({ title: "perplexity" }, perplexity));
    }
    parts.push(evidenceTable(`Likelihood of the ${tokens} tokens under ${variant}`, `${variant}'s images`, rows));
  }
  return parts;
}

function evidenceTable(caption, whose, rows) {
  return table({
    caption,
    head: ["What was measured", "This image", `Typical of ${whose}`, "This image is"],
    rows,
    kind: "evidence",
  });
}

function evidenceRow({ title, meaning, low, middle, high }, value) {
  const name = element("span", {}, title, meaning ? element("small", { text: meaning }) : undefined);
  if (middle === undefined) return [name, short(value), "–", "–"];
  const place = value < low ? "below" : value > high ? "above" : "typical";
  const words = { below: "▼ below", above: "▲ above", typical: "● within" };
  return [
    name,
    short(value),
    `${short(low)} to ${short(high)}`,
    element("span", { class: `place ${place}`, text: words[place] }),
  ];
}

/** What happened to the image and its file. */
export function history({ verdict, evidence: { width, height, notes = [], facts } }, size) {
  const { history, found } = verdict;
  return terms([
    ["Traces of processing", ...history.length + found.length > 0 ? history : ["nothing that shows"]],
    ["Found", ...found],
    ["Notes on the file", ...notes.map(capital)],
    ["Size", `${width} x ${height} pixels${size === undefined ? "" : `, ${size.toLocaleString("en")} bytes`}`],
    ["Format", facts?.file?.format?.toUpperCase()],
    ["Written by", facts?.file?.software],
  ]);
}

/** By what, how and when it was measured. */
export function provenance({ image: { evidence }, modelSet, server }) {
  const { sha256, version, commit, calibration, method, judged, settings } = evidence;
  const { device, search } = server ?? {};
  return terms([
    ["sha256 of the file", code(sha256)],
    ["Judged", judged === undefined ? undefined : `${judged.replace("T", " ").replace(/\.\d+Z$/, "")} UTC`],
    ["Program", `model-tracer ${version ?? ""}${commit ? `, commit ${commit}` : ""}`],
    ["Model set", modelSet.name, code(modelSet.hash)],
    ["Calibration", calibration === null ? "none" : code(calibration)],
    ["Method", method],
    ["Settings", settingsText(settings, search)],
    ["Device", device === undefined ? undefined : `${device.name}${device.software ? " (software)" : ""}`],
  ]);
}

const code = (text) => element("code", { text });

function settingsText(settings, search) {
  const { condition, quantization, signals, weightType } = settings;
  const classes = { infer: "classes inferred", none: "without classes", given: "classes given" }[condition];
  return [
    classes,
    `quantisation ${quantization}`,
    `signals ${signals}`,
    `weights ${weightType}`,
    ...search ? [`search ${search}`] : [],
  ].join(", ");
}
