/** Verdicts as lines for people: a row per image, and at the end what the findings and labels of a run mean. */
import { type Evidence, type EvidenceLine, findings, isUnreadable } from "../../attribution/evidence/evidence.ts";
import {
  findingWords,
  outlierMeaning,
  sharePhrase,
  type VerdictWords,
  wordsOf,
} from "../../attribution/evidence/words.ts";
import { noLabel, outlierLabel } from "../../attribution/labels.ts";
import type { Summary } from "../../attribution/run/attribute.ts";
import { printable } from "../../util/names.ts";

/**
 * A row: name, finding, label, confidence, log10 of the likelihood ratio, then words with semicolons between them. The
 * words say what the ratio supports, what happened to the image, in which pose it was found, and how often traces are
 * missed.
 */
export function verdictRow(line: EvidenceLine): string {
  const name = printable(line.image).padEnd(28);
  if (isUnreadable(line)) return `${name}  ${line.label}  ${line.error.message}\n`;
  const { finding, label, confidence, log10LikelihoodRatio: ratio = 0 } = line;
  const words = wordsOf(line);
  const cells = [
    name,
    finding.padEnd(12),
    (label === noLabel ? "-" : label).padEnd(8),
    confidence.toFixed(3),
    (words.support === null ? "-" : signed(ratio)).padStart(6),
    remarks(line, words).map(printable).join("; "),
  ];
  return cells.join("  ").trimEnd() + "\n";
}

/** `+4.6`; a ratio that rounds to 0 has no sign. */
function signed(ratio: number): string {
  const digits = ratio.toFixed(1);
  return Number(digits) === 0 ? "0.0" : ratio > 0 ? `+${digits}` : digits;
}

function remarks(
  { finding, missRate, reasons, unsure }: Evidence,
  { support, history, found }: VerdictWords,
): string[] {
  const isMissed = missRate !== undefined && (finding === "none" || finding === "inconclusive");
  return [
    ...unsure ? ["unsure"] : [],
    ...finding === "unsuitable" ? reasons.map((reason) => reason.replace(/\.$/, "")) : [],
    ...support === null ? [] : [support],
    ...history,
    ...found.length === 0 ? [] : [`found ${found.join(", ")}`],
    ...isMissed ? [`${sharePhrase(missRate)} of generated images like this are missed`] : [],
  ];
}

/** A note for every finding of a run: how often it came and what it means. One more where `outlier` is a label. */
export function findingNotes({ findings: counts, labels }: Pick<Summary, "findings" | "labels">): string[] {
  const notes = findings.flatMap((finding) => {
    const count = counts[finding];
    if (count === undefined) return [];
    return [`${finding}: ${count} ${count === 1 ? "image" : "images"}. ${findingWords[finding].explanation}`];
  });
  return labels[outlierLabel] === undefined ? notes : [...notes, `label ${outlierLabel}: ${outlierMeaning}.`];
}
