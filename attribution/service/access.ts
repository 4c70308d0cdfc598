/** Who may ask: API keys, compared in constant time, and the sites whose pages may. */
import { createHash, timingSafeEqual } from "node:crypto";
import { HttpError } from "./errors.ts";

/** Checks keys that were given at the start. Without any, everybody may ask. */
export class ApiKeys {
  readonly #hashes: readonly Uint8Array[];

  constructor(keys: readonly string[]) {
    this.#hashes = keys.map(sha256);
  }

  get required(): boolean {
    return this.#hashes.length > 0;
  }

  /** Throws a 401 unless the request has one of the keys, as `Authorization: Bearer KEY` or `X-API-Key: KEY`. */
  check(headers: Headers): void {
    if (!this.required) return;
    const bearer = /^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "")?.[1];
    const given = sha256(bearer ?? headers.get("x-api-key") ?? "");
    // Every key is compared, and hashes of equal length are: the time says nothing of which one was nearly right.
    const matches = this.#hashes.map((hash) => timingSafeEqual(hash, given));
    if (matches.includes(true)) return;
    throw new HttpError(401, "unauthorised", "expected a valid key: Authorization: Bearer KEY", {
      "www-authenticate": 'Bearer realm="model-tracer"',
    });
  }
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

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
