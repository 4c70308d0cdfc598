/**
 * Measures a server under load beside hostile forms: `deno run -A tests/attribution/service/soak.ts [seconds [clients]]`.
 * Clients ask as fast as they are answered, while others send forms of half a million parts one after the other. Prints
 * what /healthz took and the resident memory; hostile_test.ts checks that such forms are refused. Not a test: times of a
 * shared machine are no right values.
 */
import { load } from "./load.ts";
import { exampleImages, startServer } from "./server.ts";

const [seconds = 60, clients = 64] = Deno.args.map(Number);
const images = await exampleImages(32);
const server = await startServer(["--preload", "--log", "off"]);

const boundary = "b";
const part = (more: string) => `--${boundary}\r\ncontent-disposition: form-data; name="a"${more}\r\n\r\n\r\n`;
const forms = [part('; filename="a"').repeat(400_000), part("").repeat(600_000)]
  .map((parts) => new TextEncoder().encode(`${parts}--${boundary}--\r\n`));
const refused: Record<number, number> = {};
let isOver = false;
const flood = async () => {
  for (let i = 0; !isOver; i++) {
    let status = 0;
    try {
      const response = await fetch(`${server.url}/v1/attribute`, {
        method: "POST",
        headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
        body: forms[i % forms.length],
      });
      await response.body?.cancel();
      status = response.status;
    } catch { /* the server closed the connection: counted as 0 */ }
    refused[status] = (refused[status] ?? 0) + 1;
  }
};
const flooding = flood();
const { memory, ...result } = await load(server, { clients, seconds, bodies: images.map(({ bytes }) => bytes) });
isOver = true;
await flooding;
const MiB = memory.map((bytes) => Math.round(bytes / 2 ** 20));
const some = MiB.filter((_, i) => i % Math.ceil(MiB.length / 12) === 0);
console.log(JSON.stringify({ clients, seconds, ...result, forms: refused, residentMiB: some }));
await server.stop();
