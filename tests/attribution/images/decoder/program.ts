/** The start of a compiled program (tasks/compile.ts), without what it does when it is asked for something else. */
import { decodeIfAsked } from "../../../../attribution/images/decoder/decoder_process.ts";

await decodeIfAsked();
console.error("expected to be a decoder");
Deno.exit(1);
