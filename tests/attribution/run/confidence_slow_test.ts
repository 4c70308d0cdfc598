/** Whether the printed confidence tells right verdicts from wrong ones, on the images of examples/Dataset/test. */
import assert from "node:assert/strict";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { isUnreadable } from "../../../attribution/evidence/evidence.ts";
import { listImages } from "../../../attribution/images/list.ts";
import { auc } from "../../../attribution/metrics/mod.ts";
import { Tracer } from "../../../attribution/run/tracer.ts";
import { tiny } from "../../sets.ts";

const dataset = new URL("../../../examples/Dataset/", import.meta.url).pathname;

Deno.test("confidences of the embedded set differ, and wrong verdicts have the lower ones", async () => {
  const rows: { image_name: string; label: string }[] = parse(
    await Deno.readTextFile(`${dataset}test_labels.csv`),
    { columns: true },
  );
  const truth = new Map(rows.map(({ image_name, label }) => [image_name, label]));
  await using tracer = await Tracer.open({ models: tiny, device: "cpu" });
  const right: number[] = [], wrong: number[] = [];
  // Those of the figures in docs/classification.md; images behind them came later.
  const images = (await listImages([`${dataset}test`])).slice(0, 330);
  for await (const line of tracer.attribute(images)) {
    assert.ok(!isUnreadable(line));
    (truth.get(line.image) === line.label ? right : wrong).push(line.confidence);
  }
  assert.ok(right.length >= 318, `${right.length} of 330`);
  assert.ok(new Set([...right, ...wrong]).size > 300, "confidences vary");
  // A constant has 0.5. Measured: see docs/classification.md.
  const separation = auc(right, wrong, { membersLower: false });
  assert.ok(separation > 0.85, `AUROC of right against wrong verdicts: ${separation}`);
});
