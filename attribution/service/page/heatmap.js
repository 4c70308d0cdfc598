// Draws images as the networks see them, and maps of numbers over them. It fetches nothing.

/** Colours from low to high (the colour map Turbo at equal steps). */
const stops = ["#30123b", "#4675ed", "#1bcfd4", "#61fc6c", "#d1e834", "#fe9b2d", "#d93806", "#7a0403"]
  .map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/** x from 0 to 1 -> [r, g, b], 0 to 255. */
export function colour(x) {
  const at = Math.min(1, Math.max(0, x)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(at));
  return stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)));
}

/** Smallest and largest value. */
export function range(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** The centred square of a bitmap fills the canvas, as it does the networks' input. */
export function drawSquare(canvas, bitmap) {
  const side = Math.min(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.imageSmoothingEnabled = side > canvas.width;
  context.imageSmoothingQuality = "high";
  const left = (bitmap.width - side) / 2, top = (bitmap.height - side) / 2;
  context.drawImage(bitmap, left, top, side, side, 0, 0, canvas.width, canvas.height);
}

/** A map {width, height, values} over the image in grey: `low` and what is below blue, `high` and what is above red. */
export function drawMap(canvas, bitmap, map, { opacity, low, high }) {
  drawSquare(canvas, bitmap);
  const context = canvas.getContext("2d");
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = pixels;
  const colours = map.values.map((value) => colour(high > low ? (value - low) / (high - low) : 0));
  for (let y = 0; y < canvas.height; y++) {
    const row = Math.floor((y * map.height) / canvas.height) * map.width;
    for (let x = 0; x < canvas.width; x++) {
      const own = colours[row + Math.floor((x * map.width) / canvas.width)];
      const at = 4 * (y * canvas.width + x);
      const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
      for (let c = 0; c < 3; c++) data[at + c] = (1 - opacity) * grey + opacity * own[c];
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** The scale from low to high, left to right. */
export function drawScale(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${colour(x / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
