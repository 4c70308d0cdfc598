/**
 * What a kernel of this device can use: dispatches over storages, scratch memory, and facts about the adapter.
 * Kernels see nothing else of the device.
 */
import type { Storage } from "../tensor/kernels.ts";
import type { Groups, Program } from "./program.ts";

export interface Context {
  /** Which family of tiles to use: workgroup memory and barriers, or registers only. */
  readonly tiles: "hardware" | "software";
  /** Threads per subgroup where subgroup operations work, else 0. */
  readonly subgroupSize: number;
  /** Stands in for a buffer that is not given; 256 bytes. */
  readonly empty: Storage;
  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Storage>>,
    params: Record<string, number>,
    groups: Groups,
  ): void;
  /** Memory for use within one kernel: give it back with `free` after the last dispatch that uses it. */
  alloc(bytes: number): Storage;
  free(storage: Storage): void;
}
