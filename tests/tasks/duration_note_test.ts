/** The note of a training about how long it will take. */
import assert from "node:assert/strict";
import { DurationNote } from "../../tasks/cli/duration_note.ts";

Deno.test("a training says once how long it will take, by its speed after the first step", () => {
  const notes: string[] = [];
  let time = 0;
  const note = new DurationNote((text) => notes.push(text), () => time);
  note.start(1000);
  // The first step takes a minute; each of the others a second, for ten images.
  for (const [step, seconds] of [60, 61, 62, 63, 64].entries()) {
    time = seconds;
    note.update(10 * (step + 1));
  }
  assert.deepEqual(notes, ["training will take about 1 min 36 s more, without the evaluation of every epoch"]);
});
