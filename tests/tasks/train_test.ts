/** `deno task train` as a process: how it stops, and that it goes on as if it had not. */
import { trainInParts } from "./interrupted_training.ts";

Deno.test("train: a killed and an interrupted run of rar go on to the same bytes as one that never stopped", async () => {
  await trainInParts("rar");
});
