/** `attribute --labels`: the count of right verdicts, on images of the embedded dataset, and tables that it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { withFolder } from "../attribution/files.ts";
import { root, runTask } from "./processes.ts";

const dataset = join(root, "examples", "Dataset");
const table = join(dataset, "test_labels.csv");

async function csv(path: string): Promise<Record<string, string>[]> {
  return parse(await Deno.readTextFile(path), { columns: true });
}

Deno.test("attribute --labels counts how many verdicts on the embedded test images are right", async () => {
  await withFolder(async (dir) => {
    const images = ["0001.png", "0002.png", "0003.png", "0004.png", "0005.png", "0006.png"];
    await Deno.mkdir(join(dir, "in"));
    for (const name of images) await Deno.copyFile(join(dataset, "test", name), join(dir, "in", name));
    await Deno.copyFile(join(dataset, "test", "0007.png"), join(dir, "in", "extra.png"));
    const { code, stdout, stderr } = await runTask("attribute", dir, "in", "--labels", table, "--device", "cpu");
    assert.equal(code, 0, stderr);
    const truth = new Map((await csv(table)).map(({ image_name, label }) => [image_name, label]));
    const said = await csv(join(dir, "submission.csv"));
    const right = said.filter(({ image_name, label }) => truth.get(image_name) === label).length;
    assert.ok(right >= 1, "none of six images was attributed rightly");
    const percent = (100 * right / images.length).toFixed(1);
    const [, byFinding, rows, count] = stdout.split("\n\n");
    assert.match(byFinding, /^finding +images +label right +share\n/);
    const counted = byFinding.split("\n").slice(1).map((row) => row.split(/ {2,}/));
    const sum = (column: number) => counted.reduce((total, row) => total + Number(row[column]), 0);
    assert.deepEqual([sum(1), sum(2)], [images.length, right]);
    assert.match(rows, /^label +images +right +said +recall +precision\n/);
    assert.equal(count, `${right} of ${images.length} right (${percent} %); 1 have no row in the table\n`);
  });
});

Deno.test("attribute refuses a table of labels with an unknown label, a double row, or none", async () => {
  await withFolder(async (dir) => {
    const refuse = async (text: string, message: RegExp) => {
      await Deno.writeTextFile(join(dir, "labels.csv"), text);
      const args = [join(dataset, "test"), "--labels", "labels.csv", "--device", "cpu"];
      const { code, stdout, stderr } = await runTask("attribute", dir, ...args);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, message);
    };
    await refuse("image_name,label\n0001.png,rarm\n", /labels\.csv: line 2: label: expected one of rarb, .*, got rarm/);
    await refuse("image_name,label\n0001.png,rarb\n0001.png,rarl\n", /line 3: 0001\.png: has a row already/);
    await refuse("image_name,label\n", /expected the columns image_name and label, got no rows/);
    await refuse("name,label\n1.png,rarb\n", /expected the columns image_name and label, got name, label/);
  });
});
