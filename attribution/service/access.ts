/** Who may send requests: clients with an API key, and pages of listed sites. */
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
