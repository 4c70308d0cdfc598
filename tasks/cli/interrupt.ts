/**
 * Ctrl-C and SIGTERM as an abort signal: the first time work is to end at the next good moment, the second time at
 * once. What is kept of unfinished work is the job's business.
 */
import type { Progress } from "./progress.ts";

/** A signal that aborts on Ctrl-C or SIGTERM; a note says `what` happens then. */
export function interruptible(progress: Progress, what = "finishing the pass in progress"): AbortSignal {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort();
    progress.note(`interrupted: ${what} (again to stop at once)`);
  };
  for (const name of Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, interrupt);
  }
  return controller.signal;
}
