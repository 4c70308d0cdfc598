// Results as files to download: a table, and everything as JSON.

/** Rows image_name,label,finding and so on, then a score per label, then the error of an image without a verdict. */
export function toCsv(results) {
  // Images of several sizes may have scores of other labels; all have that of outliers, which comes last.
  const labels = new Set(results.flatMap(({ image }) => Object.keys(image?.verdict?.scores ?? {})));
  const names = [...labels].sort((a, b) => (a === "outlier") - (b === "outlier"));
  const said = ["finding", "confidence", "unsure", "log10lr", "reasons", "notes"];
  const header = ["image_name", "label", ...said, ...names.map((name) => `score_${name}`), "error"];
  const rows = results.map(({ name, image, error }) => {
    const empty = header.slice(3).map(() => "");
    if (!image?.verdict) return [textCell(name), "unreadable", ...empty, textCell(error ?? "")];
    const { label, finding, confidence, unsure, log10LikelihoodRatio, reasons, scores } = image.verdict;
    const notes = image.evidence.notes ?? [];
    const numbers = [label, finding, confidence, unsure, log10LikelihoodRatio ?? ""];
    const cells = [...numbers, ...[reasons.join(" "), notes.join("; ")].map(textCell)];
    return [textCell(name), ...cells, ...names.map((label) => scores[label] ?? ""), ""];
  });
  return [header, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

/** A text with an apostrophe before what a spreadsheet would take for a formula, as util/names.ts writes it. */
function textCell(text) {
  return /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** All that the server said, by image, under the names of the files. */
export function toJson(results) {
  return JSON.stringify(
    results.map(({ name, image, error, code, modelSet, server }) =>
      error ? { name, error, code } : { ...image, name, modelSet, server, index: undefined }
    ),
    null,
    1,
  );
}
