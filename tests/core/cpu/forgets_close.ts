/** A program that uses a worker of the CPU device and does not close it, for threads_test.ts. */
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { workersUp } from "./kernel_runs.ts";

const device = openCpuDevice({ threads: 2 });
await workersUp(device);
console.log(`${device.workers} worker`);
