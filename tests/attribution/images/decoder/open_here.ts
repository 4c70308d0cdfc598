/** Says what openDecoder() makes of this process's flags and permissions. */
import { openDecoder, ownDecoder } from "../../../../attribution/images/decoder/mod.ts";

try {
  await using decoder = openDecoder();
  console.log(decoder === ownDecoder ? "here" : "process");
} catch (error) {
  console.log(/without bounds checks/.test((error as Error).message) ? "refused" : (error as Error).message);
}
