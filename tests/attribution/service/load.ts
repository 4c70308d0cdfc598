/** Clients that ask as fast as they are answered, and what they saw: for the load test, and for measuring (bench_load.ts). */
import type { Server } from "./server.ts";

export interface LoadOptions {
  readonly clients: number;
  /** The load ends after so many seconds, or after so many answers of status 200. */
  readonly seconds?: number;
  readonly answers?: number;
  readonly bodies: readonly Uint8Array<ArrayBuffer>[];
  /** Receives every answer of status 200: the number of its body, and its text. */
  readonly onAnswer?: (body: number, text: string) => void;
}

export interface Load {
  /** Answers by status; 0 for a connection that failed. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Answers of status 200 per second. */
  readonly rate: number;
  /** Milliseconds, of answers of status 200. */
  readonly latency: { readonly median: number; readonly p99: number };
  /** Milliseconds of /healthz, asked every 20 ms over a separate connection. */
  readonly health: Times;
  /** Milliseconds by which timers of a thread that does nothing else are late: what the machine makes anybody wait. */
  readonly idle: Times;
  /** Longest delay of the server's event loop, in milliseconds, as /metrics has it. */
  readonly loopDelay: number;
  /** Resident bytes of the server, every half second. */
  readonly memory: readonly number[];
}

export interface Times {
  readonly count: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

export async function load(server: Server, options: LoadOptions): Promise<Load> {
  const { clients, seconds = Infinity, answers = Infinity, bodies, onAnswer } = options;
  const start = performance.now();
  const statuses: Record<number, number> = {};
  const latencies: number[] = [], memory: number[] = [];
  const isOver = () => performance.now() > start + 1000 * seconds || latencies.length >= answers;
  let loopDelay = 0;
  let asked = 0;
  const client = async () => {
    while (!isOver()) {
      const body = asked++ % bodies.length;
      const start = performance.now();
      let status = 0;
      try {
        const response = await fetch(`${server.url}/v1/attribute`, { method: "POST", body: bodies[body] });
        const text = await response.text();
        status = response.status;
        if (status === 200) {
          latencies.push(performance.now() - start);
          onAnswer?.(body, text);
        } else await new Promise((resolve) => setTimeout(resolve, 100)); // a client that would wait for Retry-After
      } catch { /* counted as 0 */ }
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  };
  const watch = async () => {
    while (!isOver()) {
      const text = await metrics(server);
      const value = (name: string) => Number(new RegExp(`^model_tracer_${name} (\\S+)$`, "m").exec(text)![1]);
      memory.push(value("process_resident_bytes"));
      loopDelay = Math.max(loopDelay, 1000 * value("event_loop_delay_max_seconds"));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  using health = new Watcher(`
    const start = performance.now();
    await (await fetch("${server.url}/healthz")).text();
    postMessage(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 20));`);
  using idle = new Watcher(`
    const due = performance.now() + 20;
    await new Promise((resolve) => setTimeout(resolve, 20));
    postMessage(Math.max(0, performance.now() - due));`);
  await Promise.all([watch(), ...Array.from({ length: clients }, client)]);
  const elapsed = (performance.now() - start) / 1000;
  return {
    statuses,
    rate: (statuses[200] ?? 0) / elapsed,
    latency: { median: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    health: times(health.values),
    idle: times(idle.values),
    loopDelay,
    memory,
  };
}

/** Asks again where the connection breaks: the server closes one that was idle, just when it is used. */
async function metrics(server: Server, attempts = 3): Promise<string> {
  try {
    return await (await fetch(`${server.url}/metrics`)).text();
  } catch (error) {
    if (attempts === 1) throw error;
    return await metrics(server, attempts - 1);
  }
}

function times(values: readonly number[]): Times {
  const at = (q: number) => quantile(values, q);
  return { count: values.length, median: at(0.5), p99: at(0.99), max: at(1) };
}

/** Repeats a piece of code in a thread that other clients do not hold up, and keeps the numbers that it posts. */
class Watcher implements Disposable {
  readonly values: number[] = [];
  readonly #worker: Worker;

  constructor(code: string) {
    const url = URL.createObjectURL(new Blob([`while (true) {${code}\n}`], { type: "text/javascript" }));
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.values.push(data);
    URL.revokeObjectURL(url);
  }

  [Symbol.dispose]() {
    this.#worker.terminate();
  }
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}
