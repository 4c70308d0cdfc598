/** The service over real HTTP: routes, errors, headers, limits, keys, streaming. */
import assert from "node:assert/strict";
import * as v from "npm:valibot@1.5.0";
import { labels } from "../../labels.ts";
import { findings } from "../../../attribution/evidence/evidence.ts";
import { outlierMeaning } from "../../../attribution/evidence/words.ts";
import { attributionSchema, errorSchema, eventSchemas, modelsSchema } from "../../../attribution/service/schemas.ts";
import { spawnTask } from "../../tasks/processes.ts";
import { exampleImages, listening, metric, numbers, post, root, untilReady, withServer } from "./server.ts";

const images = await exampleImages(12);

async function expectError(response: Response, status: number, code: string): Promise<string> {
  const { error } = v.parse(errorSchema, await response.json());
  assert.deepEqual([response.status, error.code], [status, code]);
  return error.message;
}

Deno.test("service: verdicts over HTTP", async (t) => {
  await withServer(["--max-wait-ms", "20"], async (server) => {
    const { url } = server;
    let first: unknown;

    await t.step("an image as the body gives a verdict, evidence, scores, model set and timings", async () => {
      const response = await post(server, images[0].bytes, "", { "content-type": "image/png" });
      assert.equal(response.status, 200);
      const body = v.parse(attributionSchema, await response.json());
      assert.equal(body.id, response.headers.get("x-request-id"));
      assert.match(body.modelSet.hash, /^[0-9a-f]{64}$/);
      assert.ok(body.timings.total >= body.timings.device && body.timings.device > 0);
      const [image] = body.images;
      assert.ok("verdict" in image);
      assert.ok(labels.includes(image.verdict.label) && image.maps === undefined);
      assert.deepEqual(Object.keys(image.verdict).slice(0, 4), ["finding", "title", "explanation", "label"]);
      assert.ok(
        !("finding" in image.evidence) && !("reasons" in image.evidence),
        "what is in the verdict is not repeated",
      );
      assert.deepEqual(Object.keys(image.verdict.scores), labels);
      first = numbers(image);
    });

    await t.step("the evidence says what is odd about a file", async () => {
      const odd = await Deno.readFile(new URL("../../fixtures/odd_images/no-eoi.jpg", import.meta.url));
      const body = v.parse(attributionSchema, await (await post(server, odd)).json());
      const [image] = body.images;
      assert.ok("verdict" in image);
      assert.deepEqual(image.evidence.notes, ["no end-of-image marker"]);
    });

    await t.step("the content type is not believed, and the answer is the same", async () => {
      for (const type of ["image/webp", "text/plain", "application/json"]) {
        const body = await (await post(server, images[0].bytes, "", { "content-type": type })).json();
        assert.deepEqual(numbers(body.images[0]), first);
      }
    });

    await t.step("several images in a form: verdicts in their order, an error in the place of a bad one", async () => {
      const form = new FormData();
      for (const { name, bytes } of images.slice(0, 3)) form.append("image", new File([bytes], name));
      form.append("note", "no file");
      form.append("image", new File(["text"], "bad.png", { type: "image/png" }));
      const response = await post(server, form, "?maps=1");
      assert.equal(response.status, 200);
      const body = v.parse(attributionSchema, await response.json());
      assert.deepEqual(body.images.map(({ name }) => name), [...images.slice(0, 3).map(({ name }) => name), "bad.png"]);
      assert.ok("error" in body.images[3] && body.images[3].error.code === "not-an-image");
      const [image] = body.images;
      assert.ok("verdict" in image && image.maps);
      const { maps: _, ...own } = numbers(image) as Record<string, unknown>;
      const { maps: __, ...expected } = first as Record<string, unknown>;
      assert.deepEqual(own, expected);
      const { width, height, values } = image.maps.quantisation;
      assert.equal(values.length, width * height);
    });

    await t.step("requests at the same time share batches, with the numbers of single requests", async () => {
      const single: unknown[] = [];
      for (const { bytes } of images) {
        single.push(numbers((await (await post(server, bytes, "?maps=1")).json()).images[0]));
      }
      const before = await metric(server, "batch_images_count");
      const together = await Promise.all(images.map(async ({ bytes }) => {
        return numbers((await (await post(server, bytes, "?maps=1")).json()).images[0]);
      }));
      assert.deepEqual(together, single);
      const batches = await metric(server, "batch_images_count") - before;
      assert.ok(batches < images.length / 2, `${images.length} images took ${batches} batches`);
    });

    await t.step("/healthz is answered while a batch is under way", async () => {
      const form = new FormData();
      for (const { name, bytes } of images) form.append("image", new File([bytes], name));
      const before = await metric(server, "batch_images_count");
      let over = false, answers = 0;
      const request = post(server, form).then((response) => response.json()).finally(() => over = true);
      while (!over) {
        assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: "ok" });
        answers++;
      }
      assert.equal((await request).images.length, images.length);
      // A server whose own thread had the device would answer at most once between two batches.
      const batches = await metric(server, "batch_images_count") - before;
      assert.ok(answers > 2 * batches, `${answers} answers during ${batches} batches`);
    });

    await t.step("stream=1 tells the queue, the progress and the same result as events", async () => {
      const response = await post(server, images[0].bytes, "?stream=1&maps=0");
      assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
      const events = (await response.text()).trim().split("\n\n").map((block) => {
        const [, event, data] = /^event: (.*)\ndata: (.*)$/s.exec(block)!;
        return { event: event as keyof typeof eventSchemas, data: JSON.parse(data) };
      });
      for (const { event, data } of events) v.parse(eventSchemas[event], data);
      assert.deepEqual([events[0].event, events.at(-1)!.event], ["queued", "result"]);
      const done = events.filter(({ event }) => event === "progress").map(({ data }) => data.done);
      assert.ok(done.length > 2 && done.at(-1) === 1);
      assert.deepEqual(done, done.toSorted((a, b) => a - b));
      assert.deepEqual(numbers(events.at(-1)!.data.images[0]), first);
    });

    await t.step("an unreadable image in a stream ends it with an error event", async () => {
      const text = await (await post(server, "no image", "?stream=1")).text();
      assert.match(text, /event: error\ndata: {"error":{"code":"not-an-image"/);
    });

    await t.step("what cannot be an image is refused with its reason", async () => {
      const big = new Uint8Array(images[0].bytes);
      new DataView(big.buffer).setUint32(16, 60000);
      new DataView(big.buffer).setUint32(20, 60000);
      const gif = new TextEncoder().encode("GIF89a..............");
      const cases: [BodyInit, number, string][] = [
        ["", 400, "empty"],
        ["hello", 415, "not-an-image"],
        [gif, 415, "unsupported"],
        [images[0].bytes.subarray(0, images[0].bytes.length / 2), 422, "truncated"],
        [big, 413, "too-large"],
      ];
      for (const [body, status, code] of cases) await expectError(await post(server, body), status, code);
      const form = { "content-type": "multipart/form-data; boundary=x" };
      await expectError(await post(server, "no parts", "", form), 400, "malformed-multipart");
      const empty = new FormData();
      empty.append("a", "text");
      await expectError(await post(server, empty), 400, "no-images");
      const many = new FormData();
      for (let i = 0; i < 17; i++) many.append("image", new File(["x"], "x.png"));
      await expectError(await post(server, many), 413, "too-many-images");
    });

    await t.step("queries, paths and methods that are not known are refused", async () => {
      for (const query of ["?stream=2", "?size=1", "?timeout_ms=0", "?url=http://127.0.0.1/x.png"]) {
        await expectError(await post(server, images[0].bytes, query), 400, "query");
      }
      await expectError(await fetch(`${url}/../../etc/passwd`), 404, "not-found");
      await expectError(await fetch(`${url}/page/..%2f..%2fmain.ts`), 404, "not-found");
      const wrong = await fetch(`${url}/v1/attribute`);
      assert.equal(wrong.headers.get("allow"), "POST");
      await expectError(wrong, 405, "method");
      await expectError(await fetch(`${url}/healthz`, { method: "DELETE" }), 405, "method");
    });

    await t.step("a deadline that passes gives 504, and the next request works", async () => {
      await expectError(await post(server, images[0].bytes, "?timeout_ms=1"), 504, "deadline");
      assert.equal((await (await post(server, images[0].bytes)).json()).images.length, 1);
    });

    await t.step("a page of another site may not ask, the own page may", async () => {
      const other = await post(server, images[0].bytes, "", { origin: "https://evil.example" });
      await expectError(other, 403, "origin");
      const own = await post(server, images[0].bytes, "", { origin: url });
      assert.equal(own.status, 200);
      await own.body?.cancel();
    });

    await t.step("every answer has the security headers", async () => {
      for (const path of ["/", "/page/app.js", "/healthz", "/v1/models", "/nothing"]) {
        const { headers, body } = await fetch(url + path);
        await body?.cancel();
        assert.match(headers.get("content-security-policy")!, /default-src 'none'; script-src 'self'/);
        assert.doesNotMatch(headers.get("content-security-policy")!, /unsafe/);
        assert.equal(headers.get("x-content-type-options"), "nosniff");
        assert.equal(headers.get("x-frame-options"), "DENY");
        assert.equal(headers.get("referrer-policy"), "no-referrer");
        assert.match(headers.get("x-request-id")!, /^[0-9a-f-]{36}$/);
      }
    });

    await t.step("models, health, metrics and the API description", async () => {
      const models = v.parse(modelsSchema, await (await fetch(`${url}/v1/models`)).json());
      assert.deepEqual([...models.variants.rar, ...models.variants.var, "outlier"], labels);
      assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: "ok" });
      assert.deepEqual(await (await fetch(`${url}/readyz`)).json(), { status: "ready" });
      const metrics = await (await fetch(`${url}/metrics`)).text();
      assert.match(metrics, /^model_tracer_queue_images 0$/m);
      assert.match(metrics, /^model_tracer_ready 1$/m);
      assert.match(metrics, /^model_tracer_requests_total{route="\/v1\/attribute",status="200"} [1-9]/m);
      assert.doesNotMatch(metrics, /png|evil|passwd/);
      const api = await (await fetch(`${url}/openapi.json`)).json();
      assert.equal(api.openapi, "3.1.0");
      const routes = Object.keys(api.paths);
      assert.deepEqual(routes, ["/v1/attribute", "/v1/models", "/healthz", "/readyz", "/metrics"]);
      const { Attribution } = api.components.schemas;
      assert.ok(Attribution.properties.images.items.anyOf.length === 2);
      const { verdict } = Attribution.properties.images.items.anyOf[0].properties;
      assert.deepEqual(verdict.properties.finding.enum, findings);
      assert.ok(verdict.properties.label.description.includes(outlierMeaning));
      const refs = [...JSON.stringify(api).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(([, name]) =>
        name
      );
      assert.ok(refs.length > 5 && refs.every((name) => api.components.schemas[name]));
    });

    await t.step("nothing of an image is logged", () => {
      const log = JSON.stringify(server.log);
      for (const { name } of images) assert.ok(!log.includes(name));
      assert.doesNotMatch(log, /sha256|bad\.png|evil/);
      assert.ok(server.log.some(({ event, route }) => event === "request" && route === "/v1/attribute"));
    });
    assert.equal(await server.stop(), 0);
  });
});

Deno.test("service: keys, other sites and a body's limits", async (t) => {
  const keys = ["0123456789abcdef-one", "0123456789abcdef-two"];
  const site = "https://gallery.example";
  const options = ["--api-keys", keys.join(","), "--cors", site, "--max-body", "20KiB", "--body-ms", "700"];
  await withServer([...options, "--max-images", "2"], async (server) => {
    const { url } = server;
    const key = { "x-api-key": keys[1] };

    await t.step("requests need one of the keys; health does not", async () => {
      const without = await post(server, images[0].bytes);
      assert.match(without.headers.get("www-authenticate")!, /^Bearer/);
      await expectError(without, 401, "unauthorised");
      await expectError(await post(server, images[0].bytes, "", { "x-api-key": `${keys[0]}x` }), 401, "unauthorised");
      await expectError(await fetch(`${url}/v1/models`), 401, "unauthorised");
      const malformed = [["x-api-key", "no token!"], ["authorization", `Basic ${keys[0]}`], ["authorization", ""]];
      for (const [name, value] of malformed) {
        await expectError(await post(server, images[0].bytes, "", { [name]: value }), 401, "unauthorised");
      }
      for (const headers of [key, { authorization: `Bearer ${keys[0]}` }]) {
        const response = await post(server, images[0].bytes, "", headers as HeadersInit);
        await response.body?.cancel();
        assert.equal(response.status, 200);
      }
      assert.equal((await (await fetch(`${url}/healthz`)).json()).status, "ok");
      assert.ok(!JSON.stringify(server.log).includes("0123456789abcdef"));
    });

    await t.step("a listed site may ask, also ahead of time", async () => {
      const ask = {
        origin: site,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key",
      };
      const ahead = await fetch(`${url}/v1/attribute`, { method: "OPTIONS", headers: ask });
      assert.equal(ahead.headers.get("access-control-allow-origin"), site);
      const response = await post(server, images[0].bytes, "", { ...key, origin: site });
      assert.equal(response.headers.get("access-control-allow-origin"), site);
      assert.equal(response.status, 200);
      await response.body?.cancel();
      const other = await fetch(`${url}/v1/attribute`, {
        method: "OPTIONS",
        headers: { ...ask, origin: "https://evil.example" },
      });
      assert.equal(other.headers.get("access-control-allow-origin"), null);
      await other.body?.cancel();
    });

    await t.step("too many bytes are refused, whether or not their number is said", async () => {
      const bytes = new Uint8Array(30 * 1024);
      await expectError(await post(server, bytes, "", key), 413, "body-too-large");
      const stream = new ReadableStream({
        start(controller) {
          for (let i = 0; i < 30; i++) controller.enqueue(bytes.subarray(0, 1024));
          controller.close();
        },
      });
      await expectError(await post(server, stream, "", key), 413, "body-too-large");
    });

    await t.step("a body that does not arrive in time is given up", async () => {
      let timer: ReturnType<typeof setInterval> | undefined;
      const drip = new ReadableStream({
        start(controller) {
          timer = setInterval(() => controller.enqueue(Uint8Array.of(0x89)), 100);
        },
        cancel: () => clearInterval(timer),
      });
      await expectError(await post(server, drip, "", key), 408, "slow-body"); // a drip that would never end
      clearInterval(timer);
      const metrics = await (await fetch(`${url}/metrics`)).text();
      assert.match(metrics, /^model_tracer_bodies_bytes 0$/m);
      assert.match(metrics, /^model_tracer_queue_images 0$/m);
    });
  });
});

Deno.test("service: a full queue gives 503 with Retry-After, and what was accepted is answered", async () => {
  await withServer(["--max-queue", "3", "--max-batch", "1"], async (server) => {
    const responses = await Promise.all(Array.from({ length: 20 }, () => post(server, images[0].bytes)));
    const statuses = new Map<number, number>();
    for (const response of responses) {
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      if (response.status === 503) {
        assert.ok(Number(response.headers.get("retry-after")) >= 1);
        await expectError(response, 503, "busy");
      } else assert.equal((await response.json()).images.length, 1);
    }
    assert.deepEqual([...statuses.keys()].sort(), [200, 503]);
    assert.ok(statuses.get(200)! >= 3);
    const form = new FormData();
    for (let i = 0; i < 4; i++) form.append("image", new File([images[i].bytes], "x"));
    await expectError(await post(server, form), 503, "busy");
    const after = await post(server, images[0].bytes);
    assert.equal(after.status, 200);
    await after.body?.cancel();
  });
});

Deno.test("service: clients that go away leave no place taken, and their images are not worked on", async () => {
  await withServer(["--max-batch", "1"], async (server) => {
    for (const query of ["?stream=1", ""]) {
      const before = await metric(server, "batch_images_count");
      const stop = new AbortController();
      const requests = Array.from(
        { length: 12 },
        () =>
          fetch(`${server.url}/v1/attribute${query}`, { method: "POST", body: images[0].bytes, signal: stop.signal })
            .then((response) => response.text()),
      );
      const outcomes = Promise.allSettled(requests);
      while (await metric(server, "queue_images") < 11) { /* until nearly all are accepted */ }
      stop.abort();
      assert.ok((await outcomes).filter(({ status }) => status === "rejected").length >= 9);
      while (await metric(server, "queue_images") > 0) { /* until their places are free */ }
      const worked = await metric(server, "batch_images_count") - before;
      assert.ok(worked <= 6, `${worked} of 12 images were worked on`);
    }
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^model_tracer_requests_total{route="\/v1\/attribute",status="499"} [1-9]/m);
    assert.doesNotMatch(metrics, /status="500"/);
    assert.equal(server.log.filter(({ event }) => event === "error").length, 0);
    const after = await post(server, images[0].bytes);
    assert.equal(after.status, 200);
    await after.body?.cancel();
  });
});

Deno.test("service: `deno serve` runs the same handler with the same permissions, and drains on SIGTERM", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  const permissions = (tasks.serve as string).split(" ").filter((word) => /^--(allow|no-prompt)/.test(word));
  const process = new Deno.Command(Deno.execPath(), {
    args: ["serve", "--no-check", "--port", "0", "--host", "127.0.0.1", ...permissions, "attribution/service/main.ts"],
    cwd: root,
    env: { TRACER_DEVICE: "cpu" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const server = await listening(process);
  await untilReady(server);
  const answers = Array.from({ length: 6 }, () => post(server, images[0].bytes).then((response) => response.json()));
  while (await metric(server, "queue_images") < 6) { /* until all are accepted */ }
  const code = server.stop();
  for (const body of await Promise.all(answers)) assert.equal(body.images.length, 1);
  assert.equal(await code, 0);
});

Deno.test("service: is not ready before its device is, and says so", async () => {
  const server = await listening(await spawnTask("serve", root, ["--port", "0", "--device", "cpu"]));
  try {
    const early = await fetch(`${server.url}/readyz`);
    const { status } = await early.json();
    const verdict = await post(server, images[0].bytes);
    if (status === "starting") {
      assert.equal(early.status, 503);
      assert.ok([200, 503].includes(verdict.status));
      if (verdict.status === 503) assert.equal(verdict.headers.get("retry-after"), "2");
    } else assert.equal(status, "ready");
    await verdict.body?.cancel();
    await untilReady(server);
  } finally {
    await server.stop("SIGKILL");
  }
});
