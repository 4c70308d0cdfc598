/**
 * The routes of the service as a fetch handler: validation, headers and status codes. What happens to an image is in
 * service.ts; nothing here opens files or other connections.
 */
import { type Context, Hono, type MiddlewareHandler } from "npm:hono@4.13.19";
import { cors } from "npm:hono@4.13.19/cors";
import { secureHeaders } from "npm:hono@4.13.19/secure-headers";
import { streamSSE } from "npm:hono@4.13.19/streaming";
import type { ContentfulStatusCode } from "npm:hono@4.13.19/utils/http-status";
import * as v from "npm:valibot@1.5.0";
import { version } from "../../util/version.ts";
import { findingWords, readingNotes } from "../evidence/words.ts";
import { checkHost, checkOrigin, requireKey } from "./access.ts";
import { receive } from "./body.ts";
import { attributeQuery, queryProblem, type ServiceConfig } from "./config.ts";
import { HttpError, publicError } from "./errors.ts";
import { openApi } from "./openapi.ts";
import type { Asset } from "./page.ts";
import type { ErrorBody, ModelsBody, StatusBody } from "./schemas.ts";
import type { Service } from "./service.ts";

export interface HandlerOptions {
  readonly service: Service;
  readonly apiKeys: readonly string[];
  readonly page: ReadonlyMap<string, Asset>;
}

export type Fetch = (request: Request) => Promise<Response>;

type Env = { Variables: { id: string; leave: () => void; streams: boolean } };

/** The handler. It answers every request, and never throws. */
export function createHandler({ service, apiKeys, page }: HandlerOptions): Fetch {
  const { config, metrics } = service;
  const app = new Hono<Env>();
  const known = new Set<string>();
  app.use(observeRequests(service, known));
  app.use(securityHeaders(config));
  const hosts = [...config.hosts, config.host.toLowerCase()];
  app.use((c, next) => {
    // Load balancers ask for health under any name, and learn nothing else.
    if (c.req.path !== "/healthz" && c.req.path !== "/readyz") checkHost(c.req.raw.headers, hosts);
    return next();
  });
  if (config.cors.length > 0) app.use("/v1/*", corsHeaders(config));
  app.use("/v1/*", (c, next) => {
    checkOrigin(c.req.raw.headers, new URL(c.req.url), config.cors);
    c.header("cache-control", "no-store");
    return next();
  });
  app.use("/v1/*", requireKey(apiKeys));

  app.post("/v1/attribute", (c) => attribute(c, service));
  app.get("/v1/models", (c) => c.json(models(service)));
  app.get("/healthz", (c) => {
    const isFailed = service.status.status === "failed";
    return c.json<StatusBody>(isFailed ? service.status : { status: "ok" }, isFailed ? 503 : 200);
  });
  app.get("/readyz", (c) => c.json<StatusBody>(service.status, service.status.status === "ready" ? 200 : 503));
  app.get("/metrics", async () => {
    service.observe();
    const { body, contentType } = await metrics.text();
    return new Response(body, { headers: { "content-type": contentType } });
  });
  const document = openApi(apiKeys.length > 0);
  app.get("/openapi.json", (c) => c.json(document));
  for (const [path, { body, type }] of page) {
    app.get(path, () => new Response(body, { headers: { "content-type": type, "cache-control": "no-cache" } }));
  }
  for (const { method, path } of app.routes) if (method !== "ALL") known.add(path);

  app.all("*", (c) => {
    if (!known.has(c.req.path)) throw new HttpError(404, "not-found", "there is nothing at this path");
    const allow = c.req.path === "/v1/attribute" ? "POST" : "GET, HEAD";
    throw new HttpError(405, "method", `expected ${allow}, got ${c.req.method}`, { allow });
  });
  app.onError((error, c) => {
    const { status, code, message, headers } = describeError(error, c.get("id"), service);
    metrics.refused.inc({ reason: code });
    for (const [name, value] of Object.entries(headers)) c.header(name, value);
    return c.json<ErrorBody>({ error: { code, message } }, status as ContentfulStatusCode);
  });
  return async (request) => await app.fetch(request);
}

/** Gives every request its id, and counts, times and logs it. Paths that are not `known` are one route to metrics. */
function observeRequests(service: Service, known: ReadonlySet<string>): MiddlewareHandler<Env> {
  const { config, metrics } = service;
  return async (c, next) => {
    const start = performance.now();
    const leave = service.enter();
    c.set("id", crypto.randomUUID());
    c.set("leave", leave);
    try {
      await next();
    } finally {
      if (!c.get("streams")) leave();
      c.res.headers.set("x-request-id", c.get("id"));
      const ms = Math.round((performance.now() - start) * 10) / 10;
      const route = known.has(c.req.path) ? c.req.path : "other";
      metrics.requests.inc({ route, status: c.res.status });
      metrics.duration.observe({ route }, ms / 1000);
      if (config.log === "requests" && route.startsWith("/v1/")) {
        const { method } = c.req;
        service.options.log?.({ event: "request", id: c.get("id"), method, route, status: c.res.status, ms });
      }
    }
  };
}

function securityHeaders({ cors }: ServiceConfig): MiddlewareHandler {
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", "blob:", "data:"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
    crossOriginResourcePolicy: cors.length > 0 ? "cross-origin" : "same-origin",
    xFrameOptions: "DENY",
    referrerPolicy: "no-referrer",
    permissionsPolicy: { camera: [], microphone: [], geolocation: [] },
  });
}

function corsHeaders(config: ServiceConfig): MiddlewareHandler {
  return cors({
    origin: [...config.cors],
    allowMethods: ["GET", "POST"],
    allowHeaders: ["authorization", "content-type", "x-api-key"],
    exposeHeaders: ["x-request-id", "retry-after"],
    maxAge: 3600,
  });
}

/** What a client is told of an error. An internal one is logged under the request's id. */
function describeError(error: unknown, id: string, service: Service): HttpError {
  const shown = publicError(error);
  if (shown === undefined) service.options.log?.({ event: "error", id, reason: (error as Error).message });
  return shown ?? internal;
}

/** For metrics and the log; the client is gone. Other servers use this status, too. */
const gone = new HttpError(499, "gone", "the client hung up");
const internal = new HttpError(500, "internal", "the request failed; the server's log says why under its request id");

async function attribute(c: Context<Env>, service: Service): Promise<Response> {
  const start = performance.now();
  const query = v.safeParse(attributeQuery, c.req.query());
  if (!query.success) throw new HttpError(400, "query", queryProblem(query.issues[0]));
  const { deadlineMs } = service.timeLimits;
  const deadline = start + Math.min(Number(query.output.timeout_ms ?? deadlineMs), deadlineMs);
  // A full queue refuses a request before its body is received.
  service.reserve(1).release();
  const received = await receive(c.req.raw, service.limits, service.budget);
  const receiveMs = performance.now() - start;
  const id = c.get("id");
  let reservation;
  try {
    reservation = service.reserve(received.files.length);
  } catch (error) {
    service.budget.give(received.held);
    throw error;
  }
  const request = { id, received, reservation, deadline, start, receiveMs, maps: query.output.maps === "1" };
  const hungUp = new AbortController();
  if (query.output.stream !== "1") {
    const { signal } = c.req.raw;
    const tell = () => hungUp.abort(gone);
    if (signal.aborted) tell();
    signal.addEventListener("abort", tell, { once: true });
    return c.json(await service.attribute({ ...request, signal: hungUp.signal }));
  }
  c.set("streams", true);
  c.header("x-accel-buffering", "no");
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => hungUp.abort(gone));
    const send = (event: string, data: unknown) => stream.writeSSE({ event, data: JSON.stringify(data) });
    try {
      const ahead = service.batcher.depth - reservation.count;
      await send("queued", { id, images: reservation.count, ahead });
      const body = await service.attribute({
        ...request,
        signal: hungUp.signal,
        onProgress: (index, done) => void send("progress", { index, done }),
      });
      await send("result", body);
    } catch (error) {
      const { code, message } = describeError(error, id, service);
      await send("error", { error: { code, message } });
    } finally {
      c.get("leave")();
    }
  });
}

function models({ info, config, batcher, timeLimits }: Service): ModelsBody {
  const { modelSet, variants, labels, method, calibration, settings, device, imageSizes, maxBatch } = info;
  const { search, unsureBelow, typical, cautions } = info;
  return {
    version,
    modelSet,
    variants: Object.fromEntries(Object.entries(variants).map(([family, names]) => [family, [...names]])),
    labels: [...labels],
    ...{ method, calibration, settings, search, unsureBelow, typical },
    ...{ findings: findingWords, cautions: [...cautions], notes: [...readingNotes] },
    ...{ device, imageSizes: [...imageSizes] },
    limits: {
      bodyBytes: config.maxBody,
      pixels: config.maxPixels,
      images: config.maxImages,
      queue: batcher.options.maxQueue,
      batch: Math.min(maxBatch, timeLimits.maxBatch),
      deadlineMs: timeLimits.deadlineMs,
    },
  };
}
