/** Curves as pictures: the same whenever they are drawn, with text of the size and at the place that is asked for. */
import assert from "node:assert/strict";
import { decodeImage } from "../../attribution/images/decode.ts";
import { drawPng, fontFamily } from "../../attribution/plot/canvas.ts";
import { renderPng, renderSvg } from "../../attribution/plot/chart.ts";
import { trainingCurves } from "../../training/curves.ts";

const columns = new Map(Object.entries({
  epoch: [0, 1, 2],
  learning_rate: [1e-3, 1e-3, 9e-4],
  train_loss: [NaN, 0.5, 0.3],
  held_out_loss: [0.7, 0.4, 0.35],
  token_recovery: [0.1, 0.5, 0.6],
  quant_loss_auc: [NaN, NaN, NaN],
}));

Deno.test("renderSvg() and renderPng() give the same whatever was drawn before", async () => {
  const chart = trainingCurves(columns, "a run");
  const size = [760, 760] as const;
  // Names of classes and clip paths count up.
  const svg = async () => (await renderSvg(chart, ...size)).replaceAll(/zr\d+-c(ls-)?\d+/g, "c");
  const first = await svg();
  const png = await renderPng(chart, ...size, 1);
  assert.equal(await svg(), first);
  assert.deepEqual(await renderPng(chart, ...size, 1), png);
  assert.ok(!first.includes("QuantLoss AUC"), "a curve without points has no place in the legend");
  const { width, height } = await decodeImage(await renderPng(chart, 300, 200, 3));
  assert.deepEqual([width, height], [900, 600]);
});

/** Columns and rows, from and to, that have ink after drawing text at (100, 50) on a canvas of 200 x 100. */
async function inked(align: string, baseline: string) {
  let measured = 0;
  const png = await drawPng(200, 100, (canvas) => {
    // deno-lint-ignore no-explicit-any -- a canvas's context has more than charts' text needs
    const context = canvas.getContext("2d") as any;
    Object.assign(context, { fillStyle: "#ffffff" });
    context.fillRect(0, 0, 200, 100);
    Object.assign(context, { fillStyle: "#000000", font: `20px ${fontFamily}` });
    context.save();
    Object.assign(context, { textAlign: align, textBaseline: baseline });
    context.fillText("HHHH", 100, 50);
    context.restore();
    assert.deepEqual([context.textAlign, context.textBaseline], ["start", "alphabetic"]);
    measured = context.measureText("HHHH").width;
    return { dispose() {} };
  });
  const { width, data } = await decodeImage(png);
  const xs: number[] = [], ys: number[] = [];
  for (let i = 0; i < data.length; i += 3) {
    if (data[i] > 128) continue;
    xs.push((i / 3) % width);
    ys.push(Math.floor(i / 3 / width));
  }
  return { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys), measured };
}

Deno.test("text on a canvas is as wide as measured, and where its alignment and baseline say", async () => {
  // An H of DejaVu Sans is 1540 units of 2048 wide and 1493 high, with 201 units on either side of its stems.
  const near = (value: number, expected: number) =>
    assert.ok(Math.abs(value - expected) <= 1.5, `${value}, expected ${expected}`);
  const wide = 4 * 20 * 1540 / 2048, side = 20 * 201 / 2048, high = 20 * 1493 / 2048;
  const start = await inked("left", "alphabetic");
  near(start.measured, wide);
  near(start.left, 100 + side);
  near(start.right, 100 + wide - side);
  near(start.bottom, 50);
  near(start.top, 50 - high);
  const right = await inked("right", "middle");
  near(right.right, 100 - side);
  near((right.top + right.bottom) / 2, 50);
  const centre = await inked("center", "top");
  near((centre.left + centre.right) / 2, 100);
  assert.ok(centre.top >= 50 && centre.top < 55, `${centre.top}`);
  assert.ok((await inked("center", "bottom")).bottom <= 50);
});
