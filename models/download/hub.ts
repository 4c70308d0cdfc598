/**
 * Requests to a model hub: address, size and sha256 of a file, and ranges of its bytes. Any server will do that has the
 * hub's paths and headers (huggingface_hub, file_download.py: `/<repo>/resolve/<revision>/<file>`, X-Linked-Etag,
 * X-Linked-Size, X-Repo-Commit).
 */
import type { Range } from "./ranges.ts";
import { type Gate, retryAfter, TemporaryError } from "./retry.ts";

/** The hub. */
export interface HubOptions {
  /** `https://huggingface.co`, or a mirror that answers the same paths. */
  readonly endpoint: string;
  /** Access token. It is sent to the endpoint's origin only, never to the target of a redirect. */
  readonly token?: string;
}

/** A file of a repository. */
export interface HubFile {
  /** `owner/name`. */
  readonly repo: string;
  /** Path inside the repository. */
  readonly file: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** A file as the hub describes it. */
export interface HubEntry {
  /** Address at the hub. */
  readonly url: string;
  /** Address of the bytes: `url`, or the target of its redirect, which may expire. */
  readonly location: string;
  readonly bytes: number;
  /** Given for large files, whose entity tag is their sha256. */
  readonly sha256?: string;
  readonly etag?: string;
  /** The commit that the revision stands for. */
  readonly commit?: string;
}

const maxRedirects = 8;

/** Hosts that are this machine. */
const loopback = /^(?:localhost|127(?:\.[0-9]+){3}|\[::1\])$/;

/**
 * The address of a file at the hub. Throws when the endpoint is not an http(s) address, and when a token would travel to
 * another machine without encryption.
 */
export function hubUrl({ endpoint, token }: HubOptions, { repo, file, revision }: HubFile): string {
  let base: URL;
  try {
    base = new URL(endpoint);
  } catch {
    base = new URL("none:");
  }
  if (base.protocol !== "https:" && base.protocol !== "http:") {
    throw new Error(`endpoint: expected an address such as https://huggingface.co, got ${JSON.stringify(endpoint)}`);
  }
  if (token !== undefined && base.protocol === "http:" && !loopback.test(base.hostname)) {
    throw new Error(
      `endpoint: expected https, as anybody on the way can read a token sent by http, got ${base.origin}: ` +
        "use the https address, or unset HF_TOKEN",
    );
  }
  const path = [...repo.split("/"), "resolve", revision, ...file.split("/")].map(encodeURIComponent).join("/");
  return `${base.href.replace(/\/+$/, "")}/${path}`;
}

/**
 * Asks for address, size and sha256 of a file. Stops following redirects at the response that has the hub's headers,
 * because addresses of storage are often signed for GET only. Rejects with {@link TemporaryError} where a retry may
 * help, otherwise with an error that says what to do.
 */
export async function lookUp(hub: HubOptions, file: HubFile, signal?: AbortSignal, idle = 30_000): Promise<HubEntry> {
  const url = hubUrl(hub, file);
  let address = url;
  let commit: string | undefined;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const timer = timed(signal, idle);
    const response = await request(hub, "HEAD", address, {}, timer.signal).finally(timer.stop);
    await response.body?.cancel();
    const { headers } = response;
    commit ??= headers.get("x-repo-commit") ?? undefined;
    const next = redirect(response, address);
    if (next === undefined && !response.ok) throw refusal(response, describe(file, address), hub);
    const linked = headers.get("x-linked-etag");
    if (next !== undefined && linked === null) {
      address = next;
      continue;
    }
    const etag = linked ?? headers.get("etag") ?? undefined;
    const bytes = wholeNumber(
      headers.get("x-linked-size") ?? (next === undefined ? headers.get("content-length") : null),
    );
    if (bytes === undefined) {
      throw new Error(`${describe(file, address)}: the server does not say how large the file is (X-Linked-Size)`);
    }
    return { url, location: next ?? address, bytes, sha256: sha256Of(etag), etag: plainTag(etag), commit };
  }
  throw new Error(`${describe(file, url)}: more than ${maxRedirects} redirects`);
}

/** The response to a request for a range. */
export interface RangeBody {
  /** False when the server ignored the range and sends the whole file. */
  readonly partial: boolean;
  /** The bytes as they arrive. Throws {@link TemporaryError} when the connection breaks. */
  pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/**
 * Requests the bytes `start .. end` (end exclusive) of a file. Follows redirects without the token.
 * Rejects with {@link ExpiredAddress} when the storage no longer accepts its address.
 */
export async function openRange(
  hub: HubOptions,
  entry: Pick<HubEntry, "location" | "url" | "bytes">,
  [start, end]: Range,
  label: string,
  { signal, gate }: { signal?: AbortSignal; gate: Gate },
): Promise<RangeBody> {
  const timer = timed(signal, gate.policy.idle);
  let address = entry.location;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await request(hub, "GET", address, { Range: `bytes=${start}-${end - 1}` }, timer.signal);
    const next = redirect(response, address);
    if (next !== undefined) {
      await response.body?.cancel();
      address = next;
      continue;
    }
    if (response.status === 206 || response.status === 200) {
      if (response.status === 206) checkRange(response, start, end, entry.bytes, label);
      return { partial: response.status === 206, pieces: () => pieces(response, label, timer) };
    }
    await response.body?.cancel();
    timer.stop();
    const { status } = response;
    if (entry.location !== entry.url && (status === 401 || status === 403 || status === 404 || status === 410)) {
      throw new ExpiredAddress(`${label}: HTTP ${status} from the storage at ${new URL(address).host}`);
    }
    if (status === 416) {
      throw new Error(`${label}: HTTP 416: expected a file of ${entry.bytes} bytes, the server has a shorter one`);
    }
    throw refusal(response, label, hub);
  }
  throw new Error(`${label}: more than ${maxRedirects} redirects`);
}

/** The storage refuses an address: the hub has to be asked for a new one. */
export class ExpiredAddress extends TemporaryError {}

/** One request; a failure to connect is a {@link TemporaryError}. */
async function request(
  hub: HubOptions,
  method: string,
  address: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  // A proxy that compresses would change what a range means.
  const all: Record<string, string> = { "Accept-Encoding": "identity", ...headers };
  if (hub.token !== undefined && new URL(address).origin === new URL(hub.endpoint).origin) {
    all.Authorization = `Bearer ${hub.token}`;
  }
  try {
    return await fetch(address, { method, headers: all, redirect: "manual", signal });
  } catch (cause) {
    throw broken(`${method} ${plainAddress(address)}`, cause, signal);
  }
}

/** The address that a response redirects to. */
function redirect(response: Response, address: string): string | undefined {
  if (![301, 302, 303, 307, 308].includes(response.status)) return undefined;
  const location = response.headers.get("location");
  if (location === null) throw new Error(`${plainAddress(address)}: HTTP ${response.status} without a location`);
  const next = new URL(location, address);
  const from = new URL(address).protocol;
  if (next.protocol !== "https:" && next.protocol !== from) {
    throw new Error(`${plainAddress(address)}: refuses the redirect from ${from} to ${plainAddress(next.href)}`);
  }
  return next.href;
}

function checkRange(response: Response, start: number, end: number, bytes: number, label: string): void {
  const text = response.headers.get("content-range") ?? "";
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text);
  const fits = match !== null && Number(match[1]) === start && Number(match[2]) < end &&
    (match[3] === "*" || Number(match[3]) === bytes);
  if (fits) return;
  throw new Error(
    `${label}: expected the bytes ${start}-${end - 1} of ${bytes}, got ${JSON.stringify(text)}: ` +
      "the file changed at the hub, or a proxy answers wrongly",
  );
}

async function* pieces(
  response: Response,
  label: string,
  timer: ReturnType<typeof timed>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      let piece: ReadableStreamReadResult<Uint8Array<ArrayBuffer>> | undefined;
      try {
        piece = await reader?.read();
      } catch (cause) {
        throw broken(label, cause, timer.signal);
      }
      if (piece === undefined || piece.done) return;
      timer.reset();
      yield piece.value;
    }
  } finally {
    timer.stop();
    await reader?.cancel().catch(() => {});
  }
}

/** Aborts with `signal`, or when `reset` is not called for `idle` milliseconds. */
function timed(signal: AbortSignal | undefined, idle: number) {
  const controller = new AbortController();
  const silent = () => controller.abort(new TemporaryError(`nothing came for ${idle / 1000} s`));
  let timer = setTimeout(silent, idle);
  Deno.unrefTimer(timer);
  const reset = () => {
    clearTimeout(timer);
    timer = setTimeout(silent, idle);
    Deno.unrefTimer(timer);
  };
  return {
    signal: signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]),
    reset,
    stop: () => clearTimeout(timer),
  };
}

/** A network failure as a {@link TemporaryError}; an abort by the user as its reason. */
function broken(what: string, cause: unknown, signal: AbortSignal): unknown {
  const reason = signal.aborted ? signal.reason : cause;
  if (reason instanceof TemporaryError) return new TemporaryError(`${what}: ${reason.message}`);
  if (signal.aborted) return reason;
  // Deno's message repeats the address, which may be signed.
  const message = cause instanceof Error ? cause.message.replace(/\s*\(https?:[^)]*\)/g, "") : String(cause);
  return new TemporaryError(`${what}: ${message}`, undefined, { cause });
}

/** The error for a status that is not a success. */
function refusal(response: Response, label: string, hub: HubOptions): Error {
  const { status, headers } = response;
  const said = headers.get("x-error-message");
  const problem = `${label}: HTTP ${status}${said ? ` (${said})` : ""}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return new TemporaryError(problem, retryAfter(headers));
  }
  if (status === 401 || status === 403) {
    const hint = hub.token === undefined
      ? "set HF_TOKEN to an access token of an account that may read it"
      : "the token in HF_TOKEN may not read it; gated files need their conditions accepted on the repository's page";
    return new Error(`${problem}: ${hint}`);
  }
  if (status === 404) {
    return new Error(`${problem}: no such file, repository or revision at ${plainAddress(hub.endpoint)}`);
  }
  return new Error(problem);
}

function describe({ repo, file }: HubFile, address: string): string {
  return `${repo}/${file} (${new URL(address).host})`;
}

/** Without the query, in which storage addresses carry their signature. */
function plainAddress(address: string): string {
  const url = new URL(address);
  return `${url.origin}${url.pathname === "/" ? "" : url.pathname}`;
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

function plainTag(etag: string | undefined): string | undefined {
  return etag?.replace(/^W\//, "").replaceAll('"', "");
}

/** The sha256, where the entity tag is one: the hub's are for large files. */
function sha256Of(etag: string | undefined): string | undefined {
  const tag = plainTag(etag)?.toLowerCase();
  return tag !== undefined && /^[0-9a-f]{64}$/.test(tag) ? tag : undefined;
}
