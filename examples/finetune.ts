/**
 * Fine-tunes the encoder of a family into the inverse of its decoder, on images that its transformers draw.
 *
 *   deno run -A examples/finetune.ts [family] [folder of the run]
 *
 * Real runs take thousands of images and tens of epochs: docs/training.md.
 */
import { runTraining } from "../training/mod.ts";

const [family = "var", run = "run"] = Deno.args;

const { out, last } = await runTraining({
  family: family as "rar" | "var",
  models: decodeURIComponent(new URL("../weights/tiny", import.meta.url).pathname),
  sample: { count: 24 }, // pairs of an image and its tokens, drawn as they are needed
  recipe: { epochs: 2, batch: 4 },
  run, // must not have a run yet; { resume: run } goes on with one
  device: "cpu",
}, {
  onPrepare: (text) => console.error(text),
  onEpoch: (row) => console.log(`epoch ${row.epoch}: held-out loss ${row.heldOutLoss?.toFixed(4)}`),
});
console.log(`${out} after ${last!.epoch} epochs`);
