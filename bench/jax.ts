/**
 * npm's @jax-js/jax as a contender for matrix products, on its `wasm` or `webgpu` device. It is no dependency of the
 * project: the package is fetched when --compare-jax asks for it, and only then. The lock file does not have it, so
 * --compare-jax needs `deno run --no-lock`.
 */
import type { BenchCase } from "./case.ts";
import { type Contender, runsPerSample } from "./contender.ts";

// Not a literal in the import, so that neither the type checker nor the lock file takes it for a dependency.
const specifier = "npm:@jax-js/jax@0.1.25";

interface JaxArray {
  readonly ref: JaxArray;
  dispose(): void;
}

/** The little of the package that is used here. */
interface Jax {
  init(...devices: string[]): Promise<string[]>;
  blockUntilReady(arrays: JaxArray[]): Promise<unknown>;
  numpy: {
    array(data: Float32Array, options: { shape: number[]; device: string }): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
  };
}

export class JaxJs implements Contender {
  readonly name: string;
  #open: { a: JaxArray; b: JaxArray; of: BenchCase } | undefined;
  #runs = 1;

  private constructor(readonly jax: Jax, readonly device: "wasm" | "webgpu") {
    this.name = `jax-js ${device}`;
  }

  /** Rejects when the package cannot be had or its device does not work here. */
  static async open(device: "wasm" | "webgpu"): Promise<JaxJs> {
    let jax: Jax;
    try {
      jax = await import(specifier);
    } catch (error) {
      throw new Error(
        `bench: --compare-jax could not load ${specifier}, which the lock file does not have; ` +
          `start bench with deno run --no-lock -A tasks/bench.ts: ${error instanceof Error ? error.message : error}`,
      );
    }
    if (!(await jax.init(device)).includes(device)) throw new Error(`bench: jax-js has no ${device} device here`);
    return new JaxJs(jax, device);
  }

  supports({ job }: BenchCase): boolean {
    return job?.kind === "matmul";
  }

  async warmUp(benchCase: BenchCase): Promise<void> {
    const { job } = benchCase;
    if (job?.kind !== "matmul") throw new Error(`jax-js: ${benchCase.name} is not a matrix product`);
    await this.release();
    const random = (rows: number, columns: number) =>
      this.jax.numpy.array(new Float32Array(rows * columns).map(Math.random), {
        shape: [rows, columns],
        device: this.device,
      });
    this.#open = { a: random(job.m, job.k), b: random(job.k, job.n), of: benchCase };
    await this.#time(3);
    const wanted = this.device === "webgpu" ? 0.5 : 0.1;
    // All results of a sample are held at once.
    const atMost = Math.ceil(2 ** 28 / (job.m * job.n * 4));
    this.#runs = Math.min(runsPerSample(await this.#time(2), wanted), atMost);
    await this.#time(this.#runs);
  }

  sample(benchCase: BenchCase): Promise<number> {
    if (this.#open?.of !== benchCase) throw new Error(`jax-js: ${benchCase.name} was not warmed up`);
    return this.#time(this.#runs);
  }

  release(): Promise<void> {
    this.#open?.a.dispose();
    this.#open?.b.dispose();
    this.#open = undefined;
    return Promise.resolve();
  }

  close(): void {
    void this.release();
  }

  /** Keeps all results until they are ready: what is disposed before that, jax-js does not compute. */
  async #time(runs: number): Promise<number> {
    const { a, b } = this.#open!;
    const start = performance.now();
    const results = Array.from({ length: runs }, () => this.jax.numpy.matmul(a.ref, b.ref));
    await this.jax.blockUntilReady(results);
    const seconds = (performance.now() - start) / 1000 / runs;
    for (const result of results) result.dispose();
    return seconds;
  }
}
