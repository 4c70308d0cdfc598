/**
 * npm's onnxruntime-node as a contender for matrix products and convolutions on the CPU. It is no dependency of the
 * project: the package is fetched when --compare-onnx asks for it, and only then. The lock file does not have it, so
 * --compare-onnx needs `deno run --no-lock`; it loads a native library, so it needs -A.
 */
import type { BenchCase, Job } from "./case.ts";
import { type Contender, runsPerSample } from "./contender.ts";
import { onnxModel, type OnnxOperator } from "./onnx_model.ts";

// Not a literal in the import, so that neither the type checker nor the lock file takes it for a dependency.
const specifier = "npm:onnxruntime-node@1.20.1";

interface Session {
  run(inputs: Record<string, unknown>): Promise<Record<string, { data: Float32Array }>>;
  release(): Promise<void>;
}

/** The little of the package that is used here. */
interface Onnxruntime {
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<Session> };
  Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => unknown;
}

const sampleSeconds = 0.1;

/** onnxruntime with as many threads as we have. Weights are constants of the model, which it packs when it opens it. */
export class Onnx implements Contender {
  readonly name = "onnxruntime";
  #open: { session: Session; x: unknown; of: BenchCase } | undefined;
  #runs = 1;

  private constructor(readonly ort: Onnxruntime, readonly threads: number) {}

  /** Rejects when the package cannot be had here. */
  static async open(threads: number): Promise<Onnx> {
    try {
      const loaded = await import(specifier);
      return new Onnx(loaded.default ?? loaded, threads);
    } catch (error) {
      throw new Error(
        `bench: --compare-onnx could not load ${specifier}, which the lock file does not have; ` +
          `start bench with deno run --no-lock -A tasks/bench.ts: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  supports({ job }: BenchCase): boolean {
    return job?.kind === "matmul" || job?.kind === "conv";
  }

  async warmUp(benchCase: BenchCase): Promise<void> {
    await this.release();
    const operator = operatorOf(benchCase.job);
    const session = await this.ort.InferenceSession.create(onnxModel(operator), {
      executionProviders: ["cpu"],
      intraOpNumThreads: this.threads,
      interOpNumThreads: 1,
    });
    this.#open = { session, x: new this.ort.Tensor("float32", random(operator.x), operator.x), of: benchCase };
    await this.#time(2);
    this.#runs = runsPerSample(await this.#time(2), sampleSeconds);
    await this.#time(this.#runs);
  }

  sample(benchCase: BenchCase): Promise<number> {
    if (this.#open?.of !== benchCase) throw new Error(`onnxruntime: ${benchCase.name} was not warmed up`);
    return this.#time(this.#runs);
  }

  async release(): Promise<void> {
    await this.#open?.session.release();
    this.#open = undefined;
  }

  close(): void {
    void this.release();
  }

  async #time(runs: number): Promise<number> {
    const { session, x } = this.#open!;
    const start = performance.now();
    for (let i = 0; i < runs; i++) await session.run({ x });
    return (performance.now() - start) / 1000 / runs;
  }
}

const random = (shape: readonly number[]) =>
  new Float32Array(shape.reduce((size, n) => size * n, 1)).map(() => Math.random() - 0.5);

/** The case as an operator of ONNX; images are channels first there. */
export function operatorOf(job: Job | undefined): OnnxOperator {
  if (job?.kind === "matmul") {
    const { m, n, k } = job;
    return { type: "MatMul", x: [m, k], w: [k, n], y: [m, n], values: random([k, n]) };
  }
  if (job?.kind === "conv") {
    const [batch, h, w, cIn, cOut, size] = job.sizes, pad = (size - 1) / 2;
    return {
      type: "Conv",
      x: [batch, cIn, h, w],
      w: [cOut, cIn, size, size],
      y: [batch, cOut, h, w],
      values: random([cOut, cIn, size, size]),
      attributes: { kernel_shape: [size, size], pads: [pad, pad, pad, pad] },
    };
  }
  throw new Error(`onnxruntime: expected a matrix product or a convolution, got ${job?.kind}`);
}
