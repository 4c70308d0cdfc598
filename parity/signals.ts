/** Case 05, signals: both families on four images, VAR with greedy and with optimised quantisation, and LatentTracer. */
import type { Device } from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";
import type { Result } from "./compute.ts";
import { rarSignals } from "./rar/signals.ts";
import { varSignals } from "./var/signals.ts";

export async function* signals(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  yield* rarSignals(parityCase, device);
  yield* varSignals(parityCase, device);
}
