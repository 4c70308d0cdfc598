/** Who may send requests: clients with an API key, by a name of this server, and pages of listed sites. */
import type { MiddlewareHandler } from "npm:hono@4.13.19";
import { bearerAuth } from "npm:hono@4.13.19/bearer-auth";
import { some } from "npm:hono@4.13.19/combine";
import { HttpError } from "./errors.ts";

/**
 * Refuses requests without one of the keys, as `Authorization: Bearer KEY` or `X-API-Key: KEY`, which are compared as
 * hashes in constant time (hono's bearerAuth). publicError() turns what it throws into a 401. Without keys, nobody is
 * refused.
 */
export function requireKey(keys: readonly string[]): MiddlewareHandler {
  if (keys.length === 0) return (_, next) => next();
  const token = [...keys];
  return some(bearerAuth({ token }), bearerAuth({ token, headerName: "x-api-key", prefix: "" }));
}

/** Hosts that a page cannot be made to have by changing what its name resolves to: addresses, and this machine's name. */
const fixedHost = /^(?:localhost|.+\.localhost|\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+)$/;

/**
 * Throws a 403 for a request to a name that is not the server's: the site of a page can let its name resolve to this
 * server (DNS rebinding), and to the browser they are then one site. Addresses and `localhost` are always taken, names
 * where they are listed, and any name where `*` is listed.
 */
export function checkHost(headers: Headers, allowed: readonly string[]): void {
  const host = headers.get("host");
  if (host === null || allowed.includes("*")) return; // without a header, no browser sent it
  if (!URL.canParse(`http://${host}`)) throw new HttpError(400, "host", "expected a host name in the header Host");
  const { hostname } = new URL(`http://${host}`);
  if (fixedHost.test(hostname) || allowed.includes(hostname)) return;
  const name = hostname.slice(0, 100);
  throw new HttpError(403, "host", `this server is not known as ${name}; --hosts lists its names`);
}

/**
 * Throws a 403 for a request that a page of another site made, unless its origin is listed: CORS keeps answers from
 * such pages, but does not keep browsers from sending.
 */
export function checkOrigin(headers: Headers, url: URL, allowed: readonly string[]): void {
  const origin = headers.get("origin");
  if (origin === null || allowed.includes(origin)) return;
  // Behind a proxy the scheme may differ; the host is what the browser asked for.
  const host = headers.get("host") ?? url.host;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  if (headers.get("sec-fetch-site") === "same-origin") return;
  throw new HttpError(403, "origin", "requests from pages of this origin are not allowed");
}
