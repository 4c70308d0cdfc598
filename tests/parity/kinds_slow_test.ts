/** The networks of full size against the official PyTorch code's tensors. */
import { openCpuForTests } from "../core/devices.ts";
import { agrees } from "./golden.ts";

const fullSize: Readonly<Record<string, number>> = {
  full_maskgit_vq: 10,
  full_vqvae: 15,
  full_rar_b: 9,
  full_var_d16: 9,
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
