/**
 * Reads files in the background, so that the system has them in memory when they are loaded: the next network's while one
 * computes. Nothing is kept here, and nothing depends on it; where a file cannot be read, loading it will say so.
 */

/** The body of the Worker, passed on as source text: it may refer to nothing but its parameters and globals. */
function workerMain(scope: { onmessage: unknown; postMessage(message: unknown): void; close(): void }) {
  scope.onmessage = (event: MessageEvent) => {
    const buffer = new Uint8Array(1 << 22);
    let bytes = 0;
    for (const path of event.data as string[]) {
      try {
        using file = Deno.openSync(path);
        for (let n = file.readSync(buffer); n !== null; n = file.readSync(buffer)) bytes += n;
      } catch {
        // whoever loads it says what is wrong with it
      }
    }
    scope.postMessage(bytes);
    scope.close();
  };
}

let workerUrl: string | undefined;

/** A reading that is under way. */
export interface Prefetch {
  /** The bytes that were read, when all is read or `stop` was called. Waiting for it is not needed. */
  readonly done: Promise<number>;
  stop(): void;
}

/** Starts reading `paths`, one after the other, at a thread's full speed. It ends by itself, or by `stop`. */
export function prefetch(paths: readonly string[]): Prefetch {
  if (paths.length === 0) return { done: Promise.resolve(0), stop: () => {} };
  workerUrl ??= URL.createObjectURL(new Blob([`(${workerMain})(self);`], { type: "text/javascript" }));
  const worker = new Worker(workerUrl, { type: "module" });
  const { promise: done, resolve } = Promise.withResolvers<number>();
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = (event) => {
    event.preventDefault();
    resolve(0);
  };
  worker.postMessage([...paths]);
  const stop = () => {
    worker.terminate();
    resolve(0);
  };
  return { done, stop };
}
