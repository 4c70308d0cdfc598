// The pictures of an image: thumbnail, the square that the networks see, maps over it, the frame in which it was found.
// Maps have the scale of the model set, so that colours of two images can be compared.
import { element, percent, short } from "./dom.js";
import { drawFrame } from "./frame.js";
import { drawMap, drawScale, drawSquare, range } from "./heatmap.js";

const thumbSide = 128;

/** Decodes as the server does, which ignores orientation tags. */
export const decode = (file) => createImageBitmap(file, { imageOrientation: "none" });

/** A small picture of all of an image, as a blob. Rejects for what the browser cannot read. */
export async function thumbnail(file) {
  const bitmap = await decode(file);
  const scale = Math.min(1, thumbSide / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * The scale of a map: {low, high, typical, common}. `typical` is a value of own images, undefined if it is not known;
 * without a calibration the scale is the map's own, and `common` is false.
 */
export function scaleOf(kind, map, image, typical) {
  const own = { low: 0, high: Math.max(range(map.values)[1], Number.MIN_VALUE), common: false };
  if (kind === "quantisation") {
    const { quantLoss, quantErrorTail } = typical?.families[map.family] ?? {};
    if (!quantLoss || !quantErrorTail) return own;
    return { low: 0, high: quantErrorTail.high, typical: quantLoss.middle, common: true };
  }
  const rows = typical?.variants[map.variant], { tokens } = image.evidence.variants[map.variant] ?? {};
  const lowest = rows?.["own.guided.lowest20"] ?? rows?.["guided.lowest20"];
  if (!lowest || !tokens) return own;
  // The map has the sum of the tokens that cover a cell.
  const perCell = tokens / map.values.length;
  const mean = rows["conditional.mean"] ?? rows["own.guided.mean"] ?? rows["guided.mean"];
  return { low: 0, high: -lowest.low * perCell, typical: -mean.middle * perCell, common: true };
}

/** Figures of an image with its answer: its square, the frame if there is one, and its maps. */
export function figures(item, bitmap, { typical, opacity }) {
  const { image, name } = item;
  const square = element("canvas", {
    width: 256,
    height: 256,
    role: "img",
    "aria-label": `${name}, its central square`,
  });
  drawSquare(square, bitmap);
  const original = element(
    "figure",
    { class: "original" },
    square,
    element("figcaption", { text: "The square that the networks see" }),
  );
  const made = [original];
  if (image?.verdict?.pose) made.unshift(foundFigure(item, bitmap));
  if (!image?.maps) return made;
  for (const kind of ["quantisation", "surprise"]) {
    made.push(image.maps[kind] ? mapFigure(kind, item, bitmap, { typical, opacity }) : noSurprise(image.verdict));
  }
  return made;
}

function foundFigure({ name, image }, bitmap) {
  const { pose, found } = image.verdict;
  const words = `Found ${found.join(", ")}`;
  const canvas = element("canvas", { role: "img", "aria-label": `All of ${name}, with a frame. ${words}` });
  drawFrame(canvas, bitmap, pose);
  const caption = `${words}. The frame is the image as it was made, the arrow marks its top.`;
  return element("figure", { class: "found" }, canvas, element("figcaption", { text: caption }));
}

function noSurprise({ pose }) {
  const text = "No surprise per token: " +
    (pose ? "models read the image inside the frame, not this square." : "no model of the set read this image.");
  return element("figure", { class: "surprise" }, element("figcaption", { text }));
}

function mapFigure(kind, { image, name }, bitmap, { typical, opacity }) {
  const map = image.maps[kind], scale = scaleOf(kind, map, image, typical);
  const title = kind === "quantisation"
    ? `Where it fits ${map.family.toUpperCase()}'s codes: quantisation residual`
    : `What surprises ${map.variant}: nats per position`;
  const which = image.verdict.pose ? ", of the image as it is" : "";
  const above = map.values.filter((value) => value > scale.high).length / map.values.length;
  const label = `${title}${which}, from ${short(range(map.values)[0])} to ${short(range(map.values)[1])}`;
  const canvas = element("canvas", { width: 256, height: 256, role: "img", "aria-label": `${name}: ${label}` });
  drawMap(canvas, bitmap, map, { opacity, ...scale });
  return element(
    "figure",
    { class: kind },
    canvas,
    element("figcaption", {}, element("span", { text: title + which }), legend(scale), note(scale, above)),
  );
}

/** The scale with its numbers, and a mark at the typical value. */
function legend({ low, high, typical }) {
  const bar = element("canvas", { class: "bar", width: 200, height: 8, "aria-hidden": "true" });
  drawScale(bar);
  if (typical !== undefined) {
    const context = bar.getContext("2d"), x = Math.round(199 * (typical - low) / (high - low));
    context.fillStyle = "#fff";
    context.fillRect(x - 2, 0, 5, 8);
    context.fillStyle = "#000";
    context.fillRect(x - 1, 0, 3, 8);
  }
  return element(
    "span",
    { class: "scale" },
    element("i", { text: short(low) }),
    bar,
    element("i", { text: `≥ ${short(high)}` }),
  );
}

function note({ typical, common }, above) {
  if (!common) return element("small", { text: "Scale of this image alone: the model set is not calibrated." });
  const typically = typical === undefined ? "" : `Mark: mean of own images, ${short(typical)}. `;
  const text = above === 0 ? "nothing is above it" : `${percent(above)} of the image is above it`;
  return element("small", { text: `${typically}Same scale for all images; ${text}.` });
}
