/** A model hub on this machine that serves files of any size: the hub's paths and headers, and ranges. */
import { join } from "node:path";
import { hashFile } from "../../util/hash.ts";

/** A file that the hub serves. */
export interface HubFile {
  /** `owner/name`. */
  readonly repo: string;
  /** Path inside the repository. */
  readonly file: string;
}

/** A running hub. */
export interface FileHub {
  readonly endpoint: string;
  /** Bytes a second at most while it is set; for pulls that are to be killed. */
  bytesPerSecond: number | undefined;
  /** Bytes of bodies so far. */
  readonly sent: number;
  close(): Promise<void>;
}

const commit = "0123456789abcdef0123456789abcdef01234567";
const pieceBytes = 1 << 18;

/** Serves files of a folder, each under its repository. Hashes them first, as a hub has done. */
export async function startFileHub(dir: string, files: readonly HubFile[]): Promise<FileHub> {
  const known = new Map<string, { path: string; size: number; sha256: string }>();
  for (const { repo, file } of files) {
    const path = join(dir, file);
    known.set(`${repo}/${file}`, { path, size: (await Deno.stat(path)).size, sha256: await hashFile(path) });
  }
  let sent = 0;
  const hub = { bytesPerSecond: undefined as number | undefined };
  const body = async (path: string, start: number, end: number) => {
    const file = await Deno.open(path);
    await file.seek(start, Deno.SeekMode.Start);
    let left = end - start;
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const buffer = new Uint8Array(Math.min(left, pieceBytes));
        const count = left === 0 ? null : await file.read(buffer);
        if (count === null) {
          file.close();
          return controller.close();
        }
        left -= count;
        sent += count;
        if (hub.bytesPerSecond !== undefined) await pause(1000 * count / hub.bytesPerSecond);
        controller.enqueue(buffer.subarray(0, count));
      },
      cancel: () => file.close(),
    });
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const asked = /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(decodeURIComponent(pathname));
    const name = asked === null ? decodeURIComponent(pathname).slice("/storage/".length) : `${asked[1]}/${asked[2]}`;
    const file = known.get(name);
    if (file === undefined) return new Response(null, { status: 404, headers: { "X-Error-Code": "EntryNotFound" } });
    const { path, size, sha256 } = file;
    if (asked !== null) {
      const about = { "X-Repo-Commit": commit, "X-Linked-Size": String(size), "X-Linked-Etag": `"${sha256}"` };
      return new Response(null, { status: 302, headers: { ...about, Location: `/storage/${name}` } });
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (range === null) return new Response(await body(path, 0, size));
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, size)];
    const headers = { "Content-Range": `bytes ${start}-${end - 1}/${size}`, "Content-Length": String(end - start) };
    return new Response(await body(path, start, end), { status: 206, headers });
  });
  return Object.defineProperties(hub, {
    endpoint: { value: `http://127.0.0.1:${server.addr.port}` },
    sent: { get: () => sent },
    close: { value: () => server.shutdown() },
  }) as unknown as FileHub;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
