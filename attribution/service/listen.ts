/**
 * Listens for HTTP/1.1 and hands requests to a fetch handler, telling it through the request's signal when a client is
 * gone. It has no routes and decides nothing about a request.
 *
 * `Deno.serve` would be shorter, but while a request with a body waits for its answer, it does not notice that the
 * client hangs up (Deno 2.9, serve_http11_raw in ext/http/http_next.rs). Its images would be measured for nobody.
 */
import { createServer, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { getRequestListener } from "npm:@hono/node-server@2.1.8";
import type { Fetch } from "./handler.ts";
import type { ErrorBody } from "./schemas.ts";

export interface Listener {
  /** The address for clients on this machine. */
  readonly url: string;
  /** Accepts no more connections. Resolves when all requests that had begun are answered. */
  shutdown(): Promise<void>;
}

/** Milliseconds between two checks for idle connections while shutting down. */
const idleCheckMs = 50;

/** Rejects with a message for the user when the address cannot be listened on. */
export async function listen({ hostname, port }: { hostname: string; port: number }, fetch: Fetch): Promise<Listener> {
  const answering = new Set<ServerResponse>();
  const handle = getRequestListener(fetch, { overrideGlobalObjects: false, errorHandler: refuseHead });
  // A request without a host is answered by refuseHead, in JSON.
  const server = createServer({ requireHostHeader: false }, (request, response) => {
    answering.add(response);
    response.once("close", () => answering.delete(response)); // sent to the end, or the client is gone
    handle(request, response);
  });
  server.on("clientError", refuseBytes);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new Error(`cannot listen on ${hostname}:${port}: ${cause.message}`)));
    server.listen(port, hostname, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error(`listen: expected a port, got ${address}`);
  const host = address.address.includes(":") ? `[${address.address}]` : address.address;
  return {
    url: `http://${host}:${address.port}/`,
    shutdown: () =>
      new Promise((resolve, reject) => {
        // Once all requests are answered, the connections that are left are idle, or stuck in a header.
        let quiet = 0;
        const timer = setInterval(() => {
          quiet = answering.size === 0 ? quiet + 1 : 0;
          if (quiet > 1) server.closeAllConnections();
          else server.closeIdleConnections();
        }, idleCheckMs);
        server.close((error) => {
          clearInterval(timer);
          if (error) reject(error);
          else resolve();
        });
      }),
  };
}

/** The answer to a request whose host or target is missing or wrong, so that it does not reach the handler. */
function refuseHead(): Response {
  const message = "expected a header Host, and a path as the target of the request";
  return Response.json({ error: { code: "request", message } } satisfies ErrorBody, { status: 400 });
}

/** Answers what is no HTTP, or has too large a head, and ends the connection. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable) return void socket.destroy();
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
  const message = status === 431 ? "the head of the request is too large" : "expected a request in HTTP/1.1";
  const body = JSON.stringify({ error: { code: "request", message } } satisfies ErrorBody);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
