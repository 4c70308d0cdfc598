/** A server as its users start it: a process with the permissions of deno.json, answering over real connections. */
import { join } from "node:path";
import { spawnTask } from "../../tasks/processes.ts";

export const root = new URL("../../..", import.meta.url).pathname;

export interface Server {
  readonly url: string;
  readonly port: number;
  readonly process: Deno.ChildProcess;
  /** Lines of its log so far. */
  readonly log: readonly Record<string, unknown>[];
  /** Sends a signal, and resolves to the exit code. */
  stop(signal?: Deno.Signal): Promise<number>;
}

/** Reads a process's log until it listens, and goes on reading. Throws with its output when it ends before. */
export async function listening(process: Deno.ChildProcess): Promise<Server> {
  const log: Record<string, unknown>[] = [];
  const other: string[] = [];
  const found = Promise.withResolvers<string>();
  const drained = (async () => {
    let rest = "";
    for await (const text of process.stderr.pipeThrough(new TextDecoderStream())) {
      rest += text;
      const lines = rest.split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (!line.startsWith("{")) {
          other.push(line);
          const plain = /Listening on (http:\S+)/.exec(line);
          if (plain) found.resolve(plain[1].replace("0.0.0.0", "127.0.0.1"));
          continue;
        }
        const parsed = JSON.parse(line);
        log.push(parsed);
        if (parsed.event === "listening") found.resolve(parsed.url);
      }
    }
    found.reject(new Error(`the server ended before it listened:\n${other.join("\n")}`));
  })();
  const stdout = process.stdout.text();
  const url = await found.promise.catch(async (error) => {
    await Promise.all([stdout, drained, process.status]);
    throw error;
  });
  const stop = async (signal: Deno.Signal = "SIGTERM") => {
    try {
      process.kill(signal);
    } catch { /* has ended */ }
    const [{ code }] = await Promise.all([process.status, stdout, drained]);
    return code;
  };
  return { url: url.replace(/\/$/, ""), port: Number(new URL(url).port), process, log, stop };
}

/** Time limits that no machine reaches, however busy it is. */
const patience = ["deadline", "batch", "body", "decode"].flatMap((limit) => [`--${limit}-ms`, "600000"]);

/** Starts a server on any port, on the CPU device unless `args` say otherwise; resolves when it is ready. */
export async function startServer(args: readonly string[], env: Record<string, string> = {}): Promise<Server> {
  const device = args.includes("--device") ? [] : ["--device", "cpu"];
  const common = ["--port", "0", ...device, ...patience];
  const server = await listening(await spawnTask("serve", root, [...common, ...args], env));
  await untilReady(server);
  return server;
}

export async function untilReady({ url, process }: Server): Promise<void> {
  let ended = false;
  process.status.then(() => ended = true);
  while (!ended) {
    // A connection that was kept to an earlier server on this port may break.
    const response = await fetch(`${url}/readyz`).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the server ended before it was ready");
}

/** Runs `body` with a server, which is ended after it. */
export async function withServer(
  args: readonly string[],
  body: (server: Server) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const server = await startServer(args, env);
  try {
    await body(server);
  } finally {
    await server.stop("SIGKILL");
  }
}

const folder = join(root, "examples", "Dataset", "test");

/** The first images of the embedded data set: their names and bytes. */
export async function exampleImages(count: number): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }[]> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".png")).sort();
  return await Promise.all(
    names.slice(0, count).map(async (name) => {
      return { name, bytes: await Deno.readFile(join(folder, name)) };
    }),
  );
}

export async function post(
  { url }: Pick<Server, "url">,
  body: BodyInit,
  query = "",
  headers: HeadersInit = {},
): Promise<Response> {
  return await fetch(`${url}/v1/attribute${query}`, { method: "POST", body, headers });
}

/** What depends on the image and not on the request: no names, ids or times. */
// deno-lint-ignore no-explicit-any -- tests look at what they expect to be there
export function numbers({ verdict, evidence: { timings: _, judged: __, ...evidence }, maps }: any): unknown {
  return { verdict, evidence, maps };
}

/** A number of /metrics, by its name without the prefix. */
export async function metric({ url }: Pick<Server, "url">, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^model_tracer_${name} (\\S+)$`, "m").exec(text)![1]);
}
