/**
 * PyTorch as a contender: torch_compare.py as a child process, which runs one case per line of standard input.
 * It needs a Python with torch, and is started only for --compare-torch.
 */
import { type BenchCase, isWhole } from "./case.ts";
import { type Contender, runsPerSample } from "./contender.ts";

const script = new URL("./torch_compare.py", import.meta.url);

/** Below this a 1024^3 product was not done by an optimised BLAS, and comparing with it would flatter us. */
const slowBlasGflops = 30;

/**
 * The first of the given Pythons (default: $PYTHON, python3, /usr/bin/python3) that can import torch.
 * Throws with what to install when there is none.
 */
export async function findPython(wanted?: string): Promise<string> {
  const candidates = wanted ? [wanted] : [Deno.env.get("PYTHON"), "python3", "/usr/bin/python3"];
  const tried: string[] = [];
  for (const python of candidates) {
    if (!python) continue;
    tried.push(python);
    try {
      const result = await new Deno.Command(python, { args: ["-c", "import torch"], stderr: "null" }).output();
      if (result.success) return python;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        // Deno says which permission is missing: that to run this file, or to pass LD_* variables on.
        throw new Error(
          `bench: running ${python} is not permitted; start bench with deno run --allow-run=${python} ... ` +
            `(${error.message})`,
        );
      }
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(
    `bench: --compare-torch expects a Python with torch, found none (tried ${tried.join(", ")}). ` +
      "On Debian or Ubuntu: apt-get install python3-torch libopenblas0; then --python /usr/bin/python3",
  );
}

/** A process that answers each JSON object on its standard input with one on its standard output. */
class LineServer {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(python: string, args: string[], env: Record<string, string>) {
    this.#child = new Deno.Command(python, { args, env, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async ask(request: unknown): Promise<Record<string, number | string>> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    return await this.receive();
  }

  async receive(): Promise<Record<string, number | string>> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return JSON.parse(line);
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("bench: torch_compare.py ended early; its message is above");
      this.#rest += value;
    }
  }

  close(): void {
    // The process ends when its input does; nobody waits for that.
    this.#writer.close().catch(() => {});
    this.#reader.cancel().catch(() => {});
    this.#child.unref();
  }
}

/** A case as torch_compare.py takes it. */
function request({ job, batch }: BenchCase): Record<string, unknown> | undefined {
  if (!job) return undefined;
  if (job.kind === "pass") return { case: job.network, batch: job.batch ?? batch };
  if (job.kind === "matmul") return { case: "matmul", sizes: [job.m, job.n, job.k] };
  return { case: job.kind, sizes: job.sizes, blocks: job.kind === "attention" ? job.blocks : undefined };
}

/** Products on a GPU: as they are, by TensorFloat-32, or by bfloat16 under autocast, which are labelled extra rows. */
export const cudaPrecisions = ["float32", "tf32", "bf16"] as const;
type CudaPrecision = typeof cudaPrecisions[number];

export class Torch implements Contender {
  #runs = 1;

  private constructor(
    readonly name: string,
    readonly version: string,
    readonly gflops: number,
    readonly server: LineServer,
  ) {}

  /** Starts a process with `threads` threads; `waitPolicy` is OMP_WAIT_POLICY, OpenMP's own choice when not given. */
  static async open(python: string, threads: number, waitPolicy?: "PASSIVE"): Promise<Torch> {
    const args = ["--threads", `${threads}`];
    // OpenBLAS has threads of its own. As many as the machine has would wait for each other, and PyTorch look slow.
    const env = { OPENBLAS_NUM_THREADS: `${threads}`, ...waitPolicy && { OMP_WAIT_POLICY: waitPolicy } };
    return await Torch.#start(waitPolicy ? "torch passive" : "torch", python, args, env);
  }

  /** Starts a process that computes on the GPU. Fails, saying so, where PyTorch finds none. */
  static async openCuda(python: string, precision: CudaPrecision): Promise<Torch> {
    const name = precision === "float32" ? "torch cuda" : `torch cuda ${precision}`;
    return await Torch.#start(name, python, ["--device", "cuda", "--precision", precision]);
  }

  static async #start(name: string, python: string, args: string[], env: Record<string, string> = {}): Promise<Torch> {
    const server = new LineServer(python, [decodeURIComponent(script.pathname), "--serve", ...args], env);
    const { torch, gflops } = await server.receive();
    return new Torch(name, `${torch}`, Number(gflops), server);
  }

  /** A warning when this PyTorch is not what one would run, else undefined. */
  get warning(): string | undefined {
    if (this.gflops >= slowBlasGflops) return undefined;
    return `this PyTorch multiplies matrices at ${this.gflops.toFixed(0)} GFLOP/s: its BLAS is not an optimised one, ` +
      "ratios of matrix products mean nothing. On Debian or Ubuntu: apt-get install libopenblas0";
  }

  supports(benchCase: BenchCase): boolean {
    return request(benchCase) !== undefined;
  }

  async warmUp(benchCase: BenchCase): Promise<void> {
    const { seconds } = await this.server.ask(request(benchCase));
    this.#runs = isWhole(benchCase.group) ? 1 : runsPerSample(Number(seconds), 0.1);
  }

  async sample(benchCase: BenchCase): Promise<number> {
    const { seconds } = await this.server.ask({ ...request(benchCase), runs: this.#runs });
    return Number(seconds);
  }

  async release(): Promise<void> {
    await this.server.ask({ drop: true });
  }

  close(): void {
    this.server.close();
  }
}
