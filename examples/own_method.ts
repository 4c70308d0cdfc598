/**
 * A method of your own: it sees the evidence about an image and gives a verdict.
 *
 *   deno run -A examples/own_method.ts [image ...]
 *
 * This one trusts QuantLoss alone for the family, and the guided likelihood alone for the variant.
 */
import { isUnreadable, type Method, registerMethod, Tracer, wordsOf } from "../mod.ts";

/** Mean squared error of quantisation above which no family made the image. Calibrated methods fit such limits. */
const limits: Record<string, number> = { rar: 0.01, var: 0.02 };

const guidedLikelihood: Method = {
  description: "lowest QuantLoss below a limit, then the highest guided likelihood",
  condition: "infer", // the class is not known: let the likelihood find it
  // Only these families' transformers have to read the image.
  wants: (families) => Object.keys(families).filter((family) => families[family].quantLoss < limits[family]),
  decide({ families, variants }, { labels }) {
    const [best] = Object.keys(families)
      .filter((family) => families[family].quantLoss < limits[family])
      .sort((a, b) => families[a].quantLoss / limits[a] - families[b].quantLoss / limits[b]);
    if (best === undefined) return { label: "outlier", confidence: 0.5, family: null, scores: {} };
    const guided = labels.variants[best].map((name) => [name, variants[name].summaries!["guided.mean"]] as const);
    const sum = guided.reduce((total, [, value]) => total + Math.exp(100 * value), 0);
    const scores = Object.fromEntries(guided.map(([name, value]) => [name, Math.exp(100 * value) / sum]));
    const label = Object.keys(scores).reduce((a, b) => scores[b] > scores[a] ? b : a);
    return { label, confidence: scores[label], family: best, scores };
  },
};
registerMethod("guided-likelihood", guidedLikelihood);

const sample = decodeURIComponent(new URL("./Dataset/test/0001.png", import.meta.url).pathname);
await using tracer = await Tracer.open({ device: "cpu", method: "guided-likelihood" });
for await (const line of tracer.attribute(Deno.args.length > 0 ? Deno.args : [sample])) {
  if (!isUnreadable(line)) {
    console.log(`${line.image}: ${wordsOf(line).title}, confidence ${line.confidence.toFixed(2)}`);
  }
}
