import assert from "node:assert/strict";
import { Turns } from "../../util/turns.ts";

/** Runs three pieces, and returns what happened in which order. */
async function order(ahead: boolean): Promise<string[]> {
  const seen: string[] = [];
  const turns = new Turns(ahead);
  for (const name of ["a", "b", "c"]) {
    await turns.add(async () => {
      seen.push(`begin ${name}`);
      await new Promise((resolve) => setTimeout(resolve, name === "a" ? 20 : 1));
      return name;
    }, (result, elapsedMs) => {
      assert.ok(elapsedMs >= 0);
      seen.push(`finish ${result}`);
      return Promise.resolve();
    });
  }
  await turns.end();
  await turns.end(); // has nothing to do
  return seen;
}

Deno.test("Turns begins a piece before the one before it is finished, and finishes in order", async () => {
  assert.deepEqual(await order(true), ["begin a", "begin b", "finish a", "begin c", "finish b", "finish c"]);
});

Deno.test("Turns without ahead does one piece after the other", async () => {
  assert.deepEqual(await order(false), ["begin a", "finish a", "begin b", "finish b", "begin c", "finish c"]);
});

Deno.test("Turns gives the time of a piece beside the one before it", async () => {
  const turns = new Turns(true);
  const times: number[] = [];
  const begin = () => new Promise<void>((resolve) => setTimeout(resolve, 60));
  for (let i = 0; i < 2; i++) await turns.add(begin, (_, elapsedMs) => Promise.resolve(void times.push(elapsedMs)));
  await turns.end();
  // Both waited for the same 60 ms.
  assert.ok(times[0] >= 55 && times[1] < times[0], `${times}`);
});

Deno.test("Turns rejects with the error of a piece when the next is added or at the end", async () => {
  const fail = () => Promise.reject(new Error("no"));
  const nothing = () => Promise.resolve();
  const turns = new Turns(true);
  await turns.add(fail, nothing);
  await assert.rejects(turns.add(() => Promise.resolve(1), nothing), /no/);
  await turns.end();
  await turns.add(fail, nothing);
  await assert.rejects(turns.end(), /no/);
});
