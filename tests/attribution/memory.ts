/** Limits on memory that suit a set of weights, whatever its size, for tests. */
import { type Plan, planMemory, type PlanOptions } from "../../attribution/run/memory_plan.ts";
import type { Device } from "../../core/tensor/mod.ts";
import type { ModelSet } from "../../models/model_set.ts";

const MiB = 2 ** 20;

/** A plan by which some transformers stay loaded and the others take turns. Throws where a set has none. */
export function tightPlan(set: ModelSet, device: Device, quantization?: PlanOptions["quantization"]): Plan {
  for (let memoryBytes = MiB; memoryBytes < 2 ** 40; memoryBytes = Math.ceil(memoryBytes * 1.02)) {
    try {
      const plan = planMemory(set, device, { memoryBytes, quantization });
      if (plan.resident.size > 0 && plan.swapped.length > 0) return plan;
      if (plan.swapped.length === 0) break;
    } catch {
      continue; // not enough for any
    }
  }
  throw new Error("tightPlan: expected a limit at which some transformers stay loaded and others do not");
}
