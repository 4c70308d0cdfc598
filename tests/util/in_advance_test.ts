import assert from "node:assert/strict";
import { inAdvance } from "../../util/in_advance.ts";

Deno.test("inAdvance() starts so many ahead of the one that is taken, and yields in order", async () => {
  const log: string[] = [];
  const start = async (item: number) => {
    log.push(`start ${item}`);
    for (let i = 0; i < 10 - item; i++) await Promise.resolve(); // later ones are ready sooner
    return item;
  };
  for await (const item of inAdvance([0, 1, 2, 3, 4], 2, start)) log.push(`take ${item}`);
  const start3 = ["start 0", "start 1", "start 2"];
  assert.deepEqual(log, [...start3, "take 0", "start 3", "take 1", "start 4", "take 2", "take 3", "take 4"]);
});

Deno.test("inAdvance() throws an error when it is its item's turn, and leaves nothing running behind", async () => {
  const taken: number[] = [];
  let settled = 0;
  const start = async (item: number) => {
    await new Promise((resolve) => setTimeout(resolve, item === 1 ? 0 : 20));
    settled++;
    if (item % 2 === 1) throw new Error(`item ${item}`);
    return item;
  };
  await assert.rejects(async () => {
    for await (const item of inAdvance([0, 1, 2, 3], 3, start)) taken.push(item);
  }, { message: "item 1" });
  assert.deepEqual([taken, settled], [[0], 4]);
});

Deno.test("inAdvance() takes items that come one by one, and goes on with those that are started while one is used", async () => {
  const log: string[] = [];
  const items = async function* () {
    for (let item = 0; item < 4; item++) {
      await Promise.resolve();
      yield item;
    }
  };
  const start = async (item: number) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    log.push(`ready ${item}`);
    return item;
  };
  for await (const item of inAdvance(items(), 2, start)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    log.push(`used ${item}`);
  }
  assert.deepEqual(log.slice(0, 4), ["ready 0", "ready 1", "ready 2", "used 0"]);
});
