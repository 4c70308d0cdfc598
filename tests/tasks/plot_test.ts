/** `deno task plot` as a process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { decodeImage } from "../../attribution/images/decode.ts";
import { withFolder } from "../attribution/files.ts";
import { root, runTask } from "./processes.ts";

const plot = (...args: string[]) => runTask("plot", root, ...args);

const log =
  `epoch,step,learning_rate,train_loss,held_out_loss,token_recovery,quant_loss_auc,gradient_norm,images_per_second,seconds
0,0,0.002,,0.67,0.12,0.43,,,0.5
1,58,0.002,0.18,0.14,0.58,0.68,0.15,29,9.1
2,116,0.0018,0.12,0.11,0.65,0.85,0.1,29,17.4
`;

Deno.test("plot train draws the curves of a run as SVG and PNG", async () => {
  await withFolder(async (dir) => {
    await Deno.writeTextFile(join(dir, "log.csv"), log);
    const { code, stdout, stderr } = await plot("train", dir);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${dir}/curves.svg\n${dir}/curves.png\n`);
    const svg = await Deno.readTextFile(join(dir, "curves.svg"));
    for (
      const text of [
        "mean squared error of f",
        "share (%)",
        "learning rate",
        "epoch",
        "held-out images",
        "QuantLoss AUC",
      ]
    ) {
      assert.ok(svg.includes(text), text);
    }
    const { width, height, data } = await decodeImage(await Deno.readFile(join(dir, "curves.png")));
    assert.deepEqual([width, height], [1520, 1520]);
    // Text is there: the legend's line has many dark pixels that are not of a curve's colour.
    let dark = 0;
    for (let y = 70; y < 110; y++) {
      for (let x = 0; x < width; x++) {
        const at = 3 * (y * width + x);
        if (Math.max(data[at], data[at + 1], data[at + 2]) < 80) dark++;
      }
    }
    assert.ok(dark > 1000, `${dark} dark pixels in the legend`);
  });
});

Deno.test("plot refuses what is no run and no plot", async () => {
  await withFolder(async (dir) => {
    const none = await plot("train", dir);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^.*plot: .*log\.csv: expected the log of a training run: No such file/s);
    assert.match(
      (await plot("tarin", dir)).stderr,
      /plot: expected train, features, reliability or prada, got tarin/,
    );
  });
});
