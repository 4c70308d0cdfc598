/**
 * Adam over named parameters, gradient clipping and learning-rate schedules, with PyTorch's definitions. The state can
 * be saved, so that a restored run continues exactly. Sources: torch.optim.Adam, torch.optim.AdamW,
 * torch.nn.utils.clip_grad_norm_, torch.optim.lr_scheduler.
 */
import type { Device } from "./device.ts";
import { full, zeros } from "./create.ts";
import { add, affine, minimum, mul, reciprocal, sqrt, square, sum } from "./ops/mod.ts";
import { keep, scope } from "./scope.ts";
import { formatShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Options of `Adam`. */
export interface AdamOptions {
  /** Decay rates of the two moments (default 0.9, 0.999). */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment (default 1e-8). */
  readonly eps?: number;
  /** Default 0. */
  readonly weightDecay?: number;
  /**
   * True: weights shrink by lr * weightDecay before the step (AdamW). False, the default: weightDecay * weight is added
   * to the gradient (L2).
   */
  readonly decoupled?: boolean;
}

/** State of an optimiser as plain data, to save and restore. */
export interface OptimizerState {
  /** Number of steps taken. */
  readonly step: number;
  /** `<parameter>.m` and `<parameter>.v`, the first and second moments. */
  readonly tensors: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly values: Float32Array<ArrayBuffer> }
  >;
}

/**
 * Adam (Kingma & Ba 2014), AdamW (Loshchilov & Hutter 2017) or Adam with L2. Updates dense f32 parameters in place.
 * Dispose it when done.
 */
export class Adam {
  readonly #device: Device;
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #options: Required<AdamOptions>;
  readonly #first = new Map<string, Tensor>();
  readonly #second = new Map<string, Tensor>();
  #step = 0;

  /** Moments of zero for every parameter. Throws TypeError without parameters. */
  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamOptions = {}) {
    const first = parameters.values().next().value;
    if (first === undefined) throw new TypeError("Adam: needs at least one parameter");
    this.#device = first.device;
    this.#parameters = parameters;
    this.#options = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, decoupled: false, ...options };
    for (const [name, parameter] of parameters) {
      this.#first.set(name, keep(zeros(this.#device, parameter.shape)));
      this.#second.set(name, keep(zeros(this.#device, parameter.shape)));
    }
  }

  /** Number of steps taken. */
  get step(): number {
    return this.#step;
  }

  /**
   * Updates every parameter that has a gradient, with learning rate `lr`. Throws TypeError when a gradient has another
   * size than its parameter.
   */
  update(gradients: ReadonlyMap<string, Tensor | null>, lr: number): void {
    this.#step++;
    const { betas: [b1, b2], eps, weightDecay, decoupled } = this.#options;
    const stepSize = lr / (1 - b1 ** this.#step);
    const correction = Math.sqrt(1 - b2 ** this.#step);
    for (const [name, parameter] of this.#parameters) {
      const gradient = gradients.get(name);
      if (!gradient) continue;
      if (gradient.size !== parameter.size) {
        throw new TypeError(
          `Adam: the gradient of ${name} has shape ${formatShape(gradient.shape)}, not ${formatShape(parameter.shape)}`,
        );
      }
      this.#device.run("adam", {
        parameter: parameter.storage,
        first: this.#first.get(name)!.storage,
        second: this.#second.get(name)!.storage,
        gradient: gradient.storage,
        n: parameter.size,
        beta1: b1,
        beta2: b2,
        l2: decoupled ? 0 : weightDecay,
        decay: decoupled ? 1 - lr * weightDecay : 1,
        stepSize,
        correction,
        eps,
      });
    }
  }

  /** Reads step and moments back. */
  async state(): Promise<OptimizerState> {
    const tensors = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
    for (const name of this.#parameters.keys()) {
      const m = this.#first.get(name)!, v = this.#second.get(name)!;
      tensors.set(`${name}.m`, { shape: m.shape, values: await m.data() });
      tensors.set(`${name}.v`, { shape: v.shape, values: await v.data() });
    }
    return { step: this.#step, tensors };
  }

  /**
   * Restores a saved state. Throws TypeError, naming a moment that is missing or has another size; nothing changes
   * then.
   */
  restore(state: OptimizerState): void {
    const moments = [[".m", this.#first], [".v", this.#second]] as const;
    for (const [suffix, kind] of moments) {
      for (const [name, tensor] of kind) {
        const saved = state.tensors.get(name + suffix);
        if (saved?.values.length !== tensor.size) {
          throw new TypeError(
            `Adam: the saved state ${saved ? `has ${saved.values.length} elements` : "has no moment"} for ${
              name + suffix
            }, expected ${tensor.size}`,
          );
        }
      }
    }
    for (const [suffix, kind] of moments) {
      for (const [name, tensor] of kind) this.#device.write(tensor.storage, state.tensors.get(name + suffix)!.values);
    }
    this.#step = state.step;
  }

  /** Frees the moments. */
  dispose(): void {
    for (const tensor of [...this.#first.values(), ...this.#second.values()]) tensor.dispose();
  }
}

/** The l2 norm of all gradients together, a tensor of one element. Throws TypeError when there is no gradient. */
export function gradientNorm(gradients: Iterable<Tensor | null>): Tensor {
  return scope(() => {
    let total: Tensor | null = null;
    for (const gradient of gradients) {
      if (!gradient) continue;
      const squares = sum(square(gradient));
      total = total ? add(total, squares) : squares;
    }
    if (!total) throw new TypeError("gradientNorm: there is no gradient");
    return sqrt(total);
  });
}

/**
 * Scales gradients so that their common norm is at most `maxNorm`, as clip_grad_norm_ does: times
 * min(1, maxNorm / (norm + 1e-6)). Disposes the given gradients and returns new ones.
 */
export function clipGradients<K>(
  gradients: ReadonlyMap<K, Tensor | null>,
  norm: Tensor,
  maxNorm: number,
): Map<K, Tensor | null> {
  const clipped = new Map<K, Tensor | null>();
  scope(() => {
    const ratio = affine(reciprocal(affine(norm.reshape(1), 1, 1e-6)), maxNorm);
    const factor = minimum(ratio, full(norm.device, [1], 1));
    for (const [name, gradient] of gradients) {
      clipped.set(name, gradient && keep(mul(gradient, factor)));
      gradient?.dispose();
    }
  });
  return clipped;
}

/** A learning rate by number of finished steps (or epochs). */
export type Schedule = (step: number) => number;

/** lr * gamma^floor(step / stepSize), as torch.optim.lr_scheduler.StepLR. */
export function stepLr(lr: number, stepSize: number, gamma: number): Schedule {
  return (step) => lr * gamma ** Math.floor(step / stepSize);
}

/** From lr to `floor` along half a cosine over `steps`, as CosineAnnealingLR; constant afterwards. */
export function cosineLr(lr: number, steps: number, floor: number = 0): Schedule {
  return (step) => floor + (lr - floor) * (1 + Math.cos(Math.PI * Math.min(step / steps, 1))) / 2;
}

/** Linearly from 0 over `rise` steps, then from lr to `floor` along half a cosine until `steps`. */
export function warmupCosineLr(lr: number, rise: number, steps: number, floor: number = 0): Schedule {
  const fall = cosineLr(lr, steps - rise, floor);
  return (step) => step < rise ? lr * (step + 1) / rise : fall(step - rise);
}

/** lr at every step. */
export function constantLr(lr: number): Schedule {
  return () => lr;
}
