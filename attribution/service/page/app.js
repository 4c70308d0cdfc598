// The page: takes images by picker, drop and paste, and connects list (items.js), views (overview.js, detail.js),
// downloads (results.js, report.js) and the server (client.js).
import { KeyError, models } from "./client.js";
import * as detail from "./detail.js";
import { count, download } from "./dom.js";
import { fromDrop, fromInput, imagesOf, limits } from "./intake.js";
import * as list from "./items.js";
import * as overview from "./overview.js";
import { asFile, report } from "./report.js";
import { toCsv, toJson } from "./results.js";
import * as store from "./store.js";

const $ = (id) => document.getElementById(id);
let about, pasted = 0, working = "";
/** Resolves when the list of an earlier visit is there: new images come after it. */
const opened = list.open();
const problems = [];

/** Takes what a picker, a drop or the clipboard gives. */
async function take(files) {
  problems.length = 0;
  working = "Reading files";
  say();
  const [given] = await Promise.all([files, opened]);
  const { images, left, problems: found } = await imagesOf(given, limits.images - list.items.length);
  working = "";
  if (left > 0) found.push(`${count(left, "other file")} left out: only PNG, JPEG, WebP and zips of them are read.`);
  if (images.length === 0 && found.length === 0) found.push("No images among these files.");
  problems.push(...found);
  list.add(images);
  say();
}

/** What is going on, for eyes and screen readers. */
function say() {
  const text = working || (list.items.length > 0 ? overview.summary() : "");
  if ($("status").textContent !== text) $("status").textContent = text;
  $("problems").replaceChildren(
    ...problems.map((text) => Object.assign(document.createElement("p"), { textContent: text })),
  );
  $("kept").textContent = list.items.length === 0 || list.isKept()
    ? "This browser keeps the list until you press Clear."
    : "This tab does not keep the list: a reload loses it.";
}

list.watch({
  change() {
    overview.render();
    if (detail.isOpen() && !list.items.includes(detail.openItem())) location.hash = "";
    detail.render();
  },
  progress(item) {
    overview.showProgress(item);
    detail.showProgress(item);
  },
  key() {
    $("key-form").hidden = false;
    $("key").focus();
  },
});

/** What there is to download: the images of the overview's filter. */
const chosen = () => overview.shown().filter(list.isFinished);

async function makeReport(items) {
  const article = await report(items, about, (n) => {
    working = `Report: ${n} of ${count(items.length, "image")}`;
    say();
  });
  working = "";
  say();
  return article;
}

async function downloadReport(items) {
  const [article, css] = await Promise.all([
    makeReport(items),
    fetch("/page/report.css").then((style) => style.text()),
  ]);
  download("model-tracer-report.html", "text/html", asFile(article, css));
}

async function printReport(items) {
  $("paper").replaceChildren(await makeReport(items));
  // Pictures that are not decoded yet would be missing on paper.
  await Promise.all([...$("paper").querySelectorAll("img")].map((image) => image.decode().catch(() => {})));
  print();
}

function removeItem(item) {
  const all = overview.shown(), at = all.indexOf(item);
  const other = all[at + 1] ?? all[at - 1];
  list.remove(item);
  if (detail.isOpen() && other) location.hash = `#image=${other.id}`;
  else (other ? document.querySelector(`[data-key="image-${other.id}"]`) : $("files"))?.focus();
}

for (const id of ["files", "folder"]) {
  $(id).addEventListener("change", (event) => {
    take(fromInput(event.target.files));
    event.target.value = ""; // so that the same file can be chosen again
  });
}
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key-form").hidden = true;
  list.useKey($("key").value);
  askServer();
});
$("csv").addEventListener("click", () => download("model-tracer.csv", "text/csv", toCsv(chosen())));
$("json").addEventListener("click", () => download("model-tracer.json", "application/json", toJson(chosen())));
$("report").addEventListener("click", () => downloadReport(chosen()));
$("print").addEventListener("click", () => printReport(chosen()));
$("retry").addEventListener("click", () => list.retry(list.items.filter(list.canRetry)));
$("clear").addEventListener("click", async () => {
  $("paper").replaceChildren();
  problems.length = 0;
  overview.reset();
  await list.clear();
  $("files").focus();
});
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length > 0) take(files.map((file) => ({ file, path: file.name || `pasted ${++pasted}.png` })));
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(fromDrop(event.dataTransfer));
});
addEventListener("hashchange", () => detail.route());

/** What the server says of itself, which tables, scales and reports show. */
async function askServer() {
  try {
    about = await models(list.currentKey());
  } catch (error) {
    if (error instanceof KeyError) list.askForKey();
    return;
  }
  if (!about) return;
  list.setServer(about);
  limits.image = about.limits?.bodyBytes ?? limits.image;
  overview.useWords(about.findings);
  detail.useTypical(about.typical);
  const { modelSet, device, version } = about;
  $("about").textContent =
    `model-tracer ${version ?? ""}, model set ${modelSet.name} (${modelSet.hash.slice(0, 12)}) on ` +
    `${device.name}. ${modelSet.description ?? ""}`;
}

detail.start({
  onReport: (item) => downloadReport([item]),
  onPrint: (item) => printReport([item]),
  onRetry: (item) => list.retry([item]),
  onRemove: removeItem,
});
askServer();
await opened;
overview.start(await store.loadView().catch(() => undefined), { onRemove: removeItem, onDraw: say });
list.begin();
await detail.route();
document.body.dataset.ready = "";
