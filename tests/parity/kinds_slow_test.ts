/** The networks of full size, and all training runs on WebGPU, against the official PyTorch code's tensors. */
import { cpuOnly, openCpuForTests, openWebGpuForTests } from "../core/devices.ts";
import { agrees } from "./golden.ts";

const fullSize: Readonly<Record<string, number>> = {
  full_maskgit_vq: 10,
  full_vqvae: 15,
  full_rar_b: 9,
  full_var_d16: 9,
  full_llamagen_gpt_b: 10,
  full_llamagen_vq16: 13,
};

// The full-size networks are tested on the CPU device only: a software adapter takes minutes for each.
for (const [name, tensors] of Object.entries(fullSize)) {
  Deno.test(`parity: ${name} agrees with the reference and leaves no memory behind [cpu]`, async () => {
    const device = await openCpuForTests();
    try {
      await agrees(name, tensors, device);
    } finally {
      device.close();
    }
  });
}

if (!cpuOnly) {
  const slow = [["case06_finetune_rar", 77], ["case06_finetune_var", 125], ["case22_llamagen_gpt", 20]] as const;
  for (const [name, tensors] of slow) {
    Deno.test(`parity: ${name} agrees with the reference and leaves no memory behind [webgpu]`, async () => {
      const device = await openWebGpuForTests();
      try {
        await agrees(name, tensors, device);
      } finally {
        device.close();
      }
    });
  }
}
