/**
 * Ctrl-C and SIGTERM as an abort signal: the first time work is to end at the next good moment, the second time at
 * once. What is kept of unfinished work is the job's business.
 */
import type { Progress } from "./progress.ts";

/** A signal that aborts on Ctrl-C or SIGTERM; a note says `what` happens then. */
export function interruptible(progress: Progress, what = "finishing the pass in progress"): AbortSignal {
  const controller = new AbortController();
  const names = Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const;
  const interrupt = () => {
    // The next one is the system's business. Waiting for a device blocks the event loop, where it would not be heard.
    for (const name of names) Deno.removeSignalListener(name, interrupt);
    controller.abort();
    progress.note(`interrupted: ${what} (again to stop at once)`);
  };
  for (const name of names) Deno.addSignalListener(name, interrupt);
  return controller.signal;
}
