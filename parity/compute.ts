/** What the computations of cases have in common: the form of their results, and inputs that are passed on. */
import type { Device } from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";

/** A result: values in the reference's layout, and whether they are a given input rather than something computed. */
export interface Result {
  readonly tensor: string;
  readonly values: ArrayLike<number>;
}

/** Computes the tensors of a case one after the other. What it does not yield counts as missing. */
export type Compute = (parityCase: ParityCase, device: Device) => AsyncGenerator<Result>;

/** Inputs are read from the case's file; they are listed so that nothing is left out silently. */
export async function* inputs(parityCase: ParityCase, names: readonly string[]): AsyncGenerator<Result> {
  for (const tensor of names) {
    if (parityCase.has(tensor)) yield { tensor, values: await parityCase.values(tensor) };
  }
}
