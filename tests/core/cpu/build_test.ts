/** The built WebAssembly kernels. That they are what their sources build, `deno task check` says. */
import assert from "node:assert/strict";
import { plainKernels, relaxedKernels, wideKernels } from "../../../core/cpu/kernels.generated.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import type { KernelBuild } from "../../../core/cpu/pool.ts";
import { runEverything } from "./kernel_runs.ts";

const committedBuilds: Record<KernelBuild, string> = {
  plain: plainKernels,
  relaxed: relaxedKernels,
  wide: wideKernels,
};

const decode = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

Deno.test("the WebAssembly kernels hold no static data, which every thread would write over", () => {
  for (const binary of Object.values(committedBuilds).map(decode)) {
    const sections: number[] = [];
    for (let at = 8; at < binary.length;) {
      sections.push(binary[at++]);
      let size = 0;
      for (let shift = 0;; shift += 7) {
        size |= (binary[at] & 127) << shift;
        if (binary[at++] < 128) break;
      }
      at += size;
    }
    assert.ok(sections.includes(10), "there is code");
    assert.ok(!sections.includes(11), "there is a data section");
  }
});

Deno.test("the builds with and without relaxed SIMD agree", async () => {
  const [relaxed, plain] = [
    openCpuDevice({ threads: 1, build: "relaxed" }),
    openCpuDevice({ threads: 1, build: "plain" }),
  ];
  assert.equal(relaxed.build, "relaxed");
  const expected = await runEverything(relaxed);
  for (const [name, bytes] of await runEverything(plain)) {
    const other = expected.get(name)!;
    if (["nearestCode", "topK", "argmax"].includes(name)) {
      assert.deepEqual(bytes, other, name);
      continue;
    }
    const [a, b] = [new Float32Array(bytes.buffer), new Float32Array(other.buffer)];
    // Fused and separate rounding differ by less than one rounding (2^-24) per term; sums here have at most 1543 terms,
    // whose roundings are independent.
    const largest = a.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const allowed = 4 * Math.sqrt(1543) * 2 ** -24 * largest;
    a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) <= allowed, `${name}[${i}]: ${value}, ${b[i]}`));
  }
  relaxed.close();
  plain.close();
});
