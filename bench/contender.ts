/**
 * Contenders: libraries that do the work of a case and are timed. Ours is here; PyTorch is in torch.ts, jax-js in
 * jax.ts, onnxruntime in onnx.ts; they are opened on request only.
 */
import type { Device } from "../core/tensor/mod.ts";
import { type BenchCase, isWhole } from "./case.ts";

export interface Contender {
  readonly name: string;
  supports(benchCase: BenchCase): boolean;
  /** Runs the case until it is as fast as it gets, and determines how many runs make a sample. */
  warmUp(benchCase: BenchCase): Promise<void>;
  /** Seconds of one run, as the mean over the runs of a sample. */
  sample(benchCase: BenchCase): Promise<number>;
  /** Frees memory of earlier cases. */
  release(): Promise<void>;
  close(): void;
}

/** A sample lasts at least this long, so that clocks and the wait for a GPU (about 11 ms) do not matter. */
const sampleSeconds = { cpu: 0.1, webgpu: 0.5 };

/** Runs per sample. */
export function runsPerSample(secondsPerRun: number, wanted: number): number {
  return Math.min(Math.max(1, Math.ceil(wanted / Math.max(secondsPerRun, 1e-6))), 2000);
}

/** Our own library on a device. */
export class Ours implements Contender {
  readonly name: string;
  #runs = 1;

  /** `quick` makes samples of one run, which says nothing about speed. */
  constructor(readonly device: Device, readonly quick: boolean) {
    this.name = device.info.kind;
  }

  supports(): boolean {
    return true;
  }

  async warmUp(benchCase: BenchCase): Promise<void> {
    await this.#time(benchCase, 1);
    if (this.quick) return;
    const wanted = sampleSeconds[this.device.info.kind];
    // The first run of a kernel includes its compilation.
    this.#runs = isWhole(benchCase.group) ? 1 : runsPerSample(await this.#time(benchCase, 1), wanted);
    if (this.#runs > 1) this.#runs = runsPerSample(await this.#time(benchCase, Math.min(this.#runs, 10)), wanted);
  }

  sample(benchCase: BenchCase): Promise<number> {
    return this.#time(benchCase, this.#runs);
  }

  release(): Promise<void> {
    this.device.trim();
    return Promise.resolve();
  }

  close(): void {
    this.device.close();
  }

  async #time(benchCase: BenchCase, runs: number): Promise<number> {
    const start = performance.now();
    for (let i = 0; i < runs; i++) benchCase.run();
    await this.device.sync();
    return (performance.now() - start) / 1000 / runs;
  }
}
