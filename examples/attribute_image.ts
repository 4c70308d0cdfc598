/**
 * Says which model made an image.
 *
 *   deno run -A examples/attribute_image.ts [image ...]
 */
import { isUnreadable, Tracer } from "../mod.ts";

const sample = decodeURIComponent(new URL("./Dataset/test/0001.png", import.meta.url).pathname);
const images = Deno.args.length > 0 ? Deno.args : [sample];

// Without `models`: weights/official where it is complete, else the small stand-ins in weights/tiny.
await using tracer = await Tracer.open({ device: "cpu" });
console.log(`${tracer.info.modelSet.name}, ${tracer.info.method}: ${tracer.info.labels.join(" ")}`);

for await (const line of tracer.attribute(images)) {
  if (isUnreadable(line)) {
    console.log(`${line.image}: ${line.error.message}`);
    continue;
  }
  const { image, label, confidence, scores, families } = line;
  console.log(`${image}: ${label}, confidence ${confidence.toFixed(2)}`);
  for (const [name, score] of Object.entries(scores).sort((a, b) => b[1] - a[1]).slice(0, 3)) {
    console.log(`  ${name} ${score.toFixed(3)}`);
  }
  for (const [family, { quantLoss, encLoss }] of Object.entries(families)) {
    console.log(`  ${family}: QuantLoss ${quantLoss.toPrecision(3)}, EncLoss ${encLoss.toPrecision(3)}`);
  }
}
