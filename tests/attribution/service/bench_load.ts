/**
 * Measures a server under load, at several sizes of batches: `deno run -A tests/attribution/service/bench_load.ts [seconds
 * [clients [batch ...]]]`, with a method in the variable METHOD and a device in DEVICE. Not a test: load_slow_test.ts checks the same in less time.
 */
import { load } from "./load.ts";
import { exampleImages, startServer } from "./server.ts";

const [seconds = 60, clients = 64, ...batches] = Deno.args.map(Number);
const method = Deno.env.has("METHOD") ? ["--method", Deno.env.get("METHOD")!] : [];
const device = Deno.env.has("DEVICE") ? ["--device", Deno.env.get("DEVICE")!, "--allow-software"] : [];
const images = await exampleImages(32);
for (const batch of batches.length > 0 ? batches : [16, 1]) {
  const server = await startServer(["--max-batch", String(batch), "--preload", "--log", "off", ...method, ...device]);
  const { memory, ...result } = await load(server, { clients, seconds, bodies: images.map(({ bytes }) => bytes) });
  const MiB = memory.map((bytes) => Math.round(bytes / 2 ** 20));
  const some = MiB.filter((_, i) => i % Math.ceil(MiB.length / 12) === 0);
  console.log(JSON.stringify({ batch, clients, seconds, ...result, residentMiB: some }));
  await server.stop();
}
