import assert from "node:assert/strict";
import { LoopDelay } from "../../../attribution/service/loop_delay.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("LoopDelay sees how long the thread was kept, and forgets it two windows later", async () => {
  const delays: number[] = [];
  const delay = new LoopDelay({ everyMs: 5, windowMs: 200, onDelay: (seconds) => delays.push(seconds) });
  try {
    await pause(20);
    const start = performance.now();
    while (performance.now() - start < 120) { /* keeps the thread */ }
    await pause(20);
    assert.ok(delay.longest >= 0.1, `a timer was late by ${delay.longest} s at most`);
    assert.equal(Math.max(...delays), delay.longest);
    const before = delay.longest;
    while (delay.longest >= before) await pause(50); // until two windows without such a delay are over
  } finally {
    delay.stop();
  }
  const seen = delays.length;
  await pause(20);
  assert.equal(delays.length, seen);
});
