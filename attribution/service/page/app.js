// The page: takes images, has a few of them under way at once, and has a card for each. Requests are in client.js, what
// a card says of a verdict in verdict.js, drawing in heatmap.js and frame.js.
import { attribute, KeyError } from "./client.js";
import { drawMap, drawSquare, range } from "./heatmap.js";
import { drawFrame } from "./frame.js";
import { download, toCsv, toJson } from "./results.js";
import { showVerdict } from "./verdict.js";

const $ = (id) => document.getElementById(id);
/** Requests at once: enough to fill a batch, few enough to leave room for others. */
const atOnce = 4;
const items = [];
let running = 0, pasted = 0, key = "";

function add(files) {
  const taken = [...files].filter((file) => file.type.startsWith("image/") || file.type === "");
  for (const file of taken) {
    const name = file.name || `pasted ${++pasted}.png`;
    const item = { file, name, card: card(name), state: "waiting", stop: new AbortController() };
    item.card.querySelector(".remove").addEventListener("click", () => remove(item));
    items.push(item);
    $("results").append(item.card);
    preview(item);
  }
  if (taken.length === 0 && files.length > 0) say("No images among these files.");
  next();
}

function card(name) {
  const card = $("card").content.firstElementChild.cloneNode(true);
  card.querySelector("h2").textContent = name;
  card.querySelector(".verdict").textContent = "Waiting";
  card.querySelector(".remove").setAttribute("aria-label", `Remove ${name}`);
  card.querySelector("progress").setAttribute("aria-label", `Progress of ${name}`);
  card.querySelector(".original canvas").setAttribute("aria-label", `${name}, cut to its central square`);
  return card;
}

async function preview(item) {
  try {
    // The server ignores orientation tags, too.
    item.bitmap = await createImageBitmap(item.file, { imageOrientation: "none" });
    drawSquare(item.card.querySelector(".original canvas"), item.bitmap);
    drawFound(item);
    drawMaps(item);
  } catch {
    item.card.querySelector(".pictures").hidden = true; // the server says what is wrong with it
  }
}

function next() {
  const item = running < atOnce && key !== null && items.find(({ state }) => state === "waiting");
  if (item) {
    run(item);
    next();
  }
  const done = items.filter(({ state }) => state === "done").length;
  const failed = items.filter(({ state }) => state === "failed").length;
  $("bar").hidden = items.length === 0;
  $("csv").disabled = $("json").disabled = done + failed === 0;
  const images = items.length === 1 ? "image" : "images";
  say(`${done} of ${items.length} ${images} done${failed ? `, ${failed} failed` : ""}${findings()}.`);
}

/** How often each finding came: `: 2 variant, 1 none`. */
function findings() {
  const all = items.flatMap(({ image }) => image?.verdict ? [image.verdict.finding] : []);
  const counts = Object.entries(Object.groupBy(all, (finding) => finding));
  return counts.length === 0 ? "" : `: ${counts.map(([finding, { length }]) => `${length} ${finding}`).join(", ")}`;
}

async function run(item) {
  running++;
  item.state = "running";
  const verdict = item.card.querySelector(".verdict");
  verdict.textContent = "Working";
  try {
    const body = await attribute(item.file, {
      key,
      signal: item.stop.signal,
      onProgress: (done) => item.card.querySelector("progress").value = done,
    });
    item.image = body.images[0];
    item.modelSet = body.modelSet;
    item.state = "done";
    show(item);
  } catch (error) {
    if (error instanceof KeyError) {
      item.state = "waiting";
      askForKey();
    } else {
      item.state = "failed";
      item.error = error.message;
      verdict.textContent = error.message;
      verdict.classList.add("bad");
      item.card.querySelector("progress").hidden = true;
    }
  }
  running--;
  next();
}

function show(item) {
  item.card.querySelector("progress").hidden = true;
  showVerdict(item.card, item.image);
  drawFound(item);
  drawMaps(item);
}

/** The whole image, with the frame in which it was found. */
function drawFound({ card, bitmap, image, name }) {
  const { pose, found } = image?.verdict ?? {};
  if (!bitmap || !pose) return;
  const figure = card.querySelector(".found");
  const words = `Found ${found.join(", ")}`;
  figure.querySelector("figcaption").textContent =
    `${words}. The frame is the image as it was made, the arrow marks its top.`;
  const canvas = figure.querySelector("canvas");
  canvas.setAttribute("aria-label", `All of ${name}, with a frame. ${words}`);
  drawFrame(canvas, bitmap, pose);
  figure.hidden = false;
}

function drawMaps({ card, bitmap, image }) {
  if (!bitmap || !image?.maps) return;
  const { quantisation, surprise } = image.maps;
  const which = image.verdict.pose ? ", of the image as it is" : "";
  const draw = (kind, map, text) => {
    const figure = card.querySelector(`.${kind}`);
    const [title, scale] = figure.querySelectorAll("figcaption > span");
    const [low, high] = scale.querySelectorAll("i");
    const [least, most] = range(map.values);
    title.textContent = text;
    low.textContent = least.toPrecision(2);
    high.textContent = most.toPrecision(2);
    const canvas = figure.querySelector("canvas");
    canvas.setAttribute("aria-label", `${text}, from ${least.toPrecision(2)} to ${most.toPrecision(2)}`);
    drawMap(canvas, bitmap, map, Number($("opacity").value));
    figure.hidden = false;
  };
  draw("quantisation", quantisation, `Quantisation residual (${quantisation.family.toUpperCase()})${which}`);
  if (surprise) draw("surprise", surprise, `Surprise per token (${surprise.variant}, nats)${which}`);
  else {
    const figure = card.querySelector(".surprise");
    figure.querySelector("canvas").hidden = figure.querySelector(".scale").hidden = true;
    figure.querySelector("figcaption > span").textContent =
      "No surprise per token: no model of the set read this image.";
    figure.hidden = false;
  }
}

function remove(item) {
  const at = items.indexOf(item);
  item.stop.abort(new Error("removed"));
  items.splice(at, 1);
  item.card.remove();
  item.bitmap?.close();
  const neighbour = items[Math.min(at, items.length - 1)];
  (neighbour?.card ?? $("files")).focus();
  next();
}

function askForKey() {
  key = null; // nothing starts without one
  $("key-form").hidden = false;
  $("key").focus();
}

const say = (text) => $("status").textContent = text;
const finished = () => items.filter(({ state }) => state === "done" || state === "failed");

$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value;
  $("key-form").hidden = true;
  next();
  about();
});
$("csv").addEventListener("click", () => download("model-tracer.csv", "text/csv", toCsv(finished())));
$("json").addEventListener("click", () => download("model-tracer.json", "application/json", toJson(finished())));
$("clear").addEventListener("click", () => {
  for (const item of [...items]) remove(item);
  say("");
});
$("opacity").addEventListener("input", () => items.forEach(drawMaps));
addEventListener("paste", (event) => add(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(event.dataTransfer.files);
});

async function about() {
  const response = await fetch("/v1/models", { headers: key ? { authorization: `Bearer ${key}` } : {} });
  if (response.status === 401) return askForKey();
  if (!response.ok) return;
  const { modelSet, device } = await response.json();
  $("about").textContent = `Model set ${modelSet.name} (${modelSet.hash.slice(0, 12)}) on ${device.name}. ` +
    (modelSet.description ?? "");
}
about().catch(() => {});
