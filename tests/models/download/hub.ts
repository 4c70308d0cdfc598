/**
 * A server that behaves like the model hub, over plain TCP so that it can break connections at any byte: `resolve` answers
 * with a redirect and X-Linked-* headers, the bytes come from a second port that plays the storage, with ranges.
 */

/** A file that the server offers; changing it changes what later requests get. */
export interface Offer {
  bytes: Uint8Array<ArrayBuffer>;
  /** Announced sha256; that of the bytes when not given, none for null. */
  announced?: string | null;
  /** Needs this token. */
  token?: string;
}

export interface Request {
  readonly server: "hub" | "storage";
  readonly method: string;
  readonly path: string;
  readonly range?: readonly [number, number];
  readonly authorization?: string;
}

/** What to do instead of answering; `undefined` answers. */
export type Mischief =
  | { readonly status: number; readonly headers?: Record<string, string> }
  /** Send so many bytes of the body, then reset the connection. */
  | { readonly cutAfter: number }
  /** Send so many bytes of the body, then nothing. */
  | { readonly stallAfter: number }
  /** Send the body changed. */
  | { readonly flip: true };

export interface TestHub {
  readonly endpoint: string;
  /** By `owner/name/file`. */
  readonly offers: Map<string, Offer>;
  readonly requests: Request[];
  /** Bodies sent, in bytes. */
  sent: number;
  /** Decides about every request. */
  mischief: (request: Request) => Mischief | undefined | Promise<Mischief | undefined>;
  /** Between pieces of a body; for slow transfers. */
  pause: (() => Promise<void>) | undefined;
  /** Storage addresses carry this and are refused with another; changing it makes them expire. */
  signature: string;
  /** Ignore ranges. */
  noRanges: boolean;
  close(): Promise<void>;
}

export const commit = "0123456789abcdef0123456789abcdef01234567";

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

export function startHub(): TestHub {
  const [hubListener, storageListener] = [0, 1].map(() => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const portOf = (listener: Deno.Listener) => (listener.addr as Deno.NetAddr).port;
  const open = new Set<Deno.Conn>();
  const hub: TestHub = {
    endpoint: `http://127.0.0.1:${portOf(hubListener)}`,
    offers: new Map(),
    requests: [],
    sent: 0,
    mischief: () => undefined,
    pause: undefined,
    signature: "s1",
    noRanges: false,
    async close() {
      for (const listener of [hubListener, storageListener]) closeQuietly(listener);
      for (const connection of open) closeQuietly(connection);
      await Promise.all(loops);
    },
  };
  const serve = async (listener: Deno.Listener, server: Request["server"]) => {
    try {
      for await (const connection of listener) {
        open.add(connection);
        answer(connection, server).catch(() => {}).finally(() => {
          open.delete(connection);
          closeQuietly(connection);
        });
      }
    } catch {
      // closed
    }
  };
  const loops = [serve(hubListener, "hub"), serve(storageListener, "storage")];

  async function answer(connection: Deno.Conn, server: Request["server"]): Promise<void> {
    const head = await readHead(connection);
    const [method, target] = head.split("\r\n")[0].split(" ");
    const header = (name: string) => new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1].trim();
    const url = new URL(target, hub.endpoint);
    const match = /^bytes=(\d+)-(\d+)$/.exec(header("range") ?? "");
    const request: Request = {
      ...{ server, method, path: decodeURIComponent(url.pathname) },
      range: match === null ? undefined : [Number(match[1]), Number(match[2]) + 1],
      authorization: header("authorization"),
    };
    hub.requests.push(request);
    const mischief = await hub.mischief(request);
    const say = (status: number, headers: Record<string, string | number>, body = new Uint8Array(0)) =>
      respond(connection, method, status, headers, body, mischief);
    if (mischief !== undefined && "status" in mischief) return await say(mischief.status, mischief.headers ?? {});
    if (server === "hub") {
      const parts = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(request.path);
      const offer = parts === null ? undefined : hub.offers.get(`${parts[1]}/${parts[3]}`);
      if (offer === undefined) {
        return await say(404, { "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found" });
      }
      if (offer.token !== undefined && request.authorization !== `Bearer ${offer.token}`) {
        return await say(request.authorization === undefined ? 401 : 403, {
          "X-Error-Code": "GatedRepo",
          "X-Error-Message": "Access to this model is restricted",
        });
      }
      const tag = offer.announced === undefined ? await sha256(offer.bytes) : offer.announced;
      return await say(302, {
        "X-Repo-Commit": commit,
        "X-Linked-Size": offer.bytes.length,
        ...(tag === null ? { "X-Linked-Etag": '"5d41402abc4b2a76b9719d911017c592"' } : { "X-Linked-Etag": `"${tag}"` }),
        "Location": `http://127.0.0.1:${portOf(storageListener)}/${parts![1]}/${parts![3]}?sig=${hub.signature}`,
      });
    }
    const offer = hub.offers.get(request.path.slice(1));
    if (url.searchParams.get("sig") !== hub.signature || offer === undefined) return await say(403, {});
    const { bytes } = offer;
    if (request.range === undefined || hub.noRanges) return await say(200, { ETag: '"storage"' }, bytes);
    const [start, end] = [request.range[0], Math.min(request.range[1], bytes.length)];
    if (start >= bytes.length) return await say(416, { "Content-Range": `bytes */${bytes.length}` });
    await say(206, { "Content-Range": `bytes ${start}-${end - 1}/${bytes.length}` }, bytes.subarray(start, end));
  }

  async function respond(
    connection: Deno.Conn,
    method: string,
    status: number,
    headers: Record<string, string | number>,
    body: Uint8Array<ArrayBuffer>,
    mischief: Mischief | undefined,
  ): Promise<void> {
    const lines = Object.entries({ "Content-Length": body.length, ...headers, Connection: "close" })
      .map(([name, value]) => `${name}: ${value}\r\n`);
    await write(connection, new TextEncoder().encode(`HTTP/1.1 ${status} Test\r\n${lines.join("")}\r\n`));
    if (method === "HEAD") return;
    const changed = mischief !== undefined && "flip" in mischief ? body.map((byte) => byte ^ 1) : body;
    const limit = mischief !== undefined && "cutAfter" in mischief
      ? mischief.cutAfter
      : mischief !== undefined && "stallAfter" in mischief
      ? mischief.stallAfter
      : body.length;
    for (let at = 0; at < Math.min(limit, body.length);) {
      const piece = changed.subarray(at, Math.min(at + 16384, limit, body.length));
      await write(connection, piece);
      hub.sent += piece.length;
      at += piece.length;
      await hub.pause?.();
    }
    if (mischief !== undefined && "stallAfter" in mischief) await readHead(connection); // until the other side gives up
  }

  return hub;
}

async function write(connection: Deno.Conn, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
}

async function readHead(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(65536);
  let length = 0;
  for (;;) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) throw new Error("closed");
    length += count;
    const text = new TextDecoder().decode(buffer.subarray(0, length));
    if (text.includes("\r\n\r\n")) return text;
  }
}

function closeQuietly(connection: { close(): void }): void {
  try {
    connection.close();
  } catch {
    // closed already
  }
}

/** Bytes that follow from a seed, none of which repeat soon. */
export function someBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
