/** Turns of the event loop for work that never waits for anything outside. */

/** Milliseconds of work between two turns of the event loop. A timer, the only way to it, takes one or two. */
const turnMs = 25;
let turned = 0;

/**
 * Waits for the next turn of the event loop, unless there was one just now. Only then does Deno deliver signals of the
 * operating system and read from other processes; the CPU device's promises alone never reach it.
 */
export async function yieldToEventLoop(): Promise<void> {
  if (performance.now() - turned < turnMs) return;
  await new Promise((resolve) => setTimeout(resolve, 0));
  turned = performance.now();
}
