/**
 * fHat as a sum of linear maps: for every scale of a residual tokenizer, the map from code vectors to the size of f,
 * and its adjoint.
 */
import {
  add,
  concat,
  conv2d,
  type Device,
  embedding,
  fromArray,
  keep,
  matmul,
  packWeight,
  permute,
  resizeMatrix,
  scope,
  slice,
  sub,
  type Tensor,
  zeros,
} from "../../core/tensor/mod.ts";
import { type ImageTokenizer, scaleStarts } from "../../models/family.ts";

/** One of the shared Phi convolutions: its linear part with adjoint, and its bias. */
interface Phi {
  /** The tokenizer's. */
  readonly weight: Tensor;
  /** Packed for `conv2d`. */
  readonly adjoint: Tensor;
  /** The tokenizer's, [c]. */
  readonly bias: Tensor;
  /** Plain [cOut, cIn, 3, 3]. */
  readonly kernel: Tensor;
}

/**
 * The maps A_s of all scales: fHat = sum over scales s of A_s z_s + offset, where z_s[batch, pn, pn, c] are the code
 * vectors of scale s. A_s enlarges by bicubic interpolation (except at the last scale) and convolves (Phi). It uses the
 * tokenizer's tensors, so dispose it before the tokenizer. Source: FoundationVision/VAR, models/quant.py.
 */
export class ScaleMaps {
  /** Of the tokenizer. */
  readonly device: Device;
  /** Side of every scale in tokens. */
  readonly patchNums: readonly number[];
  /** First token of every scale, then the number of all tokens. */
  readonly starts: readonly number[];
  /** Channels of a code. */
  readonly channels: number;
  /** Size of the codebook. */
  readonly codes: number;
  /** Side of f in pixels. */
  readonly side: number;
  /** The tokenizer's codebook, [codes, channels]. */
  readonly codebook: Tensor;
  /** Sum of Phi's biases over all scales, [channels]. */
  readonly offset: Tensor;
  /**
   * By scale, the bicubic interpolation of one axis, [side, pn] row-major on the host; the identity at the last scale.
   */
  readonly enlargements: readonly Float32Array[];
  readonly #phis: readonly Phi[];
  readonly #phiOf: readonly number[];
  readonly #up: readonly (Tensor | null)[];
  /** By scale, #up times its transpose, [side, side]. */
  readonly #smoothing: readonly (Tensor | null)[];

  /** The maps of a tokenizer with several scales. Throws a TypeError for others. */
  constructor(tokenizer: ImageTokenizer) {
    const { patchNums, codebook, residual } = tokenizer;
    if (residual === null) {
      throw new TypeError(`ScaleMaps: expected a tokenizer of several scales, got that of ${tokenizer.family}`);
    }
    this.device = codebook.device;
    this.patchNums = patchNums;
    this.starts = scaleStarts(patchNums);
    [this.codes, this.channels] = codebook.shape;
    this.side = patchNums[patchNums.length - 1];
    this.codebook = codebook;
    const last = patchNums.length - 1;
    this.enlargements = patchNums.map((pn) => resizeMatrix("bicubic", pn, this.side));
    this.#up = patchNums.map((pn, s) =>
      s === last ? null : keep(fromArray(this.device, this.enlargements[s].slice(), [this.side, pn]))
    );
    this.#smoothing = this.#up.map((up) => up && keep(matmul(up, up, { transB: true })));
    this.#phiOf = residual.phiOf;
    this.#phis = residual.phis.map(({ weight, bias }) => {
      return scope(() => {
        const kernel = convolutionKernel(weight, this.channels);
        return keep({ weight, bias, kernel, adjoint: packWeight(adjointKernel(kernel), "conv") });
      });
    });
    this.offset = keep(scope(() => {
      let total = zeros(this.device, [this.channels]);
      for (const k of this.#phiOf) total = sub(total, this.#phis[k].bias);
      return sub(zeros(this.device, [this.channels]), total);
    }));
  }

  /** Tokens of an image. */
  get tokenCount(): number {
    return this.starts[this.patchNums.length];
  }

  /** Number of values of a latent. */
  get size(): number {
    return this.side * this.side * this.channels;
  }

  /** Index of the kernel that a scale uses. */
  phiOf(scale: number): number {
    return this.#phiOf[scale];
  }

  /** The shared Phi kernels, plain [cOut, cIn, 3, 3]. */
  get kernels(): readonly Tensor[] {
    return this.#phis.map(({ kernel }) => kernel);
  }

  /**
   * A_s: code vectors z[batch, pn, pn, c] of a scale -> their part of fHat, [batch, side, side, c], without Phi's bias.
   * Adds `residual` if given.
   */
  forward(z: Tensor, scale: number, residual?: Tensor): Tensor {
    return scope(() => this.phiForward(this.enlarge(z, scale), this.#phiOf[scale], residual));
  }

  /** The adjoint of A_s: r[batch, side, side, c] -> [batch, pn, pn, c]. */
  adjoint(r: Tensor, scale: number): Tensor {
    return scope(() => this.reduce(this.phiAdjoint(r, this.#phiOf[scale]), scale));
  }

  /** Convolves x[batch, side, side, c] with kernel k of Phi, without its bias. Adds `residual` if given. */
  phiForward(x: Tensor, k: number, residual?: Tensor): Tensor {
    return conv2d(x, this.#phis[k].weight, undefined, { padding: 1, residual });
  }

  /** The adjoint of `phiForward`. */
  phiAdjoint(x: Tensor, k: number): Tensor {
    return conv2d(x, this.#phis[k].adjoint, undefined, { padding: 1 });
  }

  /** `enlarge` of `reduce` of x[batch, side, side, c]. */
  smooth(x: Tensor, scale: number): Tensor {
    const both = this.#smoothing[scale];
    if (both === null) return x;
    const { side, channels } = this, batch = x.shape[0];
    return scope(() => {
      const rows = matmul(both, x.reshape(batch, side, side * channels));
      return matmul(both, rows.reshape(batch * side, side, channels)).reshape(batch, side, side, channels);
    });
  }

  /** The interpolation of A_s: z[batch, pn, pn, c] -> [batch, side, side, c]. */
  enlarge(z: Tensor, scale: number): Tensor {
    const up = this.#up[scale];
    if (up === null) return z;
    const pn = this.patchNums[scale], { side, channels } = this, batch = z.shape[0];
    return scope(() => {
      const rows = matmul(up, z.reshape(batch, pn, pn * channels));
      return matmul(up, rows.reshape(batch * side, pn, channels)).reshape(batch, side, side, channels);
    });
  }

  /** The adjoint of `enlarge`. */
  reduce(x: Tensor, scale: number): Tensor {
    const up = this.#up[scale];
    if (up === null) return x;
    const pn = this.patchNums[scale], { side, channels } = this, batch = x.shape[0];
    return scope(() => {
      const rows = matmul(up, x.reshape(batch, side, side * channels), { transA: true });
      return matmul(up, rows.reshape(batch * pn, side, channels), { transA: true }).reshape(batch, pn, pn, channels);
    });
  }

  /** The code vectors of one scale, [batch, pn, pn, c], from vectors[batch, tokenCount, c] of all scales. */
  scaleOf(vectors: Tensor, scale: number): Tensor {
    const pn = this.patchNums[scale];
    return scope(() =>
      slice(vectors, 1, this.starts[scale], this.starts[scale + 1]).reshape(-1, pn, pn, this.channels)
    );
  }

  /** f minus the offset and the parts of tokens[batch, tokenCount] (i32) of the scales `from`..`to` - 1. */
  residual(f: Tensor, tokens: Tensor | null, from = 0, to = this.patchNums.length): Tensor {
    return scope(() => {
      let r = sub(f, this.offset);
      if (tokens === null) return r;
      const vectors = embedding(this.codebook, tokens);
      for (let s = from; s < to; s++) r = scope(() => sub(r, this.forward(this.scaleOf(vectors, s), s)));
      return r;
    });
  }

  /** tokens[batch, tokenCount] (i32) -> fHat[batch, side, side, c]. */
  dequantize(tokens: Tensor): Tensor {
    return scope(() => {
      const vectors = embedding(this.codebook, tokens);
      let fHat = this.offset;
      for (let s = 0; s < this.patchNums.length; s++) fHat = add(fHat, this.forward(this.scaleOf(vectors, s), s));
      return fHat;
    });
  }

  /** Frees the maps. */
  dispose(): void {
    for (const up of [...this.#up, ...this.#smoothing]) up?.dispose();
    for (const { adjoint, kernel } of this.#phis) {
      adjoint.dispose();
      kernel.dispose();
    }
    this.offset.dispose();
  }
}

/**
 * The plain kernel [cOut, cIn, 3, 3] of a 3x3 convolution whose weight is packed: its responses to a unit impulse in
 * every channel.
 */
function convolutionKernel(weight: Tensor, c: number): Tensor {
  const impulses = new Float32Array(c * 9 * c);
  for (let i = 0; i < c; i++) impulses[(i * 9 + 4) * c + i] = 1;
  return scope(() => {
    const response = conv2d(fromArray(weight.device, impulses, [c, 3, 3, c]), weight, undefined, { padding: 1 });
    // response[i, y, x, o] is the kernel's [o, i, 2 - y, 2 - x].
    return reversedTaps(permute(response, 3, 0, 1, 2));
  });
}

/** kernel[a, b, 3, 3] rotated by 180 degrees. */
function reversedTaps(kernel: Tensor): Tensor {
  const [a, b] = kernel.shape;
  const flat = kernel.reshape(a * b, 9);
  return concat(Array.from({ length: 9 }, (_, i) => slice(flat, 1, 8 - i, 9 - i)), 1).reshape(a, b, 3, 3);
}

/** The kernel of the adjoint of a zero-padded 3x3 convolution: input and output swapped, rotated by 180 degrees. */
function adjointKernel(kernel: Tensor): Tensor {
  return reversedTaps(permute(kernel, 1, 0, 2, 3));
}
