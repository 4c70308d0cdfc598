/** How the service ends: accepted requests are answered, and nobody can keep it from ending. */
import assert from "node:assert/strict";
import { exampleImages, metric, post, withServer } from "./server.ts";

const bodies = (await exampleImages(8)).map(({ bytes }) => bytes);

/** The method with the least work per image. */
const quick = ["--method", "perplexity"];

Deno.test("service: SIGTERM under load: every accepted request is answered, and the exit code is 0", async () => {
  await withServer(["--preload", ...quick], async (server) => {
    const statuses: number[] = [];
    // Clients that ask on until they are refused, every third time for a stream of events.
    const clients = Array.from({ length: 12 }, async (_, client) => {
      for (let i = client;; i++) {
        try {
          const response = await post(server, bodies[i % bodies.length], i % 3 === 0 ? "?stream=1" : "");
          const text = await response.text();
          if (i % 3 === 0 && response.status === 200) assert.match(text, /event: result/);
          statuses.push(response.status);
          if (response.status !== 200) return;
        } catch (error) {
          // After the signal, connections are refused; none that was open is cut.
          assert.match(`${error} ${(error as Error).cause}`, /refused|reset by peer|connection closed/i);
          return;
        }
      }
    });
    let accepted = 0, before = 0;
    while (accepted < 4) {
      before = statuses.length;
      accepted = await metric(server, "queue_images");
    }
    const code = await server.stop();
    await Promise.all(clients);
    assert.equal(code, 0);
    const answered = statuses.filter((status) => status === 200).length;
    assert.ok(answered - before >= accepted, `${answered - before} answers to at least ${accepted} accepted requests`);
    assert.ok(statuses.every((status) => status === 200 || status === 503), String(statuses));
    const logged = server.log.filter(({ event, status }) => event === "request" && status === 200).length;
    assert.equal(logged, answered, "what the server answered has arrived");
  });
});

Deno.test("service: SIGTERM ends it in spite of connections that never finish a request", async () => {
  // Were it to wait for them, it would be for ten minutes.
  await withServer(["--body-ms", "600000", ...quick], async (server) => {
    const texts = [
      "",
      "POST /v1/attr",
      "GET /healthz HTTP/1.1\r\nHost: a\r\n",
      "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET",
    ];
    const connections = await Promise.all(texts.map(async (text) => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
      if (text) await connection.write(new TextEncoder().encode(text));
      return connection;
    }));
    // The last one has an answer, so the server knows of all of them.
    assert.ok((await connections[3].read(new Uint8Array(65536)))! > 0);
    assert.equal(await server.stop(), 0);
    for (const connection of connections) connection.close();
  });
});
