/** `deno task attribute` as a process over many images. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readJsonLines, withFolder, writeImages } from "../attribution/files.ts";
import { runTask, spawnTask, tableRows } from "./processes.ts";

Deno.test("attribute streams 200 images of 256x256: memory does not grow with their number, Ctrl-C keeps what is done", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 200, 256, 8);
    const report = (name: string) => ["in", "--device", "cpu", "--report", name, "--out", `${name}.csv`, "--json"];

    const few = await runTask("attribute", dir, ...report("few"), "--limit", "50");
    assert.equal(few.code, 0, few.stderr);

    // All of them, interrupted on the way.
    const process = await spawnTask("attribute", dir, report("many"));
    const errors = new Response(process.stderr).text();
    let printed = "";
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
      if (countLines(printed) < 80 && countLines(printed + text) >= 80) process.kill("SIGINT");
      printed += text;
    }
    const many = { code: (await process.status).code, stdout: printed, stderr: await errors };
    assert.equal(many.code, 130, many.stderr);
    const done = (await tableRows(join(dir, "many.csv"))).length;
    assert.ok(done >= 80 && done < 200, `${done} rows`);
    assert.equal(many.stdout.trimEnd().split("\n").length, done);
    assert.match(many.stderr, /attribute: interrupted: finishing the pass in progress/);
    assert.match(
      many.stderr,
      /attribute: interrupted; to continue, run the same command again \(evidence is in many\/journal\.sqlite\)/,
    );
    assert.equal(JSON.parse(await Deno.readTextFile(join(dir, "many", "summary.json"))).status, "interrupted");

    const rest = await runTask("attribute", dir, ...report("many"), "--resume");
    assert.equal(rest.code, 0, rest.stderr);
    const whole = await runTask("attribute", dir, ...report("whole"));
    assert.equal(whole.code, 0, whole.stderr);
    assert.equal((await tableRows(join(dir, "many.csv"))).length, 200);
    const summary = JSON.parse(await Deno.readTextFile(join(dir, "many", "summary.json")));
    const { recalled, computed } = summary.images;
    assert.ok(
      recalled >= done && computed <= 200 - done,
      `${done} were done, ${recalled} recalled, ${computed} computed`,
    );
    // A run that was interrupted ends with the same lines as one that was not.
    const numbers = (line: { image: string; timings: unknown; judged: unknown }) => ({
      ...line,
      timings: 0,
      judged: 0,
    });
    assert.deepEqual(
      (await readJsonLines(join(dir, "many", "evidence.jsonl"))).map(numbers),
      (await readJsonLines(join(dir, "whole", "evidence.jsonl"))).map(numbers),
    );

    const memory = async (name: string) => JSON.parse(await Deno.readTextFile(join(dir, name, "summary.json"))).memory;
    const [less, more] = [await memory("few"), await memory("whole")];
    // Not all images are scored by all families, so some passes are larger than others.
    assert.ok(more.devicePeakBytes <= 1.1 * less.devicePeakBytes, `${more.devicePeakBytes}, ${less.devicePeakBytes}`);
    // The rest of the process is JavaScript's heap, which is collected when it pleases: 64 MiB of play, where the pixels
    // of the 150 images that are more would take 113 MiB as float32.
    const grown = more.processPeakBytes - less.processPeakBytes;
    assert.ok(less.processPeakBytes > 0 && grown < 64 * 2 ** 20, `memory grew by ${grown} bytes from 50 images to 200`);
  });
});

function countLines(text: string): number {
  return text.split("\n").length - 1;
}
