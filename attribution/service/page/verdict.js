// What a card says of a verdict: the finding first, then its reasons and numbers. The words are the server's.

/** Fills a card. */
export function showVerdict(card, image) {
  const { verdict, evidence } = image;
  showFinding(card, verdict);
  showNumbers(card.querySelector(".said"), verdict, evidence.notes ?? []);
  showScores(card.querySelector(".scores"), verdict);
  card.querySelector("pre").textContent = JSON.stringify({ verdict, evidence }, null, 1);
  for (const details of card.querySelectorAll("details")) details.hidden = false;
}

function showFinding(card, { finding, title, explanation }) {
  card.dataset.finding = finding;
  const line = card.querySelector(".verdict");
  line.replaceChildren(icon(finding), element("span", capital(title)), element("small", finding));
  card.querySelector(".explanation").textContent = explanation;
  card.querySelector(".explanation").hidden = false;
}

/** The finding as a shape, which needs no colour. */
function icon(finding) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true"); // the words stand beside it
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${finding}`);
  svg.append(use);
  return svg;
}

function showNumbers(list, verdict, notes) {
  const { label, labelMeaning, confidence, unsure, reasons, log10LikelihoodRatio, support, history } = verdict;
  const row = (term, ...values) => {
    if (values.length > 0) list.append(element("dt", term), ...values.map((value) => element("dd", value)));
  };
  row("Label", `${label}: ${labelMeaning}`);
  row("Confidence", `${percent(confidence)}${unsure ? ", unsure" : ""}`);
  if (support !== null) row("Likelihood ratio", `10^${log10LikelihoodRatio.toFixed(1)}: ${support}`);
  row("Why", ...reasons);
  row("What happened to it", ...history);
  row("Notes on the file", ...notes.map(capital));
  list.hidden = false;
}

function showScores(table, { label, scores }) {
  for (const [name, score] of Object.entries(scores)) {
    const row = table.tBodies[0].insertRow();
    row.classList.toggle("best", name === label);
    const head = element("th", name);
    head.scope = "row";
    row.append(head);
    row.insertCell().textContent = percent(score);
    const meter = document.createElement("meter");
    meter.value = score;
    meter.setAttribute("aria-hidden", "true"); // the number stands beside it
    row.insertCell().append(meter);
  }
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
