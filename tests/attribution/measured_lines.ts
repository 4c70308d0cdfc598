/** Measured images with known structure: a family's signals are low under it, a variant's likelihood is high under it. */
import type { MeasuredLine } from "../../attribution/evidence/evidence.ts";
import { type Label } from "../../attribution/labels.ts";
import { familyNames, labels, officialLabels, variantLabels } from "../labels.ts";
import { normals } from "../../core/tensor/mod.ts";

const numbersPerImage = 128;

/** How far apart families, outliers and variants are, in standard deviations. */
export interface Structure {
  readonly family?: number;
  readonly outlier?: number;
  readonly variant?: number;
}

/** One image of a label; its noise comes from the seed. */
export function measuredLine(label: Label, seed: number, i: number, structure: Structure = {}): MeasuredLine {
  const { family: familyGap = 8, outlier: outlierGap = 4, variant: variantGap = 4 } = structure;
  const noise = normals(seed, i, numbersPerImage);
  let at = 0;
  const next = () => noise[at++];
  const own = label === "outlier" ? null : officialLabels.familyOf(label);
  const signals = (name: (typeof familyNames)[number]) => {
    const gap = own === name ? 0 : own === null ? outlierGap : familyGap;
    const loss = (level: number) => Math.exp(level + 0.2 * (gap + next()));
    const [quantLoss, encLoss] = [loss(-4), loss(1)];
    return {
      quantLoss,
      quantErrorTail: loss(-3),
      encLoss,
      encLossUncalibrated: loss(-6),
      combined: quantLoss * encLoss,
    };
  };
  const variants = Object.fromEntries(familyNames.flatMap((name) =>
    variantLabels[name].map((scorer) => {
      const fit = scorer === label ? variantGap : 0;
      const guided = -5 + 0.1 * (fit + next()), conditional = -5.5 + 0.1 * (fit / 2 + next());
      const unconditional = -6 + 0.1 * next();
      const mean = (
        kind: string,
        value: number,
      ) => [[`${kind}.mean`, value], [`${kind}.lowest20`, 2 * value + 0.1 * next()]];
      const summaries = Object.fromEntries([
        ...mean("guided", guided),
        ...mean("conditional", conditional),
        ...mean("unconditional", unconditional),
        ["difference.mean", conditional - unconditional],
        ["rank.logMean", 3 + 0.1 * next()],
        ["support.rate", 0.9 + 0.01 * next()],
      ]);
      for (const name of ["guided.mean", "guided.lowest20", "rank.logMean", "support.rate"]) {
        summaries[`own.${name}`] = summaries[name];
      }
      const own = { tokens: 64, meanLogProb: conditional, perplexity: Math.exp(-conditional), summaries };
      return [scorer, own];
    })
  ));
  return {
    image: `${label}/${i}.png`,
    sha256: "a".repeat(64),
    width: 64,
    height: 64,
    modelSet: "b".repeat(64),
    settings: { condition: "infer", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
    families: { rar: signals("rar"), var: signals("var") },
    variants,
    timings: { read: 0, families: 0, variants: 0 },
  };
}

/** `each` images of every label, outliers included. */
export function measuredLines(
  each: number,
  seed: number,
  structure?: Structure,
): { label: Label; line: MeasuredLine }[] {
  return labels.flatMap((label, k) =>
    Array.from({ length: each }, (_, i) => ({ label, line: measuredLine(label, seed, k * each + i, structure) }))
  );
}
