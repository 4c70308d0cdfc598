/** Fine-tuning learns, on few images; learning_slow_test.ts checks how well. */
import { learns } from "./learning.ts";

for (const family of ["rar", "var"] as const) {
  Deno.test(`fine-tuning the ${family} encoder from one with noise halves the held-out loss on 64 images`, async () => {
    await learns({ family, images: 64, epochs: 2, lossRatio: 2, meanRatio: 1, recovery: [0.15, 0.1] });
  });
}
