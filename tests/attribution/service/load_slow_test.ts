/** Sixty-four clients at once: nobody is left without an answer, the server stays responsive, and memory stays flat. */
import assert from "node:assert/strict";
import { load } from "./load.ts";
import { exampleImages, metric, numbers, post, withServer } from "./server.ts";

const images = await exampleImages(16);
const bodies = images.map(({ bytes }) => bytes);
const MiB = 2 ** 20;

Deno.test("service: 64 clients are answered with 200 or 503, /healthz during batches too, and memory stays flat", async () => {
  // The method with the least work per image, so that there are many requests.
  await withServer(["--preload", "--log", "off", "--max-queue", "48", "--method", "perplexity"], async (server) => {
    const single: unknown[] = [];
    for (const bytes of bodies) single.push(numbers((await (await post(server, bytes)).json()).images[0]));
    // Until code is compiled and heaps have their size: memory grows that long.
    await load(server, { clients: 64, answers: 400, bodies });
    const before = await metric(server, "batch_images_count");
    const answers: [number, string][] = [];
    const { statuses, health, memory } = await load(server, {
      ...{ clients: 64, answers: 300, bodies },
      onAnswer: (body, text) => answers.push([body, text]),
    });
    const batches = await metric(server, "batch_images_count") - before;
    assert.deepEqual(Object.keys(statuses), ["200", "503"], JSON.stringify(statuses));
    for (const [body, text] of answers) assert.deepEqual(numbers(JSON.parse(text).images[0]), single[body]);
    // A server whose own thread had the device would answer at most once between two batches.
    assert.ok(health.count > 2 * batches, `/healthz was answered ${health.count} times during ${batches} batches`);
    const growth = Math.max(...memory.slice(-4)) - Math.max(...memory.slice(0, 4));
    assert.ok(growth < 48 * MiB, `resident memory grew by ${Math.round(growth / MiB)} MiB: ${memory}`);
    assert.equal(await server.stop(), 0);
  });
});
