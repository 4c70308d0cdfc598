/** Processes that open WebGPU end without a crash: graphics drivers free what they hold at the exit of a process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../../attribution/files.ts";
import { cpuOnly } from "../devices.ts";

const processes = 200;
const atOnce = 2;

const program = `
import { fromArray, matmul, openDevice } from ${JSON.stringify(import.meta.resolve("../../../core/mod.ts"))};
const device = await openDevice("webgpu");
const a = fromArray(device, new Float32Array([1, 2, 3, 4]), [2, 2]);
console.log((await matmul(a, a).data()).join(" "));
device.close();
`;

if (!cpuOnly) {
  Deno.test(`${processes} processes open WebGPU, compute with a cold shader cache, close it and end with exit code 0`, async () => {
    await withFolder(async (dir) => {
      const script = join(dir, "open_and_close.ts");
      await Deno.writeTextFile(script, program);
      let started = 0;
      const lane = async () => {
        while (started < processes) {
          const cache = join(dir, `cache-${++started}`);
          const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
            args: ["run", "-A", "--no-check", script],
            env: { MESA_SHADER_CACHE_DIR: cache },
          }).output();
          assert.deepEqual({ code, signal }, { code: 0, signal: null }, new TextDecoder().decode(stderr));
          assert.equal(new TextDecoder().decode(stdout).trim(), "7 10 15 22");
        }
      };
      await Promise.all(Array.from({ length: atOnce }, lane));
    });
  });
}
