/** The decoder process with the thread of odd_thread.ts, which may have it crash. */
import process from "node:process";
import { serveDecoder } from "../../../../attribution/images/decoder/decoder_process.ts";

new BroadcastChannel("abort").onmessage = () => process.abort();
await serveDecoder(JSON.parse(Deno.args.at(-1)!), new URL("./odd_thread.ts", import.meta.url));
