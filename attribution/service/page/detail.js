// One image: the finding and why, pictures, scores, evidence, history, and how it was measured. Left and right lead to
// its neighbours in the overview, Escape back to it.
import { element } from "./dom.js";
import { byId, canRetry, items } from "./items.js";
import { shown } from "./overview.js";
import { decode, figures } from "./pictures.js";
import { decision, evidence, findingLine, history, provenance, scores } from "./verdict.js";

const $ = (id) => document.getElementById(id);
/** The image that is shown, what of it was drawn, and its picture. */
let current, drawn, bitmap;
let typical;

export const isOpen = () => current !== undefined;
export const openItem = () => current;

/** What own images have, as the server says. */
export function useTypical(values) {
  typical = values;
  drawn = undefined;
  render();
}

const opacity = () => Number($("opacity").value);

/** Connects the controls. `onReport` takes an item, `onRetry` and `onRemove`, too. */
export function start({ onReport, onPrint, onRetry, onRemove }) {
  $("opacity").addEventListener("input", drawPictures);
  $("one-report").addEventListener("click", () => onReport(current));
  $("one-print").addEventListener("click", () => onPrint(current));
  $("one-retry").addEventListener("click", () => onRetry(current));
  $("one-remove").addEventListener("click", () => onRemove(current));
  $("before").addEventListener("click", () => move(-1));
  $("after").addEventListener("click", () => move(1));
  addEventListener("keydown", (event) => {
    const own = event.target.closest?.("input, select, textarea");
    if (!current || own || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") location.hash = "";
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
  });
}

/** Opens what the address says: `#image=3`. Resolves when it is drawn. */
export async function route() {
  const id = Number(/^#image=(\d+)$/.exec(location.hash)?.[1]);
  const item = byId(id), left = current;
  if (!item && location.hash.startsWith("#image=")) history_replace("");
  if (current !== item) {
    bitmap?.close();
    bitmap = undefined;
    drawn = undefined;
  }
  current = item;
  $("detail").hidden = !item;
  $("overview").hidden = $("drop").hidden = Boolean(item);
  if (!item) {
    document.title = title;
    if (left && items.includes(left)) document.querySelector(`[data-key="image-${left.id}"]`)?.focus();
    return;
  }
  document.title = `${item.name} – ${title}`;
  render();
  $("detail-title").focus();
  scrollTo(0, 0);
  const made = await decode(item.file).catch(() => undefined); // the server says what is wrong with it
  if (current !== item) return made?.close();
  bitmap = made;
  drawPictures();
}

const title = document.title;
const history_replace = (hash) => globalThis.history.replaceState(null, "", hash || location.pathname);

/** The image beside this one in the overview's order. */
function neighbour(by) {
  const all = shown(), at = all.indexOf(current);
  return at < 0 ? undefined : all[at + by];
}

function move(by) {
  const other = neighbour(by);
  if (other) location.hash = `#image=${other.id}`;
}

/** Draws what changed of the image that is shown. */
export function render() {
  if (!current) return;
  const all = shown();
  $("place").textContent = all.includes(current) ? `${all.indexOf(current) + 1} of ${all.length}` : "";
  $("before").disabled = !neighbour(-1);
  $("after").disabled = !neighbour(1);
  $("one-retry").hidden = !canRetry(current);
  for (const id of ["one-report", "one-print"]) $(id).disabled = !current.image && !current.error;
  const state = `${current.id} ${current.state} ${current.lost}`;
  if (state === drawn) return;
  drawn = state;
  $("detail-title").textContent = current.name;
  const { image } = current;
  $("said").replaceChildren(...image?.verdict ? [...findingLine(image.verdict), decision(image.verdict)] : stateLine());
  const done = Boolean(image?.verdict);
  for (const part of document.querySelectorAll("#detail .part")) part.hidden = !done;
  if (!done) {
    drawPictures();
    return;
  }
  $("scores").replaceChildren(scores(image.verdict));
  $("evidence").replaceChildren(...evidence(image, typical));
  $("history").replaceChildren(history(image, current.size));
  $("provenance").replaceChildren(provenance(current));
  $("numbers").textContent = JSON.stringify({ verdict: image.verdict, evidence: image.evidence }, null, 1);
  drawPictures();
}

function stateLine() {
  if (current.state === "failed") return [element("p", { class: "verdict bad", text: current.error })];
  if (current.state === "waiting") return [element("p", { class: "verdict", text: "Waiting" })];
  const words = current.lost > 0 ? "No connection to the server: trying again" : "Working";
  return [
    element("p", { class: "verdict", text: words }),
    element("progress", { max: 1, value: current.progress, "aria-label": "Progress" }),
  ];
}

export function showProgress(item) {
  if (item !== current) return;
  const bar = $("said").querySelector("progress");
  if (bar) bar.value = item.progress;
}

function drawPictures() {
  const drawable = current && bitmap;
  $("pictures").replaceChildren(...drawable ? figures(current, bitmap, { typical, opacity: opacity() }) : []);
  $("opacity-label").hidden = !drawable || !current.image?.maps;
}
