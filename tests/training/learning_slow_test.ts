/** Fine-tuning learns: the figures of docs/training.md, with margins, as the exact ones belong to one build of the kernels. */
import { learns } from "./learning.ts";

const name = (family: string) =>
  `fine-tuning the ${family} encoder from one with noise lowers the held-out loss at least 5x`;

Deno.test(name("rar"), async () => {
  // 0.306 -> 0.0181 (mean f_Z: 0.821), 3.5 % -> 57.3 %
  await learns({ family: "rar", images: 256, epochs: 6, lossRatio: 5, meanRatio: 3, recovery: [0.1, 0.3] });
});

Deno.test(name("var"), async () => {
  // 0.0601 -> 0.0064 (mean f_Z: 0.168), 7.0 % -> 17.1 %
  await learns({ family: "var", images: 256, epochs: 4, lossRatio: 5, meanRatio: 3, recovery: [0.1, 0.14] });
});
