import assert from "node:assert/strict";
import { VariantPool } from "../../../attribution/run/variant_pool.ts";
import { planMemory } from "../../../attribution/run/memory_plan.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { standIns } from "../../sets.ts";

Deno.test("Models reads the next variant's file while one runs, and stops at the end", async () => {
  const set = await openModelSet(standIns);
  const device = openCpuDevice({ threads: 1 });
  const plan = planMemory(set, device, { memoryBytes: 2 ** 30, quantization: "greedy" });
  const names = [...plan.resident];
  const swapped = names.slice(0, 3);
  const events: string[] = [];
  const models = await VariantPool.open(set, device, { ...plan, resident: new Set(names.slice(3)), swapped }, {
    prefetch(name) {
      events.push(`reads ${name}`);
      return { done: Promise.resolve(0), stop: () => events.push(`stops ${name}`) };
    },
  });
  const [a, b, c] = swapped;
  assert.deepEqual(events.splice(0), [`reads ${a}`]);
  const run = (name: string) =>
    models.withVariant(name, ({ variant }) => {
      events.push(`runs ${variant.name}`);
      return Promise.resolve();
    });
  for (const name of [a, names[3], b, c]) await run(name);
  assert.deepEqual(events.splice(0), [
    ...[`stops ${a}`, `reads ${b}`, `runs ${a}`, `runs ${names[3]}`],
    ...[`stops ${b}`, `reads ${c}`, `runs ${b}`, `stops ${c}`, `runs ${c}`],
  ]);
  // A second round means that there are many images: the first one's turn comes again.
  for (const name of swapped) await run(name);
  assert.deepEqual(events.splice(0), [
    ...[`reads ${b}`, `runs ${a}`, `stops ${b}`, `reads ${c}`, `runs ${b}`, `stops ${c}`, `reads ${a}`, `runs ${c}`],
  ]);
  models.dispose();
  assert.deepEqual(events, [`stops ${a}`]);
  assert.equal(device.memory().liveBytes, 0);
  device.close();
});
