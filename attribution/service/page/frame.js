// Draws a whole image, and the frame in which the image that a model made was found. It fetches nothing.

/** Longer side of the picture, in pixels of the canvas. */
const longest = 576;

/**
 * The image `bitmap` with the frame of `pose` {left, top, width, height, turn}, in pixels of the image. The canvas gets
 * the size that holds both: what the frame has outside of the image is hatched.
 */
export function drawFrame(canvas, bitmap, pose) {
  const left = Math.min(0, pose.left), top = Math.min(0, pose.top);
  const right = Math.max(bitmap.width, pose.left + pose.width),
    bottom = Math.max(bitmap.height, pose.top + pose.height);
  // Room for the line of a frame that ends with the picture.
  const edge = 6;
  const scale = (longest - 2 * edge) / Math.max(right - left, bottom - top);
  canvas.width = Math.round((right - left) * scale) + 2 * edge;
  canvas.height = Math.round((bottom - top) * scale) + 2 * edge;
  const at = { x: edge + (pose.left - left) * scale, y: edge + (pose.top - top) * scale };
  const frame = { ...at, width: pose.width * scale, height: pose.height * scale };
  const context = canvas.getContext("2d");
  context.beginPath();
  context.rect(edge, edge, canvas.width - 2 * edge, canvas.height - 2 * edge);
  context.save();
  context.clip();
  hatch(context);
  context.imageSmoothingEnabled = scale < 1;
  context.imageSmoothingQuality = "high";
  const [x, y] = [edge - left * scale, edge - top * scale];
  context.drawImage(bitmap, x, y, bitmap.width * scale, bitmap.height * scale);
  shade(context, frame);
  context.restore();
  outline(context, (path) => path.rect(frame.x, frame.y, frame.width, frame.height));
  markTop(context, frame, pose.turn);
}

/** Fills the canvas with grey lines: there is nothing here. */
function hatch(context) {
  const { width, height } = context.canvas;
  context.fillStyle = "#8d9097";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "#74777e";
  context.lineWidth = 3;
  context.beginPath();
  for (let x = -height; x < width; x += 14) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.stroke();
}

/** Darkens what is outside of the frame. */
function shade(context, { x, y, width, height }) {
  context.fillStyle = "rgb(0 0 0 / 35%)";
  context.beginPath();
  context.rect(0, 0, context.canvas.width, context.canvas.height);
  context.rect(x, y, width, height);
  context.fill("evenodd");
}

/** A line that can be seen on any picture: yellow within black. */
function outline(context, draw) {
  context.beginPath();
  draw(context);
  context.lineJoin = "round";
  for (const [colour, width] of [["#000", 8], ["#ffd60a", 4]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

/** An arrow inside the frame to the side that was the top before the image was turned clockwise by `turn` degrees. */
function markTop(context, { x, y, width, height }, turn) {
  const size = Math.min(44, 0.25 * Math.min(width, height));
  const across = turn % 180 === 0 ? height : width;
  context.save();
  context.translate(x + width / 2, y + height / 2);
  context.rotate((turn * Math.PI) / 180);
  context.translate(0, -across / 2 + 10);
  outline(context, (path) => {
    path.moveTo(0, 0);
    path.lineTo(size / 2, size);
    path.lineTo(-size / 2, size);
    path.closePath();
  });
  context.fillStyle = "#ffd60a";
  context.fill();
  context.restore();
}
