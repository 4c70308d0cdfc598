/**
 * A server under load beside hostile forms: `deno run -A tests/attribution/service/soak.ts [seconds [clients]]` prints
 * what /healthz took and the resident memory. Its times are right on a quiet machine only; soak_slow_test.ts checks the
 * rest.
 */
import { type Load, load } from "./load.ts";
import { exampleImages, startServer } from "./server.ts";

/** What was seen. */
export interface Soak extends Load {
  /** Answers to the forms by status; 0 for a connection that the server closed. */
  readonly forms: Readonly<Record<number, number>>;
  /** Exit code of the server. */
  readonly code: number;
}

const boundary = "b";

/** A form of so many parts without content. */
function formOf(count: number, more: string): Uint8Array<ArrayBuffer> {
  const part = `--${boundary}\r\ncontent-disposition: form-data; name="a"${more}\r\n\r\n\r\n`;
  return new TextEncoder().encode(`${part.repeat(count)}--${boundary}--\r\n`);
}

/** Clients ask as fast as they are answered, while one sends forms of half a million parts one after the other. */
export async function soak(seconds: number, clients: number): Promise<Soak> {
  const images = await exampleImages(32);
  const server = await startServer(["--preload", "--log", "off"]);
  const bodies = [formOf(400_000, '; filename="a"'), formOf(600_000, "")];
  const forms: Record<number, number> = {};
  let isOver = false;
  const flood = async () => {
    for (let i = 0; !isOver; i++) {
      let status = 0;
      try {
        const response = await fetch(`${server.url}/v1/attribute`, {
          method: "POST",
          headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
          body: bodies[i % bodies.length],
        });
        await response.body?.cancel();
        status = response.status;
      } catch { /* counted as 0 */ }
      forms[status] = (forms[status] ?? 0) + 1;
    }
  };
  const flooding = flood();
  let code = -1;
  try {
    const seen = await load(server, { clients, seconds, bodies: images.map(({ bytes }) => bytes) });
    isOver = true;
    await flooding;
    code = await server.stop();
    return { ...seen, forms, code };
  } finally {
    isOver = true;
    if (code === -1) await server.stop("SIGKILL");
  }
}

/** The figures in a line: of the memory, a dozen values. */
export function figures({ memory, ...rest }: Soak): string {
  const residentMiB = memory.map((bytes) => Math.round(bytes / 2 ** 20))
    .filter((_, i) => i % Math.ceil(memory.length / 12) === 0);
  return JSON.stringify({ ...rest, residentMiB });
}

if (import.meta.main) {
  const [seconds = 60, clients = 64] = Deno.args.map(Number);
  console.log(figures(await soak(seconds, clients)));
}
