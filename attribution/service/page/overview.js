// The overview: how often each finding came, and the list of images, filtered, sorted, a page of it at a time.
import { capital, count, element, icon, percent, ratio } from "./dom.js";
import { canRetry, isFinished, items } from "./items.js";
import { putView } from "./store.js";

const $ = (id) => document.getElementById(id);
export const findings = ["variant", "family", "none", "inconclusive", "unsuitable"];
const groups = ["all", ...findings, "failed", "waiting"];

/** What is shown: a group, a text in names, a label, the order, page (from 0) and images on it. */
const view = { group: "all", text: "", label: "", sort: "added", down: false, page: 0, size: 50 };
let words = {};
let removed, onDraw;

export const titleOf = (finding) => words[finding]?.title ?? finding;

/** Titles of the findings, as the server has them. */
export function useWords(findings) {
  words = findings ?? {};
  render();
}

const verdictOf = ({ image }) => image?.verdict;
const groupOf = (item) =>
  item.state === "done" ? verdictOf(item).finding : item.state === "failed" ? "failed" : "waiting";
const groupTitle = (group) => {
  if (group === "all") return "all images";
  return group === "failed" ? "not read" : group === "waiting" ? "not done" : titleOf(group);
};

const names = new Intl.Collator("en", { numeric: true });
const orders = {
  added: (item) => item.id,
  name: (item) => item.name,
  finding: (item) => groups.indexOf(groupOf(item)),
  label: (item) => verdictOf(item)?.label ?? "",
  confidence: (item) => verdictOf(item)?.confidence ?? -1,
  ratio: (item) => verdictOf(item)?.log10LikelihoodRatio ?? -Infinity,
};

/** The images that are shown on all pages, in their order. */
export function shown() {
  const text = view.text.toLowerCase();
  const of = orders[view.sort];
  const chosen = items.filter((item) =>
    (view.group === "all" || groupOf(item) === view.group) &&
    (view.label === "" || verdictOf(item)?.label === view.label) &&
    item.name.toLowerCase().includes(text)
  );
  chosen.sort((a, b) => {
    const x = of(a), y = of(b);
    const order = typeof x === "string" ? names.compare(x, y) : x === y ? 0 : x < y ? -1 : 1;
    return (view.down ? -order : order) || a.id - b.id;
  });
  return chosen;
}

/** Connects the controls. `onRemove` takes an item, `onDraw` hears that the list was drawn. */
export function start(saved, { onRemove, onDraw: say }) {
  removed = onRemove;
  onDraw = say;
  Object.assign(view, saved);
  $("search").value = view.text;
  $("sort").value = view.sort;
  $("page-size").value = String(view.size);
  $("search").addEventListener("input", (event) => choose({ text: event.target.value }));
  $("label").addEventListener("change", (event) => choose({ label: event.target.value }));
  $("sort").addEventListener("change", (event) => choose({ sort: event.target.value }));
  $("direction").addEventListener("click", () => choose({ down: !view.down }));
  $("page-size").addEventListener("change", (event) => choose({ size: Number(event.target.value) }));
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  for (const button of document.querySelectorAll("th button")) {
    const { sort } = button.dataset;
    // Numbers are wanted from the largest down.
    const down = sort === "confidence" || sort === "ratio";
    button.addEventListener("click", () => choose(view.sort === sort ? { down: !view.down } : { sort, down }));
  }
}

/** Shows all again, as for an empty list. */
export function reset() {
  Object.assign(view, { group: "all", text: "", label: "", page: 0 });
  $("search").value = "";
}

function choose(change) {
  Object.assign(view, { page: 0 }, change);
  putView({ ...view }).catch(() => {});
  draw();
}

function turn(by) {
  choose({ page: view.page + by });
  $("rows").closest("table").scrollIntoView({ block: "nearest" });
}

let timer;
/** Draws everything soon: while answers come in, a few times a second. */
export function render() {
  timer ??= setTimeout(draw, 120);
}

function draw() {
  clearTimeout(timer);
  timer = undefined;
  drawList();
  onDraw?.();
}

function drawList() {
  $("list").hidden = items.length === 0;
  $("intro").hidden = items.length > 0;
  if (items.length === 0) {
    $("rows").replaceChildren(); // a cleared list leaves nothing behind
    return;
  }
  drawCounts();
  drawLabels();
  $("sort").value = view.sort;
  $("direction").textContent = view.down ? "↓" : "↑";
  $("direction").setAttribute("aria-label", `Order: ${view.down ? "descending" : "ascending"}`);
  for (const button of document.querySelectorAll("th button")) {
    const own = button.dataset.sort === view.sort;
    if (own) button.closest("th").setAttribute("aria-sort", view.down ? "descending" : "ascending");
    else button.closest("th").removeAttribute("aria-sort");
  }
  const all = shown(), pages = Math.max(1, Math.ceil(all.length / view.size));
  view.page = Math.min(view.page, pages - 1);
  const first = view.page * view.size, own = all.slice(first, first + view.size);
  drawRows(own);
  $("nothing").hidden = all.length > 0;
  $("pages").hidden = all.length <= 25;
  $("page").textContent = all.length === 0
    ? ""
    : `${first + 1} to ${first + own.length} of ${count(all.length, "image")}, page ${view.page + 1} of ${pages}`;
  $("previous").disabled = view.page === 0;
  $("next").disabled = view.page >= pages - 1;
  const failed = items.filter(canRetry).length;
  $("retry").hidden = failed === 0;
  $("retry").textContent = `Try ${count(failed, "image")} again`;
  for (const id of ["csv", "json", "report", "print"]) $(id).disabled = !items.some(isFinished);
}

function drawCounts() {
  const counts = Object.groupBy(items, groupOf);
  const now = groups.filter((group) => group === "all" || group === view.group || counts[group]);
  $("counts").replaceChildren(...now.map((group) => {
    const n = group === "all" ? items.length : counts[group]?.length ?? 0;
    return element(
      "button",
      {
        type: "button",
        "data-key": `group-${group}`,
        "data-finding": findings.includes(group) ? group : undefined,
        "aria-pressed": String(view.group === group),
        onclick: () => choose({ group }),
      },
      findings.includes(group) ? icon(group) : undefined,
      element("b", { text: String(n) }),
      element("span", { text: groupTitle(group) }),
    );
  }));
  keepFocus($("counts"));
}

function drawLabels() {
  const labels = [...new Set(items.flatMap((item) => verdictOf(item)?.label ?? []))].sort(names.compare);
  if (view.label !== "" && !labels.includes(view.label)) labels.push(view.label);
  const options = ["", ...labels];
  const old = [...$("label").options].map(({ value }) => value);
  if (options.join() !== old.join()) {
    $("label").replaceChildren(...options.map((value) => element("option", { value, text: value || "any" })));
  }
  $("label").value = view.label;
}

const pictures = new Map();
/** The address of a thumbnail. Those that are no longer on the page are given back. */
function pictureOf(item, used) {
  used.add(item.id);
  const known = pictures.get(item.id);
  if (known?.thumb === item.thumb) return known.url;
  const made = { thumb: item.thumb, url: URL.createObjectURL(item.thumb) };
  pictures.set(item.id, made);
  return made.url;
}

function drawRows(own) {
  const used = new Set();
  const rows = own.map((item) => row(item, used));
  const active = document.activeElement?.dataset?.key;
  $("rows").replaceChildren(...rows);
  if (active) keepFocus($("rows"), active);
  for (const [id, { url }] of pictures) {
    if (used.has(id)) continue;
    URL.revokeObjectURL(url);
    pictures.delete(id);
  }
}

let focusedKey;
document.addEventListener("focusin", (event) => focusedKey = event.target.dataset?.key);
/** Elements that are drawn anew lose the focus: gives it to the one that stands in their place. */
function keepFocus(within, key = focusedKey) {
  if (!key || (document.activeElement !== document.body && document.activeElement?.dataset.key !== key)) return;
  within.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: true });
}

function row(item, used) {
  const { id, name } = item, verdict = verdictOf(item);
  const thumb = item.thumb
    ? element("img", { src: pictureOf(item, used), alt: "", width: 56, height: 56 })
    : element("span", { class: "no-thumb" });
  const cell = (kind, title, ...content) => element("td", { class: kind, "data-title": title }, ...content);
  return element(
    "tr",
    { id: `row-${id}`, "data-finding": verdict?.finding, "data-state": item.state },
    element(
      "th",
      { scope: "row", class: "name" },
      element("a", { href: `#image=${id}`, "data-key": `image-${id}` }, thumb, element("span", { text: name })),
    ),
    cell("finding", "", ...findingCell(item)),
    cell("label", "Label", verdict?.label ?? ""),
    cell("number", "Confidence", verdict ? percent(verdict.confidence) : "", unsure(verdict)),
    cell("number", "Likelihood ratio", verdict?.support ? ratio(verdict.log10LikelihoodRatio) : ""),
    element(
      "td",
      { class: "actions" },
      element("button", {
        type: "button",
        class: "remove",
        "data-key": `remove-${id}`,
        "aria-label": `Remove ${name}`,
        title: "Remove",
        text: "✕",
        onclick: () => removed(item),
      }),
    ),
  );
}

const unsure = (verdict) => verdict?.unsure ? element("small", { text: "unsure" }) : undefined;

function findingCell(item) {
  const verdict = verdictOf(item);
  if (verdict) return [icon(verdict.finding), element("span", { text: capital(verdict.title) })];
  if (item.state === "failed") return [element("span", { class: "bad", text: item.error })];
  if (item.state === "waiting") return [element("span", { text: "Waiting" })];
  if (item.lost > 0) return [element("span", { class: "bad", text: "No connection to the server: trying again" })];
  return [element("progress", { max: 1, value: item.progress, "aria-label": `Progress of ${item.name}` })];
}

/** Moves the bar of an item that is under way. */
export function showProgress({ id, progress }) {
  const bar = document.querySelector(`#row-${id} progress`);
  if (bar) bar.value = progress;
}

/** What is done, in a sentence. */
export function summary() {
  const done = items.filter(({ state }) => state === "done"), failed = items.filter(({ state }) => state === "failed");
  const counts = Object.entries(Object.groupBy(done, groupOf)).map(([finding, { length }]) => `${length} ${finding}`);
  const tail = counts.length > 0 ? `: ${counts.join(", ")}` : "";
  return `${done.length} of ${count(items.length, "image")} done${
    failed.length ? `, ${failed.length} failed` : ""
  }${tail}.`;
}
