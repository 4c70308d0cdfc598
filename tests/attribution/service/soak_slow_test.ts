/** A minute of load beside forms of half a million parts. */
import assert from "node:assert/strict";
import { figures, soak } from "./soak.ts";

const seconds = 60, MiB = 2 ** 20;

Deno.test("service: 64 clients for a minute beside hostile forms: images answered, forms refused, memory flat", async () => {
  const seen = await soak(seconds, 64);
  const { statuses, forms, health, memory, code } = seen;
  const what = figures(seen);
  console.log(what);
  assert.ok(statuses[200] > 0, what);
  assert.deepEqual(Object.keys(statuses).filter((status) => !["200", "503"].includes(status)), [], what);
  assert.ok(forms[413] > 0, what);
  assert.deepEqual(Object.keys(forms).filter((status) => !["413", "503"].includes(status)), [], what);
  // A form that held the main thread, as each did for 10 to 50 s, would leave a few answers in a minute.
  assert.ok(health.count > 10 * seconds, what);
  // Heaps have their size after a third of the time; then only what is in flight comes and goes, some forms of 27 MB.
  const third = Math.floor(memory.length / 3);
  const growth = Math.max(...memory.slice(-third)) - Math.max(...memory.slice(0, -third));
  assert.ok(growth < 128 * MiB, `resident memory grew by ${Math.round(growth / MiB)} MiB: ${what}`);
  assert.equal(code, 0);
});
