/** Heads of requests that browsers do not send: HTTP/1.0, no host, another host, no HTTP at all. */
import assert from "node:assert/strict";
import * as v from "npm:valibot@1.5.0";
import { checkHost, checkOrigin } from "../../../attribution/service/access.ts";
import { errorSchema } from "../../../attribution/service/schemas.ts";
import { withServer } from "./server.ts";

/** Sends a head over a new connection: the status of the answer, and its body. */
async function ask(port: number, head: string): Promise<{ status: number; body: unknown }> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(head));
  const decoder = new TextDecoder(), buffer = new Uint8Array(65536);
  let text = "";
  for (let length: number | null = 0; length !== null;) {
    length = await connection.read(buffer).catch(() => null);
    if (length !== null) text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  const [, status, body] = /^HTTP\/1\.1 ([0-9]{3}) [^]*?\r\n\r\n([^]*)$/.exec(text)!;
  const json = /\r\ntransfer-encoding: chunked\r\n/i.test(text) ? /\{[^]*\}/.exec(body)![0] : body;
  return { status: Number(status), body: JSON.parse(json) };
}

Deno.test("service: every head that is refused is answered in JSON, HTTP/1.0 and missing hosts too", async () => {
  const closing = "Connection: close\r\n\r\n";
  const refused: [head: string, status: number, code: string][] = [
    ["GET /healthz HTTP/1.0\r\n\r\n", 400, "request"],
    ["POST /v1/attribute HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", 400, "request"],
    [`GET /healthz HTTP/1.1\r\n${closing}`, 400, "request"],
    [`GET /healthz HTTP/1.1\r\nHost: \r\n${closing}`, 400, "request"],
    [`GET /healthz HTTP/1.1\r\nHost: a b\r\n${closing}`, 400, "request"],
    [`OPTIONS * HTTP/1.1\r\nHost: localhost\r\n${closing}`, 400, "request"],
    ["no HTTP\r\n\r\n", 400, "request"],
    [`GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(100_000)}\r\n${closing}`, 431, "request"],
    [`GET /v1/models HTTP/1.1\r\nHost: rebound.example\r\n${closing}`, 403, "host"],
    [`GET / HTTP/1.1\r\nHost: rebound.example:80\r\n${closing}`, 403, "host"],
    ["GET /nothing HTTP/1.0\r\nHost: localhost\r\n\r\n", 404, "not-found"],
  ];
  await withServer(["--hosts", "tracer.example"], async ({ port }) => {
    for (const [head, status, code] of refused) {
      const answer = await ask(port, head);
      assert.equal(answer.status, status, head.slice(0, 100));
      assert.equal(v.parse(errorSchema, answer.body).error.code, code);
    }
    for (
      const head of [
        "GET /v1/models HTTP/1.0\r\nHost: localhost\r\n\r\n",
        `GET /v1/models HTTP/1.1\r\nHost: Tracer.Example:8000\r\n${closing}`,
        `GET /healthz HTTP/1.1\r\nHost: any.example\r\n${closing}`,
      ]
    ) {
      assert.equal((await ask(port, head)).status, 200, head);
    }
  });
});

Deno.test("checkHost() takes addresses, localhost and listed names, and no name that a page may have", () => {
  const check = (host: string, ...allowed: string[]) => checkHost(new Headers({ host }), allowed);
  for (const host of ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "a.localhost"]) {
    check(host);
  }
  check("tracer.example:443", "other.example", "tracer.example");
  check("any.example", "*");
  checkHost(new Headers(), []); // a program that calls the handler
  const refused = ["any.example", "localhost.example", "127.0.0.1.example", "1.example:8000", "xlocalhost"];
  for (const host of refused) {
    assert.throws(() => check(host, "tracer.example"), { name: "HttpError", status: 403, code: "host" }, host);
  }
  assert.throws(() => check("a b"), { name: "HttpError", status: 400, code: "host" });
});

Deno.test("a page whose name was made to resolve to this server is refused by the host, as the origin is the same", () => {
  const headers = new Headers({ host: "rebound.example:8000", origin: "http://rebound.example:8000" });
  checkOrigin(headers, new URL("http://rebound.example:8000/v1/attribute"), []);
  assert.throws(() => checkHost(headers, []), { code: "host" });
});
