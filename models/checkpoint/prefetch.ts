/**
 * Reads files in the background, so that the system has them in memory when they are loaded: the next network's files
 * while one computes. The bytes are dropped. A file that cannot be read is skipped; loading it will report the error.
 */

/** The body of the Worker. It is passed as source text, so it may refer to its parameters and globals only. */
function workerMain(scope: { onmessage: unknown; postMessage(message: unknown): void; close(): void }) {
  scope.onmessage = (event: MessageEvent) => {
    const buffer = new Uint8Array(1 << 22);
    let bytes = 0;
    for (const path of event.data as string[]) {
      try {
        using file = Deno.openSync(path);
        for (let n = file.readSync(buffer); n !== null; n = file.readSync(buffer)) bytes += n;
      } catch {
        // loading it will report the error
      }
    }
    scope.postMessage(bytes);
    scope.close();
  };
}

let workerUrl: string | undefined;

/** A read in progress. */
export interface Prefetch {
  /** Resolves with the number of bytes read, or 0 after `stop`. Nobody needs to wait for it. */
  readonly done: Promise<number>;
  /** Ends the reading. */
  stop(): void;
}

/** Starts reading `paths`, one after the other, in a Worker that ends by itself. */
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
