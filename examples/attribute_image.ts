/**
 * Says what is found in an image: the model that made it, if it is a known one.
 *
 *   deno run -A examples/attribute_image.ts [image ...]
 */
import { isUnreadable, Tracer, wordsOf } from "../mod.ts";

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
  const { image, finding, label, confidence, reasons, scores, families } = line;
  const { title, labelMeaning, support } = wordsOf(line);
  console.log(`${image}: ${title}, confidence ${confidence.toFixed(2)}`);
  console.log(`  finding ${finding}${support === null ? "" : `, ${support}`}; label ${label}: ${labelMeaning}`);
  for (const reason of reasons) console.log(`  ${reason}`);
  for (const [name, score] of Object.entries(scores).sort((a, b) => b[1] - a[1]).slice(0, 3)) {
    console.log(`  ${name} ${score.toFixed(3)}`);
  }
  for (const [family, { quantLoss, encLoss }] of Object.entries(families)) {
    console.log(`  ${family}: QuantLoss ${quantLoss.toPrecision(3)}, EncLoss ${encLoss.toPrecision(3)}`);
  }
}
